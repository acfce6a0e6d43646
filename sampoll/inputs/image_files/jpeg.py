"""JPEG: the segments before the image data, and how many scans there are.

https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sampoll.inputs.image_files.exif import UPRIGHT, orientation_of
from sampoll.inputs.image_files.header import BadStructure, Header

SIGNATURE = b"\xff\xd8\xff"
START_OF_SCAN, END, APP1 = 0xDA, 0xD9, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_OR_HIERARCHICAL = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF))
_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))
_COLOUR_SEGMENTS = {0xE0: 16, 0xEE: 14}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_MARKER = re.compile(rb"\xff+[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
"""A marker that has a length, or the end. Restart markers have none, and 0xff 0x00 is image data."""
_EXIF = b"Exif\x00"
_EXIF_BYTES = len(_EXIF) + 1
"""One more follows, usually a zero."""

MAX_SCANS = 24
"""A scan costs a pass over the whole image. libjpeg's own scripts have 10, and 18 for four channels."""
MAX_SEGMENTS = 10_000
"""Segments of 64 KB hold all that belongs to an image, such as profiles, and depth maps in XMP."""
MAX_EXIF_SEGMENTS = 16
"""One is usual. Pillow joins them one by one, which is quadratic."""
BASELINE, PROGRESSIVE_PER_CHANNEL, OTHER = 6, 2, 2
"""Bytes a pixel, measured: the pixels twice, while they are turned; coefficients of 16 bits for each channel;
and Pillow's own copy, where simplejpeg cannot decode it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the segment before the image data says about it."""

    marker: int = 0
    bits: int = 0
    height: int = 0
    width: int = 0
    channels: int = 0

    @property
    def bytes_per_pixel(self) -> int:
        coefficients = PROGRESSIVE_PER_CHANNEL * min(self.channels, 4) if self.marker in _PROGRESSIVE else 0
        return BASELINE + coefficients + (OTHER if self.channels > 3 else 0)


def header_of(content: bytes) -> Header:
    """The header of a JPEG: of its first frame, and of its first EXIF."""
    frame, orientation = Frame(), None
    for marker, start in _segments(content):
        if marker in _FRAMES and not frame.marker:
            frame = _frame(content, marker, start)
        elif orientation is None and marker == APP1 and content.startswith(_EXIF, start + 2):
            end = start + int.from_bytes(content[start : start + 2])
            orientation = orientation_of(content[start + 2 + _EXIF_BYTES : end])
        elif marker == START_OF_SCAN:
            break
    return Header(
        frame.width, frame.height, frame.bytes_per_pixel, orientation or UPRIGHT, channels=frame.channels
    )


def _first_frame(content: bytes) -> Frame:
    """The first frame of a JPEG; an empty one if it has none."""
    frames = (_frame(content, marker, start) for marker, start in _segments(content) if marker in _FRAMES)
    return next(frames, Frame())


def _frame(content: bytes, marker: int, start: int) -> Frame:
    bits, height, width, channels = struct.unpack(">BHHB", content[start + 2 : start + 8].ljust(6, b"\0"))
    return Frame(marker, bits, height, width, channels)


def check_kind(content: bytes) -> None:
    """Refuses pixels of a kind that is not decoded here."""
    frame = _first_frame(content)
    if frame.marker in _LOSSLESS_OR_HIERARCHICAL:
        raise BadStructure("is a lossless or hierarchical JPEG, which is not read here: save it as PNG")
    if frame.bits != 8:
        raise BadStructure(f"is a JPEG of {frame.bits} bits, which is not read here: save it with 8")


def without_metadata(content: bytes) -> bytes:
    """The JPEG without the segments on which its pixels do not depend."""
    parts, unchanged_from = [], 0
    for marker, start in _segments(content):
        if marker == START_OF_SCAN:
            break
        length = int.from_bytes(content[start : start + 2])
        # These two say which colours the channels are, if they have their full length.
        is_needed = marker not in _METADATA or length >= _COLOUR_SEGMENTS.get(marker, length + 1)
        if not is_needed:
            parts.append(content[unchanged_from : start - 2])
            unchanged_from = start + max(2, length)
    return b"".join((*parts, content[unchanged_from:]))


def check(content: bytes) -> None:
    """Refuses more segments or scans than a real encoder writes."""
    exif = 0
    for marker, start in _segments(content):
        exif += marker == APP1 and content.startswith(_EXIF, start + 2)
        if exif > MAX_EXIF_SEGMENTS:
            raise BadStructure(f"has more than {MAX_EXIF_SEGMENTS} segments of EXIF: save it again")
        if marker == START_OF_SCAN:
            break
    # In image data, these two bytes do not occur; so there are at most as many scans. Counting them is fast.
    if content.count(bytes((0xFF, START_OF_SCAN))) > MAX_SCANS and _scans(content) > MAX_SCANS:
        raise BadStructure(f"has more than {MAX_SCANS} scans: save it again")


def _scans(content: bytes) -> int:
    return sum(marker == START_OF_SCAN for marker, _ in _segments(content))


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """The marker and the start of each segment up to the end of the image, as libjpeg finds them. A segment
    starts with its length; the image data after a scan's segment belongs to none."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(content, position)
        if found is None:
            return
        start = found.end()
        marker = content[start - 1]
        if marker == END:
            return
        position = start + max(2, int.from_bytes(content[start : start + 2]))
        yield marker, start
    raise BadStructure(f"has more than {MAX_SEGMENTS} segments: save it again")
