"""TIFF: its directories and the values in them, and files made of some of these.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
"""

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sampoll.inputs.image_files.header import BadStructure

SUBFILE, OLD_SUBFILE = 254, 255
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANES = 273, 274, 277, 278, 279, 284
PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 317, 320, 322, 323, 324, 325
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING = 332, 338, 339, 530
OF_COMPRESSION = (292, 293, 347, *range(512, 522), 529, SUBSAMPLING, 531, 532)
"""What decoders of fax and JPEG need besides."""

_READ = frozenset(
    (
        *(SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS),
        *(ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANES, PREDICTOR, COLOUR_MAP, TILE_WIDTH),
        *(TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, *OF_COMPRESSION),
    )
)
"""All others are passed over: what is wrong with them does not matter."""
OF_PLACE = (SUBFILE, OLD_SUBFILE, ORIENTATION)
"""What a page is among others, and how it is turned; its pixels do not depend on these."""
_BIG = b"+"
_FORMATS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}
"""Of the types of whole numbers, of bytes and of fractions, as struct has them."""
_BYTES, SHORT, LONG, _FRACTIONS, _UNDEFINED = 1, 3, 4, 5, 7
_WHOLE_NUMBERS = frozenset(_FORMATS) - {_FRACTIONS, _UNDEFINED}
Tags: TypeAlias = Mapping[int, tuple[int, tuple[int, ...]]]
"""The type and values of each tag."""
OUTSIDE = (struct.error, OverflowError)
"""What struct raises for a place behind the end of the file."""
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
"""Kinds of subfiles: smaller versions of a page, and masks of its transparent parts."""

MAX_PAGES = 1000
MAX_TAGS = 4096
"""Of a page."""
MAX_TAGS_OF_ALL = 100_000
"""A page has about 20. All are looked through several times."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag's values: their type and number, and the place of the first one in the file."""

    kind: int
    count: int
    place: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The tags of a page; of two entries for one tag, the first. Numbers are read in `order`."""

    content: bytes
    order: str
    entries: Mapping[int, Entry]

    def values(self, tag: int, kinds: Collection[int] = _WHOLE_NUMBERS) -> tuple[int, ...]:
        """All values of a tag; empty if it is missing, of another type, or outside the file."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in kinds:
            return ()
        form = _FORMATS[entry.kind]
        try:
            return struct.unpack_from(
                f"{self.order}{entry.count * len(form)}{form[0]}", self.content, entry.place
            )
        except OUTSIDE:
            return ()

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag that may have many."""
        entry = self.entries.get(tag)
        if entry is None or not entry.count:
            return default
        one = Directory(self.content, self.order, {tag: Entry(entry.kind, 1, entry.place)})
        return next(iter(one.values(tag)), default)

    def typed_values(self, tag: int) -> tuple[int, tuple[int, ...]]:
        """A type that classic TIFF has, and the values of a tag."""
        kind = self.entries[tag].kind
        return (kind if kind in (_BYTES, SHORT, _FRACTIONS, _UNDEFINED) else LONG), self.values(tag, _FORMATS)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers, entries and places are written in a file."""

    order: str
    is_big: bool

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.is_big else "I")

    @property
    def counter(self) -> str:
        return self.order + ("Q" if self.is_big else "H")

    @property
    def entry(self) -> str:
        return self.order + ("HHQQ" if self.is_big else "HHII")

    @property
    def place_of_first(self) -> int:
        return 8 if self.is_big else 4


def pages(content: bytes) -> tuple[Directory, int]:
    """The directory of the first page, and the number of pages. Smaller versions and masks of a page do not
    count, unless there is nothing else.

    Raises BadStructure for a loop, or for more directories or tags than images have, and one of OUTSIDE for
    a directory that is not in the file.
    """
    layout = _Layout("<" if content[:1] == b"I" else ">", is_big=_BIG in content[2:4])
    places: dict[int, None] = {}
    full: list[int] = []
    tags = 0
    [place] = struct.unpack_from(layout.pointer, content, layout.place_of_first)
    while place:
        if place in places:
            raise BadStructure("is damaged: its pages form a loop")
        if len(places) == MAX_PAGES:
            raise BadStructure(f"has more than {MAX_PAGES} pages: save each as an image of its own")
        places[place] = None
        kind = _directory(content, layout, place, (SUBFILE, OLD_SUBFILE))
        if not kind.first(SUBFILE, 0) & (_REDUCED | _MASK) and kind.first(OLD_SUBFILE, 0) != _OLD_REDUCED:
            full.append(place)
        begin, end = _extent(content, layout, place)
        tags += (end - begin) // struct.calcsize(layout.entry)
        if tags > MAX_TAGS_OF_ALL:
            raise BadStructure(f"has more than {MAX_TAGS_OF_ALL} tags: save each page as an image of its own")
        # A file may end with the last entry of its last directory.
        place = struct.unpack_from(layout.pointer, content, end)[0] if end < len(content) else 0
    if not places:
        raise BadStructure("is damaged: it has no pages")
    counted = full or list(places)
    return _directory(content, layout, counted[0], _READ), len(counted)


def _extent(content: bytes, layout: _Layout, place: int) -> tuple[int, int]:
    """Where the entries of a directory begin and end."""
    [number] = struct.unpack_from(layout.counter, content, place)
    if number > MAX_TAGS:
        raise BadStructure(f"has {number} tags, more than {MAX_TAGS}: save it again")
    begin = place + struct.calcsize(layout.counter)
    return begin, begin + number * struct.calcsize(layout.entry)


def _directory(content: bytes, layout: _Layout, place: int, tags: Collection[int]) -> Directory:
    """The entries of a directory for some tags."""
    begin, end = _extent(content, layout, place)
    form, pointer_bytes = struct.Struct(layout.entry), struct.calcsize(layout.pointer)
    if end > len(content):
        raise struct.error("the directory reaches beyond the file")
    entries: dict[int, Entry] = {}
    for index, (tag, kind, count, pointer) in enumerate(form.iter_unpack(memoryview(content)[begin:end])):
        if tag in tags:
            is_inline = count * struct.calcsize(layout.order + _FORMATS.get(kind, "B")) <= pointer_bytes
            inline = begin + (index + 1) * form.size - pointer_bytes
            entries.setdefault(tag, Entry(kind, count, inline if is_inline else pointer))
    return Directory(content, layout.order, entries)


def with_directory(content: bytes, tags: Tags) -> bytes:
    """The file as a classic TIFF in little-endian order whose only directory has these tags: each has a type
    and values, which are places in the file where the tag says so."""
    begin = len(content) + len(content) % 2
    entries, data = bytearray(), bytearray()
    data_at = begin + struct.calcsize("<H") + 12 * len(tags) + struct.calcsize("<I")
    for tag, (kind, values) in sorted(tags.items()):
        form = _FORMATS[kind]
        field = struct.pack(f"<{len(values)}{form[0]}", *values)
        entries += struct.pack("<HHI", tag, kind, len(values) // len(form))
        if len(field) > 4:
            entries += struct.pack("<I", data_at + len(data))
            data += field
        else:
            entries += field.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    padding = bytes(begin - len(content))
    return b"".join((b"II*\0", struct.pack("<I", begin), memoryview(content)[8:], padding, directory, data))
