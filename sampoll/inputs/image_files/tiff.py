"""TIFF: its size, orientation and pages, and what makes it expensive or unreadable."""

from sampoll.inputs.image_files.exif import UPRIGHT
from sampoll.inputs.image_files.header import BadStructure, Header
from sampoll.inputs.image_files.jpeg import MAX_SCANS
from sampoll.inputs.image_files.tiff_directory import (
    BITS,
    COMPRESSION,
    HEIGHT,
    ORIENTATION,
    OUTSIDE,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
    pages,
)
from sampoll.inputs.image_files.tiff_kind import JPEG, MAX_BITS, MAX_SAMPLES, NONE

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
"""The last two are wrong, and some programs write them."""
_SCAN = b"\xff\xda"

MAX_VALUES = 200_000
"""Of a tag: the colours of a palette of 16 bits are 196,608."""
MAX_STRIPS = 100_000
"""Or tiles. Pillow makes an object of each, and decodes each by itself."""
USUAL_TILE_PIXELS = 2**24
BYTES_PER_PIXEL, COPIES_OF_SAMPLES = 8, 2
"""Measured: the pixels, twice while they are turned, and those being converted; and the samples, in the file
and in Pillow."""


def header_of(content: bytes) -> Header:
    """The header of the first page."""
    try:
        page, _ = pages(content)
    except OUTSIDE:
        return Header(0, 0, BYTES_PER_PIXEL)
    width, height, bits, samples, tile_width, tile_height = (
        max(page.first(tag, default), 0)  # some types have a sign
        for tag, default in (
            (WIDTH, 0),
            (HEIGHT, 0),
            (BITS, 1),
            (SAMPLES, 1),
            (TILE_WIDTH, 0),
            (TILE_HEIGHT, 0),
        )
    )
    if tile_width * tile_height > max(width * height, USUAL_TILE_PIXELS):
        raise BadStructure(f"has tiles of {tile_width}x{tile_height} pixels, more than the image")
    raw = min(samples, MAX_SAMPLES) * -(-min(bits, MAX_BITS) // 8)
    bytes_per_pixel = BYTES_PER_PIXEL + COPIES_OF_SAMPLES * raw
    return Header(width, height, bytes_per_pixel, _orientation(page))


def _orientation(page: Directory) -> int:
    """The orientation of a page; as in libtiff, of any type of whole numbers."""
    entry = page.entries.get(ORIENTATION)
    value = page.first(ORIENTATION, UPRIGHT) if entry and entry.count == 1 else UPRIGHT
    return value if 1 <= value <= 8 else UPRIGHT


def check(content: bytes) -> int:
    """The number of pages. Refuses loops of pages, and more pages, tags or strips than images have."""
    try:
        page, number = pages(content)
    except OUTSIDE as error:
        raise BadStructure("is truncated, or damaged: a directory lies outside the file") from error
    for tag, entry in page.entries.items():
        most = MAX_STRIPS if tag in (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS) else MAX_VALUES
        if entry.count > most:
            raise BadStructure(f"has {entry.count} values of the tag {tag}, more than {most}: save it again")
    compression = page.first(COMPRESSION, NONE)
    for offsets, counts in ((STRIP_OFFSETS, STRIP_COUNTS), (TILE_OFFSETS, TILE_COUNTS)):
        lengths = page.values(counts)
        if compression in JPEG and sum(lengths) > 2 * len(content):  # each is looked through
            raise BadStructure("is damaged: its strips or tiles overlap")
        for place, length in zip(page.values(offsets), lengths, strict=False):
            if compression != NONE and place + length > len(content):
                raise BadStructure("is truncated")
            if compression in JPEG and content.count(_SCAN, place, place + length) > MAX_SCANS:
                raise BadStructure(f"has a JPEG of more than {MAX_SCANS} scans: save it again")
    return number
