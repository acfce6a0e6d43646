"""`sampoll models quantize`: makes an int8 encoder from a checkpoint, calibrated on given images."""

from collections.abc import Sequence
from pathlib import Path

from sampoll.app.assembly import named
from sampoll.config.settings import Settings
from sampoll.core.errors import UsageError
from sampoll.core.jobs import RgbImage
from sampoll.inputs.decode import decode_image
from sampoll.inputs.discovery import image_files, read_image
from sampoll.models.registry import attribute_of_model


def quantize_encoder(settings: Settings, paths: Sequence[Path]) -> Path:
    """Makes the encoder that --precision int8 uses; returns the directory where it is kept.

    Raises JobError, which names the image, if one cannot be read; another SampollError if no encoder can be
    made at all.
    """
    settings = named(settings)
    quantize = attribute_of_model(settings.model, "quantize")
    images = list(image_files(paths))
    if not images:
        raise UsageError(f"no image in {', '.join(map(str, paths))}")

    def read(path: Path) -> RgbImage:
        content = read_image(path, settings.limits.max_image_bytes)
        return decode_image(content, str(path), settings.limits.max_pixels, settings.model.exif)

    place: Path = quantize(settings.model, images, read)
    return place
