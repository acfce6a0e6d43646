"""Decodes a Submission into a Job: the only place where the content of submissions is parsed."""

import io
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sampoll.config.settings import LimitSettings
from sampoll.core.errors import BadImage, BadPrompt, OutOfMemory
from sampoll.core.jobs import Exif, Job, KnownImage, Prompt, RgbImage, Submission
from sampoll.inputs.prompt_file import parse_prompts

# The other formats of Pillow are refused: EPS, for example, would run Ghostscript.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
# Pillow's limit for the whole process; --max-pixels is checked for each image instead.
Image.MAX_IMAGE_PIXELS = None
_TURNED: Mapping[int, Callable[[RgbImage], RgbImage]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
"""The transformation for each EXIF orientation; all other values need none."""
PIXEL_RULES = 1
"""Increased when an image file is decoded to other pixels than before, or is refused and was not before:
embeddings that were kept of it are then no longer used."""
UPRIGHT = 1
_TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class DecodingOptions:
    """The limits above which a submission is refused, and how its image and prompts are read."""

    limits: LimitSettings = field(default_factory=LimitSettings)
    exif: Exif = "apply"
    ignores_unknown_keys: bool = False


def decode(
    submission: Submission,
    options: DecodingOptions,
    known: Callable[[str], KnownImage | None] | None = None,
) -> Job:
    """The job of a submission; BadPrompt or BadImage names the file and field at fault.

    The prompt is parsed first, because that is cheap. Coordinates are those of the upright image, with its
    EXIF orientation applied, or of the image as it is stored, if `options.exif` is "ignore". An image that
    `known` returns for its sha256 is not decoded again.
    """
    placed = parse_prompts(
        submission.prompt,
        submission.prompt_name,
        options.limits.max_prompts,
        ignores_unknown_keys=options.ignores_unknown_keys,
    )
    started = time.perf_counter()
    seen = known(submission.image_sha256) if known else None
    if seen is not None and math.prod(seen.size) <= options.limits.max_pixels:
        image: RgbImage | KnownImage = seen
    else:
        image = decode_image(submission.image, submission.image_name, options.limits.max_pixels, options.exif)
    job = Job(
        id=submission.id,
        name=submission.name,
        image=image,
        image_sha256=submission.image_sha256,
        prompts=tuple(placed.values()),
        decoding_seconds=time.perf_counter() - started,
        exif=options.exif,
    )
    for place, prompt in placed.items():
        check_inside(prompt, job.size, submission.prompt_name, place)
    return job


def pixel_rules(exif: Exif) -> str:
    """A file name that identifies the rules by which an image file becomes pixels."""
    return f"pixels-{PIXEL_RULES}" if exif == "apply" else f"pixels-{PIXEL_RULES}-exif-{exif}"


def decode_image(content: bytes, file: str, max_pixels: int, exif: Exif = "apply") -> RgbImage:
    """The pixels of an image file in RGB, upright unless `exif` is "ignore"; BadImage names `file` and the
    problem.

    Alpha is dropped, 16-bit values are reduced to their upper 8 bits, palettes and CMYK are converted.
    Truncated files are refused, and files with several pages, except the extra pictures in a phone's JPEG.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise BadImage(
                    f"is {width}x{height}, more than {max_pixels} pixels (--max-pixels)", file=file
                )
            pages = getattr(image, "n_frames", 1)
            # The extra pictures in a phone's JPEG are previews of the first one, or similar.
            if pages > 1 and image.format != "MPO":
                raise BadImage(f"has {pages} pages: save each as an image of its own", file=file)
            if image.mode in ("I", "F"):
                raise BadImage("has 32 bits a pixel: convert it to 8 or 16 bits first", file=file)
            orientation = _orientation(image) if exif == "apply" else UPRIGHT
            return np.ascontiguousarray(_rgb(image, content, orientation))
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage("is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)", file=file) from error
    except MemoryError as error:
        raise OutOfMemory("not enough memory to decode it; it is tried again later", file=file) from error
    except Exception as error:
        raise BadImage(f"cannot be decoded: {error}", file=file) from error


def image_size(content: bytes, exif: Exif = "apply") -> tuple[int, int] | None:
    """The (H, W) of an image file as it would be decoded, from its first bytes; None if it is no image."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            lies = exif == "apply" and _orientation(image) in _TRANSPOSED_ORIENTATIONS
    except Exception:  # noqa: BLE001  Pillow may raise anything for an invalid file
        return None
    return (width, height) if lies else (height, width)


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, UPRIGHT))


def _rgb(image: Image.Image, content: bytes, orientation: int) -> RgbImage:
    turned = _TURNED.get(orientation)
    if image.format == "JPEG" and image.mode in ("RGB", "L"):
        # If simplejpeg refuses a file, Pillow decides below.
        with suppress(ValueError):
            pixels = simplejpeg.decode_jpeg(content, "RGB")
            return turned(pixels) if turned else pixels
    if turned:
        image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BIT_MODES:
        # Pillow would clip these at 255 instead.
        gray = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, np.newaxis], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def check_inside(prompt: Prompt, size: tuple[int, int], file: str, place: str) -> None:
    """Refuses points outside the image, and a box that does not touch it."""
    height, width = size
    outside = f"lies outside the image of {width}x{height} pixels"
    for number, point in enumerate(prompt.points):
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise BadPrompt(
                f"({point.x:g}, {point.y:g}) {outside}", file=file, field=f"{place}points[{number}]"
            )
    box = prompt.box
    if box and not (box.x0 < width and box.y0 < height and box.x1 > 0 and box.y1 > 0):
        raise BadPrompt(outside, file=file, field=f"{place}box")
