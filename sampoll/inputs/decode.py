"""Decodes a Submission into a Job: the only place where the content of submissions is parsed."""

import hashlib
import math
import time
from collections.abc import Callable

from PIL import UnidentifiedImageError

from sampoll.core.errors import BadImage, ImageUnknown, OutOfMemory
from sampoll.core.jobs import Exif, Job, KnownImage, RgbImage, Submission, size_of
from sampoll.inputs.image_files import BadStructure, Checked, Header, check_kind, checked, header_of
from sampoll.inputs.image_files.exif import upright
from sampoll.inputs.image_files.pixels import stored_pixels
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.usable_prompts import usable_prompts

EMPTY_SHA256 = hashlib.sha256().hexdigest()
"""Of a file without content; with any other digest, only the digest came."""
PIXEL_RULES = 2
"""Increased when an image file is decoded to other pixels than before, or is refused and was not before:
embeddings that were kept of it are then no longer used."""


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
    usable = usable_prompts(submission.prompt, submission.prompt_name, options)
    started = time.perf_counter()
    seen = known(submission.image_sha256) if known else None
    if seen is not None and math.prod(seen.size) <= options.limits.max_pixels:
        image: RgbImage | KnownImage = seen
    else:
        image = _image_of(submission, options)
    decoding_seconds = time.perf_counter() - started
    usable = usable.inside(size_of(image))
    return Job(
        id=submission.id,
        name=submission.name,
        image=image,
        image_sha256=submission.image_sha256,
        prompts=usable.prompts,
        decoding_seconds=decoding_seconds,
        exif=options.exif,
        skipped=usable.skipped,
    )


def _image_of(submission: Submission, options: DecodingOptions) -> RgbImage:
    max_pixels = options.limits.max_pixels
    if submission.pixels is None and not submission.image and submission.image_sha256 != EMPTY_SHA256:
        raise ImageUnknown("is not known here any more: send the image", field="image_sha256")
    if submission.pixels is None:
        return decode_image(submission.image, submission.image_name, max_pixels, options.exif)
    check_size(size_of(submission.pixels), max_pixels, submission.image_name)
    return submission.pixels


def check_size(size: tuple[int, int], max_pixels: int, file: str) -> None:
    """BadImage if an image of this (H, W) has more pixels."""
    height, width = size
    if height * width > max_pixels:
        raise BadImage(f"is {width}x{height}, more than {max_pixels} pixels (--max-pixels)", file=file)


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
    header, source = inspect_image(content, file, max_pixels, exif)
    try:
        # Turned at the end only: the image that Pillow has decoded takes no more memory then.
        return upright(stored_pixels(header, source.content), header.turning(exif))
    except BadStructure as error:
        raise BadImage(str(error), file=file) from error
    except MemoryError as error:
        raise OutOfMemory("not enough memory to decode it; it is tried again later", file=file) from error
    except UnidentifiedImageError as error:
        raise BadImage("is damaged, or of a kind that is not read here", file=file) from error
    except Exception as error:
        raise BadImage(f"cannot be decoded: {error}", file=file) from error


def inspect_image(content: bytes, file: str, max_pixels: int, exif: Exif = "apply") -> tuple[Header, Checked]:
    """The header of an image file, and the file as a decoder may see it. Raises the BadImage that
    `decode_image` would raise, as far as that can be told without decoding it."""
    try:
        header, source = header_of(content), checked(content)
        if header is None:
            raise BadStructure("is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)")
        if not header.pixels:
            raise BadStructure("is damaged, or of a kind that is not read here: its header has no size")
        check_size(header.size(exif), max_pixels, file)
        if source.pages > 1:
            raise BadStructure(f"has {source.pages} pages: save each as an image of its own")
        check_kind(content)
    except BadStructure as error:
        raise BadImage(str(error), file=file) from error
    return header, source


def decoding_bytes(content: bytes) -> int:
    """The memory that `decode_image` takes for an image file at most, by its header; 0 if it has none."""
    try:
        header = header_of(content)
    except BadStructure:
        return 0
    return 0 if header is None else header.decoding_bytes


def image_size(content: bytes, exif: Exif = "apply") -> tuple[int, int] | None:
    """The (H, W) of an image file once it is decoded, by its header; None if it is damaged, or no image."""
    try:
        header, _ = header_of(content), checked(content)
    except BadStructure:
        return None
    return header.size(exif) if header is not None and header.pixels else None
