"""A model and a service made from settings, for every command that runs jobs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sampoll.app.skip_done import FORMATS
from sampoll.config.settings import ModelSettings, Settings
from sampoll.core.events import Listener, ignore_events
from sampoll.core.protocols import CacheableSegmenter, Format, Segmenter, Transport
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.pipeline import Decode, Queues, Service, default_io_threads, executors_on
from sampoll.engine.postprocess import clean
from sampoll.formats.options import FormatOptions
from sampoll.formats.registry import result_formats
from sampoll.inputs.decode import DecodingOptions, decode
from sampoll.models.registry import Factory, find_factory, load_segmenter

MASKS_DEPEND_ON = ("mask_policy", "exif")
"""Of the model's settings; what model it was, and in which precision, stands in records beside them."""


@dataclass(frozen=True)
class LoadedModel:
    """A segmenter that is ready to work, and where its embeddings are kept, if they are worth it."""

    segmenter: Segmenter[Any]
    embeddings: EmbeddingCache[Any] | None

    def decode_with(self, options: DecodingOptions) -> Decode:
        """How submissions become jobs for this model: images that it knows are not decoded again."""
        known = None if self.embeddings is None else self.embeddings.known
        return partial(decode, options=options, known=known)


def load_model(settings: ModelSettings, factory: Factory | None = None) -> LoadedModel:
    """The model that the settings name; it may be found before, by `factory`, without being loaded."""
    segmenter = load_segmenter(settings, factory or find_factory(settings))
    if not isinstance(segmenter, CacheableSegmenter):
        return LoadedModel(segmenter, None)
    directory = settings.embedding_cache
    if directory is not None and settings.exif == "ignore":
        # The same file is another image there, if it is turned.
        directory = directory / "exif-ignored"
    return LoadedModel(segmenter, EmbeddingCache(segmenter, settings.embedding_memory_bytes, directory))


def decoding_options(settings: Settings, *, ignores_unknown_keys: bool = False) -> DecodingOptions:
    exif = settings.model.exif
    return DecodingOptions(settings.limits, exif, ignores_unknown_keys=ignores_unknown_keys)


def format_options(
    settings: Settings, output: Path | None = None, kept_images: Path | None = None
) -> FormatOptions:
    """What formats are made with; if there is an output, and images are kept, they can tell where."""
    model = settings.model.model_dump(by_alias=True, include=set(MASKS_DEPEND_ON))
    masks = settings.masks.model_dump(by_alias=True)
    return FormatOptions(
        simplify_pixels=settings.masks.simplify_pixels,
        settings={**model, **masks, FORMATS: result_formats(settings.outputs.names)},
        kept_images=os.path.relpath(kept_images, output) if output and kept_images else None,
        polygons=settings.outputs.coco_polygons,
    )


def service_of(
    settings: Settings,
    transport: Transport,
    model: LoadedModel,
    decode: Decode,
    formats: Sequence[Format],
    *,
    emit: Listener = ignore_events,
    queues: Queues | None = None,
) -> Service:
    """A service that emits what it does, and whose `queues` can be looked into."""
    device = model.segmenter.info.device
    return Service(
        transport=transport,
        decode=decode,
        segmenter=model.segmenter,
        embeddings=model.embeddings,
        clean=partial(clean, settings=settings.masks),
        formats=formats,
        batch_size=settings.model.batch_size_on(device),
        max_wait_seconds=settings.model.max_wait_seconds,
        io_threads=settings.operations.io_threads or default_io_threads(),
        executors=executors_on(device),
        emit=emit,
        queues={} if queues is None else queues,
    )
