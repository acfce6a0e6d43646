"""JPEG: the segments before the image data, and how many scans there are.

https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
"""

import re
from collections.abc import Iterator

from sampoll.inputs.image_files.header import BadStructure, Header

SIGNATURE = b"\xff\xd8\xff"
START_OF_SCAN, END, APP1 = 0xDA, 0xD9, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
"""A marker that has a length, or the end. Restart markers have none, and 0xff 0x00 is image data."""
_EXIF = b"Exif\x00"

MAX_SCANS = 24
"""A scan costs a pass over the whole image. libjpeg's own scripts have 10, and 18 for four channels."""
MAX_SEGMENTS = 10_000
"""Segments of 64 KB hold all that belongs to an image, such as profiles, and depth maps in XMP."""
MAX_EXIF_SEGMENTS = 16
"""One is usual. Pillow joins them one by one, which is quadratic."""
BASELINE, PROGRESSIVE_PER_CHANNEL, OTHER = 6, 2, 2
"""Bytes a pixel, measured: the pixels twice, while they are turned; coefficients of 16 bits for each channel;
and Pillow's own copy, where simplejpeg cannot decode it."""


def header_of(content: bytes) -> Header:
    """The header of a JPEG; of several frames, the most that any of them says."""
    width = height = per_pixel = 0
    for marker, start in _segments(content):
        if marker in _FRAMES and start + 8 <= len(content):
            height = max(height, int.from_bytes(content[start + 3 : start + 5]))
            width = max(width, int.from_bytes(content[start + 5 : start + 7]))
            channels = content[start + 7]
            coefficients = PROGRESSIVE_PER_CHANNEL * min(channels, 4) if marker in _PROGRESSIVE else 0
            per_pixel = max(per_pixel, BASELINE + coefficients + (OTHER if channels > 3 else 0))
        elif marker == START_OF_SCAN:
            break
    return Header(width, height, per_pixel)


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
        if found is None or found[1][0] == END:
            return
        position = found.end() + max(2, int.from_bytes(content[found.end() : found.end() + 2]))
        yield found[1][0], found.end()
    raise BadStructure(f"has more than {MAX_SEGMENTS} segments: save it again")
