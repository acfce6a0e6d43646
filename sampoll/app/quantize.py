"""`sampoll models quantize`: an int8 encoder of somebody's checkpoint, for their images."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampoll.config.settings import Settings
from sampoll.core.errors import StorageTrouble, UsageError
from sampoll.inputs.decode import decode_image
from sampoll.inputs.discovery import image_files, read_image
from sampoll.models.registry import find_factory, load_segmenter
from sampoll.models.sam import checkpoint_of, openvino_cache
from sampoll.models.sam.encoder import exportable
from sampoll.models.sam.quantize import imported_nncf, quantized
from sampoll.models.sam.segmenter import SamSegmenter
from sampoll.models.sam.weights import MODELS, load_sam
from sampoll.models.shared.openvino import cached_model, quantized_place, save


def quantize_encoder(settings: Settings, paths: Sequence[Path]) -> Path:
    """Makes the encoder that --precision int8 takes; returns where it is kept.

    A JobError names an image that cannot be read; other SampollErrors say what keeps it from working at all.
    """
    imported_nncf()
    if settings.model.model not in MODELS:
        raise UsageError(f"--model {settings.model.model} is none of {', '.join(MODELS)}")
    images = list(image_files(paths))
    if not images:
        raise UsageError(f"no image in {', '.join(map(str, paths))}")
    options = settings.model.model_copy(update={"device": "cpu", "engine": "torch", "precision": "bf16"})
    segmenter = load_segmenter(options, find_factory(options))
    assert isinstance(segmenter, SamSegmenter)
    assert segmenter.info.checkpoint_sha256 is not None

    def preprocessed(path: Path) -> NDArray[np.float32]:
        content = read_image(path, settings.limits.max_image_bytes)
        image = decode_image(content, str(path), settings.limits.max_pixels)
        array: NDArray[Any] = segmenter.preprocessed(image)[None].numpy()
        return array

    original = load_sam(options.model, checkpoint_of(options.model, options)).image_encoder
    sha256, cache = segmenter.info.checkpoint_sha256, openvino_cache(settings.model)
    model = quantized(cached_model(partial(exportable, original), sha256, cache), images, preprocessed)
    place = quantized_place(sha256, cache)
    try:
        if place.exists():
            shutil.rmtree(place)
        save(model, place)
    except (OSError, RuntimeError) as error:
        raise StorageTrouble(f"cannot keep the int8 encoder in {place}: {error}") from error
    return place
