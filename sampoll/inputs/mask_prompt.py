"""Decodes and encodes mask prompts: a small image, or an array, in base64."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from sampoll.core import base64_text
from sampoll.core.jobs import LOW_RES_SIDE, LowResMask
from sampoll.inputs.image_files import png

MAX_TEXT_CHARACTERS = 2_000_000
"""Limit for the base64 of a mask; that of an array of 128-bit floats has 1.4 million characters."""
NPY_SIGNATURE = b"\x93NUMPY"
LOGIT_OF_WHITE = 10.0
"""Black has the negative of this value, and gray lies in between, as when SAM 2 makes logits of a mask."""
MAX_REASON_CHARACTERS = 200
"""numpy quotes the whole header, which can have thousands of characters."""
_SHAPES = ((LOW_RES_SIDE, LOW_RES_SIDE), (1, LOW_RES_SIDE, LOW_RES_SIDE))


def decode_mask_prompt(text: str) -> LowResMask:
    """The mask prompt in `text`; ValueError says what is wrong with it."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"has {len(text)} characters of base64, more than any mask needs")
    try:
        content = base64_text.decoded(text)
    except ValueError as error:
        raise ValueError(f"is not base64: {error}") from error
    if content.startswith(png.SIGNATURE):
        return LowResMask(content, _from_png(content))
    if content.startswith(NPY_SIGNATURE):
        return LowResMask(content, _from_npy(content))
    raise ValueError("must be a PNG or an .npy file in base64")


def check_logits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """ValueError for an array that cannot be low-res logits."""
    if shape not in _SHAPES or dtype.kind != "f":
        raise ValueError(f"must hold floats of shape {_SHAPES[0]}, and holds {dtype} of shape {tuple(shape)}")


def encode_mask_prompt(mask: LowResMask) -> str:
    return base64.b64encode(mask.content).decode("ascii")


def _from_png(content: bytes) -> Any:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != (LOW_RES_SIDE, LOW_RES_SIDE) or image.mode not in ("1", "L"):
                raise ValueError(
                    f"must be a grayscale PNG of {LOW_RES_SIDE}x{LOW_RES_SIDE} pixels, "
                    f"and is {image.mode} of {image.width}x{image.height}"
                )
            shares = np.asarray(image.convert("L"), np.float32) / 255
    except (OSError, SyntaxError) as error:  # raised by Pillow for a broken PNG
        raise ValueError(f"is a PNG that cannot be read: {error}") from error
    return LOGIT_OF_WHITE * (2 * shares - 1)


def _from_npy(content: bytes) -> Any:
    file = io.BytesIO(content)
    try:
        # The header is checked first: np.load allocates as much memory as the header claims.
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(file)
        check_logits(shape, dtype)
        file.seek(0)
        array = np.load(file, allow_pickle=False)
    except Exception as error:  # for a broken header, numpy may raise any built-in exception
        reason = str(error)[:MAX_REASON_CHARACTERS]
        raise ValueError(f"is an .npy file that cannot be used: {reason}") from error
    logits = array.reshape(_SHAPES[0]).astype(np.float32)
    if not np.isfinite(logits).all():
        raise ValueError("is an .npy file with values that are not finite")
    return logits
