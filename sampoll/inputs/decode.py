"""Decodes a Submission into a Job: the only place where the content of submissions is parsed."""

import io
import math
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from sampoll.config.settings import LimitSettings
from sampoll.core.errors import BadImage, BadPrompt, OutOfMemory
from sampoll.core.jobs import PROMPT_KINDS, Exif, Job, KnownImage, Prompt, RgbImage, Submission
from sampoll.inputs.image_files import BadStructure, checked, header_of, png
from sampoll.inputs.old_prompt import parse_old_prompts
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
_OPPOSITE: Mapping[int, int] = {6: 8, 8: 6}
"""The orientation that turns an image back; every other one does so itself."""
PIXEL_RULES = 1
"""Increased when an image file is decoded to other pixels than before, or is refused and was not before:
embeddings that were kept of it are then no longer used."""
UPRIGHT = 1
_TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
BAND_PIXELS = 2**20
"""Pixels that are converted together: a second copy of the whole image would cost more memory than time."""
_DAMAGE = re.compile(r"(?i)premature end|bad (?:huffman|arithmetic) code|found marker|(\d+) extraneous bytes")
"""What libjpeg says about image data that it had to make up. Its other warnings do not concern the pixels."""
SPARE_BYTES = 1024
"""Some cameras fill up image data with a few bytes that nothing needs; more than this is a damaged image."""


@dataclass(frozen=True)
class DecodingOptions:
    """The limits above which a submission is refused, how its image and prompts are read, and which kinds of
    prompts the model takes. `takes_old_prompts`: whatever the commands of the SAM image took."""

    limits: LimitSettings = field(default_factory=LimitSettings)
    exif: Exif = "apply"
    takes_old_prompts: bool = False
    model: str = ""
    prompt_kinds: Collection[str] = PROMPT_KINDS


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
    parse = parse_old_prompts if options.takes_old_prompts else parse_prompts
    placed = parse(submission.prompt, submission.prompt_name, options.limits)
    check_kinds(placed, options, submission.prompt_name)
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
    if not options.takes_old_prompts:
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
    Truncated files are refused, and damaged ones as far as their format shows it; and files with several
    pages, except the extra pictures in a phone's JPEG.
    """
    try:
        header, source = header_of(content), checked(content)
        if header is None:
            raise UnidentifiedImageError
        with Image.open(io.BytesIO(source.content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise BadImage(
                    f"is {width}x{height}, more than {max_pixels} pixels (--max-pixels)", file=file
                )
            if width * height > header.pixels:
                raise BadStructure(f"is damaged: it is {width}x{height}, or {header.width}x{header.height}")
            pages = source.pages or getattr(image, "n_frames", 1)
            # The extra pictures in a phone's JPEG are previews of the first one, or similar.
            if pages > 1 and image.format != "MPO":
                raise BadImage(f"has {pages} pages: save each as an image of its own", file=file)
            if image.mode in ("I", "F"):
                raise BadImage("has 32 bits a pixel: convert it to 8 or 16 bits first", file=file)
            turned = _TURNED.get(_turning(image, source.content, exif))
            pixels = _rgb(image, source.content)
        # Only now: the image that Pillow has decoded takes no more memory.
        return np.ascontiguousarray(turned(pixels) if turned else pixels)
    except BadImage:
        raise
    except BadStructure as error:
        raise BadImage(str(error), file=file) from error
    except UnidentifiedImageError as error:
        raise BadImage("is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)", file=file) from error
    except MemoryError as error:
        raise OutOfMemory("not enough memory to decode it; it is tried again later", file=file) from error
    except Exception as error:
        raise BadImage(f"cannot be decoded: {error}", file=file) from error


def decoding_bytes(content: bytes) -> int:
    """The memory that `decode_image` takes for an image file at most, by its header; 0 if it has none."""
    try:
        header = header_of(content)
    except BadStructure:
        return 0
    return 0 if header is None else header.decoding_bytes


def image_size(content: bytes, exif: Exif = "apply") -> tuple[int, int] | None:
    """The (H, W) of an image file as it would be decoded, without decoding it; None if it is no image."""
    try:
        source = checked(content).content
        with Image.open(io.BytesIO(source), formats=_FORMATS) as image:
            width, height = image.size
            lies = _turning(image, source, exif) in _TRANSPOSED_ORIENTATIONS
    except Exception:  # noqa: BLE001  Pillow may raise anything for an invalid file
        return None
    return (width, height) if lies else (height, width)


def _turning(image: Image.Image, content: bytes, exif: Exif) -> int:
    """The orientation that remains to be applied. To TIFF, and to its size, Pillow applies its own."""
    if image.format == "PNG":  # Pillow would decode all pixels to look for EXIF behind them
        found = Image.Exif()
        found.load(png.exif_of(content))
    else:
        found = image.getexif()
    orientation = int(found.get(ExifTags.Base.Orientation, UPRIGHT))
    if image.format == "TIFF":
        return UPRIGHT if exif == "apply" else _OPPOSITE.get(orientation, orientation)
    return orientation if exif == "apply" else UPRIGHT


def _rgb(image: Image.Image, content: bytes) -> RgbImage:
    if image.format == "JPEG" and image.mode in ("RGB", "L"):
        pixels = _decoded_jpeg(content, "RGB")
        if pixels is not None:
            return pixels
    if image.format == "JPEG" and image.mode == "CMYK":
        inks = _decoded_jpeg(content, "CMYK")
        if inks is not None:
            # Stored as Adobe does, inverted.
            image = Image.frombuffer("CMYK", image.size, np.invert(inks, out=inks), "raw", "CMYK", 0, 1)
    image.load()
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
        rgb[top : top + rows] = _rgb_of_band(band)
    return rgb


def _decoded_jpeg(content: bytes, colours: str) -> RgbImage | None:
    """The pixels of a JPEG that is in order; None if Pillow has to decide; BadStructure if it is damaged."""
    try:
        pixels: RgbImage = simplejpeg.decode_jpeg(content, colours)
    except ValueError as error:
        damage = _DAMAGE.search(str(error))
        if damage and int(damage[1] or SPARE_BYTES + 1) > SPARE_BYTES:
            raise BadStructure(f"is truncated, or damaged: {error}") from error
        return None
    return pixels


def _rgb_of_band(band: Image.Image) -> Any:
    if band.mode in _SIXTEEN_BIT_MODES:
        # Pillow would clip these at 255 instead.
        return (np.asarray(band).astype(np.uint16) >> 8)[:, :, np.newaxis]
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"))


def check_kinds(placed: Mapping[str, Prompt], options: DecodingOptions, file: str) -> None:
    """Refuses prompts that the model does not take."""
    for place, prompt in placed.items():
        for kind in prompt.kinds:
            if kind not in options.prompt_kinds:
                taken = " and ".join(options.prompt_kinds)
                raise BadPrompt(
                    f"is not taken by --model {options.model}, which takes {taken} only",
                    file=file,
                    field=f"{place}{kind}",
                )


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
