"""PNG: its chunks and their checksums.

https://www.w3.org/TR/png-3/
"""

import math
import struct
import zlib
from collections.abc import Iterator

from sampoll.inputs.image_files.exif import orientation_of
from sampoll.inputs.image_files.header import BadStructure, Header

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DATA, END = b"IDAT", b"IEND"
_CRITICAL = (b"IHDR", b"PLTE", _DATA, END)
"""Pixels depend on no others. Pillow would read those too, and refuse large or odd ones."""
_IS_OPTIONAL = 0x20
"""A chunk whose first letter has this bit may be passed over by programs that do not know it."""
_EXIF, _ANIMATION, _FRAME = b"eXIf", b"acTL", b"fcTL"
_ANIMATION_BYTES = 20
"""Of the whole chunk that announces an animation."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""How many numbers a pixel has, by its type of colour."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass of an interlaced image the first column and line, and the steps to the next ones."""
_PIECE_BYTES = 2**20

MAX_CHUNKS = 200_000
"""Encoders write image data in chunks of 8 KB and more: that many hold 1.6 GB."""
BYTES_PER_PIXEL = 8
"""Measured: Pillow's copy, which has 1, 2 or 4, the pixels, and the band that is being converted."""


def header_of(content: bytes) -> Header:
    width, height = struct.unpack(">II", content[16:24].ljust(8, b"\0"))
    return Header(width, height, BYTES_PER_PIXEL, orientation_of(_exif_of(content)))


def checked(content: bytes) -> tuple[bytes, int]:
    """The image as it is to be decoded: up to its end, without the chunks that nothing here needs; and its
    number of pictures. Refuses a file without its end, and one whose checksums do not fit."""
    view, parts, unchanged_from = memoryview(content), [], 0
    kind, pictures = b"", _Pictures()
    for number, (kind, start, end) in enumerate(_chunks(content)):
        if number >= MAX_CHUNKS:
            raise BadStructure(f"has more than {MAX_CHUNKS} chunks: save it again")
        if end > len(content):
            raise BadStructure("is truncated")
        if kind in _CRITICAL:
            if not _fits_checksum(view, start, end):
                raise BadStructure(f"is damaged: its chunk {kind.decode()} does not fit its checksum")
        elif kind[0] & _IS_OPTIONAL:
            if unchanged_from < start:
                parts.append(view[unchanged_from:start])
            unchanged_from = end
        else:
            raise BadStructure(
                f"has a chunk {kind.decode()}, which is not known here: save it again as a usual PNG"
                if kind.isalpha()
                else "is damaged: a chunk has no name"
            )
        pictures.add(kind, end - start)
    if kind != END:
        raise BadStructure("is truncated, or damaged: it has no IEND chunk")
    return (b"".join((*parts, view[unchanged_from:])) if unchanged_from else content), pictures.number


class _Pictures:
    """Counts the pictures in a PNG: one, or the frames of an animation, and its image, if it is no frame."""

    def __init__(self) -> None:
        self._is_animated = self._has_data = self._first_is_frame = False
        self._frames = 0

    def add(self, kind: bytes, length: int) -> None:
        if kind == _DATA:
            self._has_data = True
        elif kind == _FRAME:
            self._first_is_frame |= not self._has_data
            self._frames += 1
        elif kind == _ANIMATION:  # programs pass over one of another length
            self._is_animated |= length == _ANIMATION_BYTES

    @property
    def number(self) -> int:
        return self._frames + (not self._first_is_frame) if self._is_animated else 1


def has_all_pixels(content: bytes) -> bool:
    """Whether the data of a PNG are as long as its pixels need, once decompressed: a third of the time of
    decoding it. Pillow takes the end of the compressed data for that of the image; missing lines are 0."""
    missing, inflater = _bytes_of_pixels(content), zlib.decompressobj()
    for kind, start, end in _chunks(content):
        data = content[start + 8 : end - 4] if kind == _DATA else b""
        while data and missing > 0:
            missing -= len(inflater.decompress(data, _PIECE_BYTES))
            data = inflater.unconsumed_tail
    # What the inflater still holds; its flush() would decompress all that is behind the image too.
    return missing <= 0 or missing <= len(inflater.decompress(b"", _PIECE_BYTES))


def _bytes_of_pixels(content: bytes) -> int:
    width, height, depth, colours, is_interlaced = struct.unpack_from(">IIBBxxB", content, 16)
    bits = depth * _CHANNELS[colours]
    total = 0
    for x, y, step_x, step_y in _PASSES if is_interlaced else [(0, 0, 1, 1)]:
        columns, lines = math.ceil((width - x) / step_x), math.ceil((height - y) / step_y)
        if columns > 0 and lines > 0:
            total += lines * (1 + math.ceil(columns * bits / 8))
    return total


def _exif_of(content: bytes) -> bytes:
    """The EXIF data of the image: the first whose checksum fits; empty if there is none."""
    if _EXIF not in content:  # the usual case, found out fast
        return b""
    view = memoryview(content)
    for number, (kind, start, end) in enumerate(_chunks(content)):
        if number >= MAX_CHUNKS:
            break
        if kind == _EXIF and _fits_checksum(view, start, end):
            return content[start + 8 : end - 4]
    return b""


def _fits_checksum(content: memoryview, start: int, end: int) -> bool:
    """Whether the chunk is as it was written."""
    return zlib.crc32(content[start + 4 : end - 4]).to_bytes(4) == content[end - 4 : end]


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, start and end of each chunk, IEND being the last; the end may be behind that of the file."""
    position, kind = len(SIGNATURE), b""
    while kind != END and position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, position, position + 12 + length
        position += 12 + length
