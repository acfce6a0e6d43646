"""PNG: its chunks and their checksums.

https://www.w3.org/TR/png-3/
"""

import struct
import zlib
from collections.abc import Iterator

from sampoll.inputs.image_files.header import BadStructure, Header

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"IEND"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", END)
_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Neither the pixels nor the orientation depend on these. Pillow unpacks them, and refuses large ones."""

MAX_CHUNKS = 200_000
"""Encoders write image data in chunks of 8 KB and more: that many hold 1.6 GB."""
BYTES_PER_PIXEL = 8
"""Measured: Pillow's copy, which has 1, 2 or 4, the pixels, and the band that is being converted."""


def header_of(content: bytes) -> Header:
    width, height = struct.unpack(">II", content[16:24].ljust(8, b"\0"))
    return Header(width, height, BYTES_PER_PIXEL)


def checked(content: bytes) -> bytes:
    """The image as it is to be decoded: up to its end, without metadata that nothing here needs. Refuses a
    file without its end, and one whose checksums do not fit."""
    view, parts, unchanged_from, has_end = memoryview(content), [], 0, False
    for number, (kind, start, end) in enumerate(_chunks(content)):
        if number >= MAX_CHUNKS:
            raise BadStructure(f"has more than {MAX_CHUNKS} chunks: save it again")
        if end > len(content):
            raise BadStructure("is truncated")
        if kind in _CRITICAL and zlib.crc32(view[start + 4 : end - 4]).to_bytes(4) != view[end - 4 : end]:
            raise BadStructure(f"is damaged: its chunk {kind.decode()} does not fit its checksum")
        if kind in _METADATA:
            parts.append(view[unchanged_from:start])
            unchanged_from = end
        has_end = kind == END
    if not has_end:
        raise BadStructure("is truncated, or damaged: it has no IEND chunk")
    return b"".join((*parts, view[unchanged_from:])) if parts else content


def exif_of(content: bytes) -> bytes:
    """The EXIF data of the image, from before its pixels if there are several; empty if it has none."""
    found = b""
    for kind, start, end in _chunks(content):
        if kind == b"IDAT" and found:
            break
        if kind == b"eXIf":
            found = content[start + 8 : end - 4]
    return found


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, start and end of each chunk, IEND being the last; the end may be behind that of the file."""
    position, kind = len(SIGNATURE), b""
    while kind != END and position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, position, position + 12 + length
        position += 12 + length
