"""Makes a model and a service from settings, for every command that runs jobs."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sampoll.app.memory_budget import log_memory, memory_budget
from sampoll.app.process_end import kept
from sampoll.app.skip_done import FORMATS
from sampoll.config.settings import Settings
from sampoll.config.settings.model import ModelSettings
from sampoll.core.events import Listener, MemoryBudgeted, ignore_events
from sampoll.core.protocols import CacheableSegmenter, Format, Segmenter, Transport
from sampoll.core.results import ModelInfo
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.pipeline import Decode, FormatsOf, Queues, Service, default_io_threads, executors_on
from sampoll.engine.postprocess import clean
from sampoll.files.cores import usable_cores
from sampoll.files.resident import resident_bytes
from sampoll.formats.options import FormatOptions
from sampoll.formats.registry import result_formats
from sampoll.inputs.common_prompt import CommonPrompt, default_prompt, prompt_for_all
from sampoll.inputs.decode import decode, pixel_rules
from sampoll.inputs.options import DecodingOptions
from sampoll.models.detectors import with_detector
from sampoll.models.registry import (
    AUTO,
    Factory,
    find_factory,
    load_segmenter,
    models_that_take,
    prompts_taken,
    with_model_named,
)

log = logging.getLogger(__name__)

MASKS_DEPEND_ON = ("mask_policy", "exif")
"""The model settings that masks depend on; records contain the model and its precision separately."""
OF_DETECTOR = ("detector_overlap",)
"""Those that they depend on if there is a detector."""


@dataclass(frozen=True)
class LoadedModel:
    """A segmenter that is ready to work, and the cache of its embeddings, if they are worth keeping; `bytes`
    is the memory of the process that loading it has taken."""

    segmenter: Segmenter[Any]
    embeddings: EmbeddingCache[Any] | None
    bytes: int = 0

    def decode_with(self, options: DecodingOptions) -> Decode:
        """The function that decodes submissions for this model, except images with a cached embedding."""
        known = None if self.embeddings is None else self.embeddings.known
        return partial(decode, options=options, known=known)


def named(settings: Settings) -> Settings:
    """The settings with a model in the place of `auto`; ModelUnavailable if the checkpoint's is not known.

    Every command begins with them, so that all that it says and writes names the model.
    """
    return settings.model_copy(update={"model": with_model_named(settings.model)})


def load_model(settings: ModelSettings, factory: Factory | None = None) -> LoadedModel:
    """Loads the model that the settings name; `factory` is its factory, if it was looked up before."""
    factory, began, before = factory or find_factory(settings), time.monotonic(), resident_bytes()
    fields = {"event": "loading", "model": settings.model, "device": settings.device}
    log.info("loading %s", settings.model, extra=fields)
    segmenter = kept(load_segmenter(settings, factory))
    if settings.detector is not None:
        prompts_taken(settings)
        batch_size = batch_size_of(settings, segmenter.info)
        segmenter = with_detector(segmenter, settings.detector, batch_size, settings.detector_overlap)
    _log_loaded(segmenter.info, time.monotonic() - began)
    own_bytes = max(0, resident_bytes() - before)
    if not isinstance(segmenter, CacheableSegmenter):
        return LoadedModel(segmenter, None, own_bytes)
    directory = settings.embedding_cache
    if directory is not None:
        directory = directory / pixel_rules(settings.exif)
    memory_bytes = settings.embedding_memory_for(segmenter.embedding_bytes)
    return LoadedModel(segmenter, EmbeddingCache(segmenter, memory_bytes, directory), own_bytes)


def _log_loaded(model: ModelInfo, seconds: float) -> None:
    facts = {
        "model": model.name,
        "device": model.device,
        "precision": model.precision,
        "engine": model.engine,
        "detector": model.detector,
    }
    fields = {"event": "loaded", "seconds": round(seconds, 3)}
    fields |= {key: value for key, value in facts.items() if value is not None}
    precision = f" in {model.precision}" if model.precision else ""
    log.info("loaded %s on %s%s in %.1f s", model.name, model.device, precision, seconds, extra=fields)


def decoding_options(settings: Settings, *, takes_old_prompts: bool = False) -> DecodingOptions:
    """How submissions are decoded for the model of the settings; ModelUnavailable if it has no factory."""
    model = with_model_named(settings.model)
    return DecodingOptions(
        settings.limits,
        model.exif,
        takes_old_prompts=takes_old_prompts,
        model=model.model,
        prompt_kinds=prompts_taken(model),
        models_that_take=models_that_take,
        on_bad_prompt=settings.prompts.on_bad_prompt,
    )


def checking_options(settings: Settings) -> DecodingOptions:
    """How prompts are checked without a run: for the model of the settings, or for any, if they name none."""
    model = settings.model
    if model.model != AUTO or model.checkpoint is not None:
        return decoding_options(settings)
    return DecodingOptions(settings.limits, model.exif, on_bad_prompt=settings.prompts.on_bad_prompt)


def common_prompt(settings: Settings, decoding: DecodingOptions) -> CommonPrompt | None:
    """The prompt of images that have none of their own, if one is set."""
    if settings.spool.prompt is not None:
        return prompt_for_all(settings.spool.prompt, decoding)
    if settings.spool.default_prompt is not None:
        return default_prompt(settings.spool.default_prompt, decoding)
    return None


def format_options(
    settings: Settings, output: Path | None = None, kept_images: Path | None = None
) -> FormatOptions:
    """The options of formats; with an `output` and `kept_images`, files can refer to the images."""
    names = MASKS_DEPEND_ON if settings.model.detector is None else (*MASKS_DEPEND_ON, *OF_DETECTOR)
    model = settings.model.model_dump(by_alias=True, include=set(names))
    masks = settings.masks.model_dump(by_alias=True)
    return FormatOptions(
        simplify_pixels=settings.masks.simplify_pixels,
        settings={**model, **masks, FORMATS: result_formats(settings.outputs.names)},
        kept_images=_relative(kept_images, output) if output and kept_images else None,
        polygons=settings.outputs.coco_polygons,
    )


def _relative(path: Path, start: Path) -> str | None:
    """The way from one directory to another; None if there is none, as between two drives of Windows."""
    try:
        return os.path.relpath(path, start)
    except ValueError:
        return None


def batch_size_of(settings: ModelSettings, model: ModelInfo) -> int:
    """The number of images in a batch of the model: on a CPU, as many as its engine computes at once."""
    streams = settings.streams_on(usable_cores()) if model.engine == "openvino" else 1
    return settings.batch_size_on(model.device, streams)


def service_of(
    settings: Settings,
    transport: Transport,
    model: LoadedModel,
    decode: Decode,
    formats: Sequence[Format] | FormatsOf,
    *,
    emit: Listener = ignore_events,
    queues: Queues | None = None,
    executors: int | None = None,
) -> Service:
    """A service that sends events to `emit`, and enters its queues in `queues`, for monitoring. Its limits of
    memory are logged and emitted here. `executors` are those of the device, if nothing else is given."""
    executors = executors or executors_on(model.segmenter.info.device)
    budget = memory_budget(
        settings,
        transport,
        model_bytes=model.bytes,
        embedding_bytes=0 if model.embeddings is None else model.embeddings.memory_bytes,
        executors=executors,
    )
    log_memory(budget)
    emit(MemoryBudgeted(budget))
    return Service(
        transport=transport,
        decode=decode,
        segmenter=model.segmenter,
        embeddings=model.embeddings,
        clean=partial(clean, settings=settings.masks),
        formats=formats,
        batch_size=batch_size_of(settings.model, model.segmenter.info),
        max_mask_bytes=settings.limits.max_mask_bytes,
        max_wait_seconds=settings.model.max_wait_seconds,
        io_threads=settings.operations.io_threads or default_io_threads(),
        executors=executors,
        emit=emit,
        queues={} if queues is None else queues,
    )
