"""TIFF: the samples of a page, and their colours.

Pillow only decompresses: it gets the rows of a page as a gray image of 8 bits. What these bytes mean is
decided here, because Pillow knows few of the kinds that TIFF has, and gets some wrong. Fax and JPEG are
decoded by Pillow.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.jobs import RgbImage
from sampoll.inputs.image_files import tiff_directory as tags
from sampoll.inputs.image_files.header import BadStructure
from sampoll.inputs.image_files.rgb import in_8_bits, rgb_of, rows_of_band
from sampoll.inputs.image_files.tiff_directory import LONG, SHORT, Directory, Tags, pages, with_directory
from sampoll.inputs.image_files.tiff_kind import CMYK, LAB, NONE, PALETTE, WHITE_IS_ZERO, YCBCR, Kind, kind_of

Samples: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""Shape (rows, width, samples), of 8 or 16 bits."""
_PILLOW_MODES: Mapping[int, str] = {CMYK: "CMYK", YCBCR: "YCbCr", LAB: "LAB"}
_SEPARATE_PLANES = 2
_GRAY = {tags.BITS: (SHORT, (8,)), tags.PHOTOMETRIC: (SHORT, (1,)), tags.SAMPLES: (SHORT, (1,))}


def decode(content: bytes) -> RgbImage:
    """The pixels of the first page in RGB, as they are stored. Alpha is dropped; of each sample the upper 8
    bits are kept, and samples of fewer bits are scaled to 8."""
    page, _ = pages(content)
    kind = kind_of(page)
    if not kind.is_of_bytes:
        file = io.BytesIO(with_directory(content, _tags_for_pillow(page, kind)))
        with Image.open(file, formats=("TIFF",)) as image:
            return rgb_of(image)
    width, height = page.first(tags.WIDTH, 0), page.first(tags.HEIGHT, 0)
    is_separate = kind.samples > 1 and page.first(tags.PLANES, 1) == _SEPARATE_PLANES
    planes = kind.colours + kind.is_premultiplied if is_separate else 1
    per_plane = 1 if is_separate else kind.samples
    stored = [_rows_of_bytes(page, kind, plane, per_plane) for plane in range(planes)]
    colour_map = _colour_map(page, kind) if kind.photometric == PALETTE else None
    rgb = np.empty((height, width, 3), np.uint8)
    rows = rows_of_band(width * kind.samples)
    for top in range(0, height, rows):
        box = (0, top, stored[0].width, min(height, top + rows))
        parts = [_samples(np.asarray(plane.crop(box)), page, kind, per_plane) for plane in stored]
        samples = parts[0] if planes == 1 else np.concatenate(parts, axis=2)
        rgb[top : top + rows] = _colours(samples, kind) if colour_map is None else colour_map[samples[..., 0]]
    return rgb


def _tags_for_pillow(page: Directory, kind: Kind) -> Tags:
    """The tags that matter for a page in fax or JPEG."""
    found = {tag: page.typed_values(tag) for tag in page.entries if tag not in tags.OF_PLACE}
    found[tags.PHOTOMETRIC] = SHORT, (kind.photometric,)
    return {tag: typed for tag, typed in found.items() if typed[1]}


def _rows_of_bytes(page: Directory, kind: Kind, plane: int, samples: int) -> Image.Image:
    """The rows of a plane as a gray image whose pixels are their bytes."""
    pixel_bits = samples * kind.bits
    shape, offsets, counts, number = _tiles(page, pixel_bits) or _strips(page)
    shape |= {
        tags.WIDTH: math.ceil(page.first(tags.WIDTH, 0) * pixel_bits / 8),
        tags.HEIGHT: page.first(tags.HEIGHT, 0),
    }
    places, lengths = (page.values(tag)[plane * number : (plane + 1) * number] for tag in (offsets, counts))
    if len(places) < number:
        raise BadStructure(
            f"is damaged: its pixels are in {number} strips or tiles, and it has {len(places)}"
        )
    if kind.compression == NONE:
        _check_extent(page, shape, places)
    found: Tags = {
        **_GRAY,
        **{tag: (LONG, (value,)) for tag, value in shape.items()},
        tags.COMPRESSION: (SHORT, (kind.compression,)),
        tags.FILL_ORDER: (SHORT, (page.first(tags.FILL_ORDER, 1),)),
        offsets: (LONG, places),
        **({counts: (LONG, lengths)} if lengths else {}),
    }
    # The file is closed at once, and takes no memory while the pixels are converted.
    with (
        io.BytesIO(with_directory(page.content, found)) as file,
        Image.open(file, formats=("TIFF",)) as image,
    ):
        image.load()
        return image


