"""TIFF: its pages and their tags.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from sampoll.inputs.image_files.header import BadStructure, Header
from sampoll.inputs.image_files.jpeg import MAX_SCANS

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
"""The last two are wrong, and Pillow reads them."""
_BIG = b"+"
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES = 256, 257, 258, 259, 277
STRIP_OFFSETS, STRIP_COUNTS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 273, 279, 322, 323, 324, 325
_JPEG = (6, 7)
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"}
"""Of the types of whole numbers, as struct has them."""
_BYTES = (1, 2, 6, 7)
"""The types of single bytes, which Pillow leaves as they are; of all others it makes a tuple."""
_OUTSIDE = (struct.error, OverflowError)
"""What struct raises for a place behind the end of the file."""
FIRST_PRIVATE_TAG = 32768

MAX_PAGES = 1000
MAX_TAGS = 4096
MAX_VALUES = 200_000
"""Of a tag: the colours of a palette of 16 bits are 196,608."""
MAX_STRIPS = 100_000
"""Or tiles. Pillow makes an object of each, and decodes each by itself."""
USUAL_TILE_PIXELS = 2**24
BYTES_PER_PIXEL = 8
"""Pillow's copy, and the pixels; a strip or tile of undecoded samples comes to that."""
MAX_SAMPLES, MAX_BYTES_OF_SAMPLE = 8, 8


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    place: int  # of its first value in the file


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers and directories are written in this file."""

    order: str
    is_big: bool

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.is_big else "I")

    @property
    def entry(self) -> str:
        return self.order + ("HHQ" if self.is_big else "HHI")

    def directory(self, content: bytes, place: int) -> tuple[int, int, int]:
        """The number of entries of the directory at `place`, where they begin, and where the pointer to the
        next directory is."""
        form = self.order + ("Q" if self.is_big else "H")
        [number] = struct.unpack_from(form, content, place)
        begin = place + struct.calcsize(form)
        return number, begin, begin + number * self.entry_bytes

    @property
    def entry_bytes(self) -> int:
        return 20 if self.is_big else 12


def header_of(content: bytes) -> Header:
    """The header of the first page."""
    layout = _layout(content)
    try:
        tags = _first_tags(content, layout)
        width, height, bits, samples, tile_width, tile_height = (
            max(_first_value(content, layout, tags.get(tag), default), 0)  # some types have a sign
            for tag, default in (
                (WIDTH, 0),
                (HEIGHT, 0),
                (BITS, 1),
                (SAMPLES, 1),
                (TILE_WIDTH, 0),
                (TILE_HEIGHT, 0),
            )
        )
    except _OUTSIDE:
        return Header(0, 0, BYTES_PER_PIXEL)
    raw = min(samples, MAX_SAMPLES) * min(-(-bits // 8), MAX_BYTES_OF_SAMPLE)
    if tile_width * tile_height > max(width * height, USUAL_TILE_PIXELS):
        raise BadStructure(f"has tiles of {tile_width}x{tile_height} pixels, more than the image")
    return Header(width, height, BYTES_PER_PIXEL + raw)


def check(content: bytes) -> int:
    """The number of pages. Refuses loops of pages, and more pages, tags or strips than images have."""
    layout = _layout(content)
    try:
        pages = _number_of_pages(content, layout)
        tags = _first_tags(content, layout)
    except _OUTSIDE as error:
        raise BadStructure("is truncated, or damaged: a directory lies outside the file") from error
    for tag, entry in tags.items():
        is_of_strips = tag in (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS)
        most = MAX_STRIPS if is_of_strips else MAX_VALUES
        is_expanded = is_of_strips or entry.kind not in _BYTES
        if tag < FIRST_PRIVATE_TAG and is_expanded and entry.count > most:
            raise BadStructure(f"has {entry.count} values of the tag {tag}, more than {most}: save it again")
    if _first_value(content, layout, tags.get(COMPRESSION), 1) in _JPEG:
        _check_scans(content, layout, tags)
    return pages


def _layout(content: bytes) -> _Layout:
    return _Layout("<" if content[:1] == b"I" else ">", _BIG in content[2:4])


def _first_directory(content: bytes, layout: _Layout) -> int:
    [place] = struct.unpack_from(layout.pointer, content, 8 if layout.is_big else 4)
    return int(place)


def _number_of_pages(content: bytes, layout: _Layout) -> int:
    places: set[int] = set()
    place = _first_directory(content, layout)
    while place:
        if place in places:
            raise BadStructure("is damaged: its pages form a loop")
        if len(places) == MAX_PAGES:
            raise BadStructure(f"has more than {MAX_PAGES} pages: save each as an image of its own")
        places.add(place)
        _, _, following = layout.directory(content, place)
        # A file may end with the last entry of its last directory.
        place = struct.unpack_from(layout.pointer, content, following)[0] if following < len(content) else 0
    return len(places)


def _first_tags(content: bytes, layout: _Layout) -> Mapping[int, _Entry]:
    """The entries of the first page, by tag; of two for one tag, the first, as in Pillow."""
    number, begin, _ = layout.directory(content, _first_directory(content, layout))
    if number > MAX_TAGS:
        raise BadStructure(f"has {number} tags, more than {MAX_TAGS}: save it again")
    tags: dict[int, _Entry] = {}
    for index in range(number):
        at = begin + index * layout.entry_bytes
        tag, kind, count = struct.unpack_from(layout.entry, content, at)
        place = at + struct.calcsize(layout.entry)
        if kind in _FORMATS and count * struct.calcsize(_FORMATS[kind]) > struct.calcsize(layout.pointer):
            [place] = struct.unpack_from(layout.pointer, content, place)
        tags.setdefault(tag, _Entry(kind, count, place))
    return tags


def _values(content: bytes, layout: _Layout, entry: _Entry | None) -> tuple[int, ...]:
    if entry is None or entry.kind not in _FORMATS:
        return ()
    try:
        return struct.unpack_from(f"{layout.order}{entry.count}{_FORMATS[entry.kind]}", content, entry.place)
    except _OUTSIDE:
        return ()


def _first_value(content: bytes, layout: _Layout, entry: _Entry | None, default: int) -> int:
    first = None if entry is None or not entry.count else _Entry(entry.kind, 1, entry.place)
    return next(iter(_values(content, layout, first)), default)


def _check_scans(content: bytes, layout: _Layout, tags: Mapping[int, _Entry]) -> None:
    for offsets, counts in ((STRIP_OFFSETS, STRIP_COUNTS), (TILE_OFFSETS, TILE_COUNTS)):
        places, lengths = (_values(content, layout, tags.get(tag)) for tag in (offsets, counts))
        for place, length in zip(places, lengths, strict=False):
            if content.count(b"\xff\xda", place, place + length) > MAX_SCANS:
                raise BadStructure(f"has a JPEG of more than {MAX_SCANS} scans: save it again")
