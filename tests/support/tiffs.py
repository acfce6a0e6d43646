"""TIFFs of every kind, written byte by byte."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES = 258, 259, 262, 266, 274, 277
COLOUR_MAP, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING, XMP = 320, 332, 338, 339, 530, 700
BYTE, ASCII, SHORT, LONG, FRACTION, UNDEFINED, SIGNED_SHORT, DOUBLE = 1, 2, 3, 4, 5, 7, 8, 12
NONE, DEFLATE, PACK_BITS = 1, 8, 32773
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8

Tag = tuple[int, Sequence[int | float] | bytes | None]
"""The type and values of a tag; None instead of these leaves the tag out."""
_FORMATS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q"}
_SIZES = {2: 1, 5: 8, 7: 1}


@dataclass(frozen=True)
class Layout:
    """How samples are stored."""

    bits: int = 8
    order: str = "<"
    compression: int = NONE
    differences: bool = False
    separate: bool = False
    reversed_bits: bool = False
    rows_per_strip: int | None = None
    tile: tuple[int, int] | None = None  # height, width
    is_big: bool = False
    tags: Mapping[int, Tag] = field(default_factory=dict)


def tiff(samples: NDArray[Any] | Sequence[Any], photometric: int, layout: Layout) -> bytes:
    """A TIFF of samples of shape (height, width, samples)."""
    image = np.asarray(samples, np.int64)
    height, width, number = image.shape
    planes = [image[..., [k]] for k in range(number)] if layout.separate else [image]
    blocks = [_packed(block, layout) for plane in planes for block in _blocks(plane, layout)]
    tags: dict[int, Tag] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        BITS: (SHORT, [layout.bits] * number),
    }
    tags |= {COMPRESSION: (SHORT, [layout.compression]), PHOTOMETRIC: (SHORT, [photometric])}
    tags |= {SAMPLES: (SHORT, [number]), 284: (SHORT, [1 + layout.separate])}
    tags |= {FILL_ORDER: (SHORT, [1 + layout.reversed_bits]), 317: (SHORT, [1 + layout.differences])}
    offsets, counts = (324, 325) if layout.tile else (273, 279)
    if layout.tile:
        tags |= {322: (LONG, [layout.tile[1]]), 323: (LONG, [layout.tile[0]])}
    else:
        tags[278] = LONG, [layout.rows_per_strip or height]
    tags |= {
        offsets: (LONG, [0] * len(blocks)),
        counts: (LONG, [len(block) for block in blocks]),
        **layout.tags,
    }
    # The directory has the same length wherever the blocks are.
    place = len(_directory(tags, layout))
    places = [place + sum(map(len, blocks[:index])) for index in range(len(blocks))]
    if offsets not in layout.tags:
        tags[offsets] = LONG, places
    return _directory(tags, layout) + b"".join(blocks)


def _blocks(plane: NDArray[np.int64], layout: Layout) -> list[NDArray[np.int64]]:
    height, width, _ = plane.shape
    if layout.tile is None:
        rows = layout.rows_per_strip or height
        return [plane[top : top + rows] for top in range(0, height, rows)]
    rows, columns = layout.tile
    padded = np.pad(plane, ((0, -height % rows), (0, -width % columns), (0, 0)))
    return [
        padded[top : top + rows, left : left + columns]
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]


def _packed(block: NDArray[np.int64], layout: Layout) -> bytes:
    if layout.differences:
        block = np.diff(block, axis=1, prepend=0) % 2**layout.bits
    rows = block.reshape(len(block), -1)
    if layout.bits in (16, 32):
        data = rows.astype(f"{layout.order}u{layout.bits // 8}").tobytes()
    else:
        bits = rows[..., None] >> np.arange(layout.bits - 1, -1, -1) & 1
        data = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()
    if layout.compression == DEFLATE:
        data = zlib.compress(data)
    elif layout.compression == PACK_BITS:
        literals = [data[at : at + 128] for at in range(0, len(data), 128)]
        data = b"".join(bytes([len(literal) - 1]) + literal for literal in literals)
    if layout.reversed_bits:
        data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little").tobytes()
    return data


def _directory(tags: Mapping[int, Tag], layout: Layout) -> bytes:
    """A file of one directory, without its strips."""
    order, pointer = layout.order, ("Q" if layout.is_big else "I")
    signature = b"II" if order == "<" else b"MM"
    version = struct.pack(
        order + ("HHHQ" if layout.is_big else "HI"), *((43, 8, 0, 16) if layout.is_big else (42, 8))
    )
    head, inline = signature + version, struct.calcsize(pointer)
    written = {tag: (kind, values) for tag, (kind, values) in sorted(tags.items()) if values is not None}
    data_at = (
        len(head)
        + struct.calcsize("<Q" if layout.is_big else "<H")
        + len(written) * (4 + 2 * inline)
        + inline
    )
    entries, data = b"", b""
    for tag, (kind, values) in written.items():
        value = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"{order}{len(values)}{_FORMATS[kind]}", *values)
        )
        size = _SIZES.get(kind) or struct.calcsize(_FORMATS[kind])
        entries += struct.pack(f"{order}HH{pointer}", tag, kind, len(value) // size)
        entries += (
            value.ljust(inline, b"\0")
            if len(value) <= inline
            else struct.pack(order + pointer, data_at + len(data))
        )
        data += value if len(value) > inline else b""
    return (
        head
        + struct.pack(order + ("Q" if layout.is_big else "H"), len(written))
        + entries
        + bytes(inline)
        + data
    )