def _check_extent(page: Directory, shape: Mapping[int, int], places: Sequence[int]) -> None:
    """Refuses samples behind the end of the file, where a directory is put that Pillow would take for them.
    Their lengths are not taken from the file: some programs write that of a whole strip for the last one."""
    height, rows = shape[tags.HEIGHT], shape.get(tags.ROWS_PER_STRIP, 0)
    for index, place in enumerate(places):
        length = (
            shape[tags.TILE_WIDTH] * shape[tags.TILE_HEIGHT]
            if not rows
            else (shape[tags.WIDTH] * min(rows, height - index * rows))
        )
        if place + length > len(page.content):
            raise BadStructure("is truncated")


_Blocks: TypeAlias = tuple[dict[int, int], int, int, int]
"""The tags of the size of strips or tiles, whose pixels are bytes; the tags of their offsets and lengths; and
how many a plane has."""


def _strips(page: Directory) -> _Blocks:
    height = page.first(tags.HEIGHT, 0)
    rows = min(max(page.first(tags.ROWS_PER_STRIP, height), 1), height)
    return {tags.ROWS_PER_STRIP: rows}, tags.STRIP_OFFSETS, tags.STRIP_COUNTS, math.ceil(height / rows)


def _tiles(page: Directory, pixel_bits: int) -> _Blocks | None:
    if tags.TILE_WIDTH not in page.entries:
        return None
    width, height = page.first(tags.TILE_WIDTH, 0), page.first(tags.TILE_HEIGHT, 0)
    if min(width, height) < 1 or width * pixel_bits % 8:
        raise BadStructure(f"is damaged: its tiles are of {width}x{height} pixels")
    across, down = page.first(tags.WIDTH, 0) / width, page.first(tags.HEIGHT, 0) / height
    shape = {tags.TILE_WIDTH: width * pixel_bits // 8, tags.TILE_HEIGHT: height}
    return shape, tags.TILE_OFFSETS, tags.TILE_COUNTS, math.ceil(across) * math.ceil(down)


def _samples(rows: NDArray[np.uint8], page: Directory, kind: Kind, per_pixel: int) -> Samples:
    """The samples in some rows of bytes, as numbers."""
    width = page.first(tags.WIDTH, 0)
    number = width * per_pixel
    if kind.bits == 8:
        flat: Any = rows
    elif kind.bits == 16:
        flat = rows.view(page.order + "u2")
    else:
        bits = np.unpackbits(rows, axis=1)[:, : number * kind.bits].reshape(len(rows), number, kind.bits)
        octets = np.packbits(bits, axis=2)  # the bits are the upper ones of one or two bytes
        whole = octets[..., 0] if kind.bits < 8 else octets.view(">u2")[..., 0]
        flat = whole >> (8 * octets.shape[2] - kind.bits)
    samples: Samples = flat[:, :number].reshape(len(rows), width, per_pixel)
    return _summed(samples, page.first(tags.TILE_WIDTH, width)) if kind.has_differences else samples


def _summed(differences: Samples, block_width: int) -> Samples:
    """The samples, given their differences from the left neighbours in the same strip or tile."""
    numbers = np.uint8 if differences.itemsize == 1 else np.uint16
    starts = range(0, differences.shape[1], block_width)
    parts = [np.cumsum(differences[:, x : x + block_width], axis=1, dtype=numbers) for x in starts]
    return np.concatenate(parts, axis=1)


def _colours(samples: Samples, kind: Kind) -> NDArray[np.uint8]:
    """RGB, of shape (rows, width, 3), or gray of shape (rows, width, 1)."""
    pixels = in_8_bits(samples[..., : kind.colours + kind.is_premultiplied], kind.bits)
    if kind.photometric == WHITE_IS_ZERO:
        return np.invert(pixels)
    if kind.is_premultiplied:
        colours, alpha = pixels[..., :-1], pixels[..., -1:]
        colours = np.broadcast_to(colours, (*alpha.shape[:2], 3))
        return _converted(np.concatenate((colours, alpha), axis=2), "RGBa", "RGBA")[..., :3]
    mode = _PILLOW_MODES.get(kind.photometric)
    return _converted(pixels, mode, "RGB") if mode else pixels


def _converted(pixels: NDArray[np.uint8], mode: str, to: str) -> NDArray[np.uint8]:
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    converted: NDArray[np.uint8] = np.asarray(image.convert(to))
    return converted


def _colour_map(page: Directory, kind: Kind) -> NDArray[np.uint8]:
    """The colours of a palette, of shape (2 ** bits, 3)."""
    colours = np.array(page.values(tags.COLOUR_MAP), np.int64)
    if colours.size != 3 * 2**kind.bits:
        raise BadStructure(f"is damaged: its palette has {colours.size} values, not {3 * 2**kind.bits}")
    # Some programs write 8 bits here, instead of 16.
    upper = colours >> 8 if colours.max(initial=0) > 255 else colours
    return upper.reshape(3, -1).T.astype(np.uint8)
