"""PNG: its chunks and their checksums.

https://www.w3.org/TR/png-3/
"""

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
