"""Images that a program gives as arguments: a path, the content of a file, an array or an image of Pillow."""

import hashlib
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.errors import BadImage
from sampoll.core.filenames import publishable, split_name
from sampoll.core.jobs import RgbImage
from sampoll.files.given_path import path_of
from sampoll.inputs.decode import check_size
from sampoll.inputs.discovery import read_image
from sampoll.inputs.image_files.exif import ORIENTATION, UPRIGHT, upright
from sampoll.inputs.image_files.rgb import rgb_of
from sampoll.inputs.options import DecodingOptions

ImageArgument: TypeAlias = (
    NDArray[np.uint8] | str | PathLike[str] | PathLike[bytes] | bytes | bytearray | memoryview | Image.Image
)
"""An array of shape (H, W, 3), RGB, or (H, W), gray, uint8; the path of a file, its content, or an image of
Pillow."""
_WIDE_MODES = ("I", "F")
"""Of Pillow, with 32 bits: no range is known in which they lie, and Pillow cuts them to 0..255."""
ARGUMENT = "image"
"""What messages call an image that is no file; its results are called so too."""


@dataclass(frozen=True)
class GivenImage:
    """An image as it was given: the content of a file, or pixels. `name` is that of its results, `shown` that
    of messages, and `path` is the file's, if it came from one."""

    name: str
    shown: str
    sha256: str
    content: bytes = field(default=b"", repr=False)
    pixels: RgbImage | None = field(default=None, repr=False, compare=False)
    path: Path | None = None

    @property
    def file(self) -> str:
        """The name of its file, "" if it came from none."""
        return "" if self.path is None else self.path.name

    @property
    def bytes(self) -> int:
        return len(self.content) if self.pixels is None else self.pixels.nbytes


def given_image(image: ImageArgument, options: DecodingOptions) -> GivenImage:
    """The image that an argument is; it no longer depends on the argument, which may change. BadImage for
    what is none; files are decoded later."""
    if isinstance(image, str | PathLike):
        path = _path(image)
        content = read_image(path, options.limits.max_image_bytes)
        name = publishable(split_name(path.name)[0])
        # Absolute, because the program may go to another directory before the file is read again.
        return GivenImage(name, str(path), hashlib.sha256(content).hexdigest(), content, path=path.absolute())
    if isinstance(image, bytes | bytearray | memoryview):
        content = bytes(image)
        return GivenImage(ARGUMENT, ARGUMENT, hashlib.sha256(content).hexdigest(), content)
    pixels = _of_pillow(image, options) if isinstance(image, Image.Image) else _of_array(image, options)
    return GivenImage(ARGUMENT, ARGUMENT, _digest(pixels), pixels=pixels)


def _path(image: str | PathLike[str] | PathLike[bytes]) -> Path:
    try:
        return path_of(image)
    except ValueError as error:
        raise BadImage(str(error), file=ARGUMENT) from error


def _of_pillow(image: Image.Image, options: DecodingOptions) -> RgbImage:
    """The pixels as those of a file: upright if the settings say so, without alpha, 8 bits a channel."""
    check_size((image.height, image.width), options.limits.max_pixels, ARGUMENT)
    if reason := _refusal_of_pillow(image):
        raise BadImage(reason, file=ARGUMENT)
    try:
        # Pillow converts premultiplied gray to nothing else.
        pixels = rgb_of(image.convert("LA") if image.mode == "La" else image)
        orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception as error:  # Pillow may decode the file only now, and raise anything
        raise BadImage(f"cannot be decoded: {error}", file=ARGUMENT) from error
    return upright(pixels, orientation if options.exif == "apply" else UPRIGHT)


def _refusal_of_pillow(image: Image.Image) -> str:
    """Why an image of Pillow is not taken; "" if it is. Files with such samples are refused too."""
    if not (image.width and image.height):
        return f"must have pixels, and is {image.width}x{image.height}"
    if image.mode in _WIDE_MODES:
        return f"must have 8 or 16 bits a channel, without sign, and has 32: its mode is {image.mode}"
    return ""


def _of_array(image: Any, options: DecodingOptions) -> RgbImage:
    """A copy of an array: the caller may write the next image into it."""
    if not isinstance(image, np.ndarray):
        raise BadImage(
            f"must be an array, a path, bytes or an image of Pillow, and is {type(image).__name__}",
            file=ARGUMENT,
        )
    image = np.asarray(image)  # subclasses, such as np.matrix, have other rules for their shapes
    if reason := _refusal(image):
        raise BadImage(f"{reason}, and is {image.dtype} of shape {image.shape}", file=ARGUMENT)
    check_size(image.shape[:2], options.limits.max_pixels, ARGUMENT)
    if image.ndim == 2:
        return np.repeat(image[:, :, np.newaxis], 3, axis=2)
    return np.array(image, order="C")


def _refusal(image: NDArray[Any]) -> str:
    """What an array must be that is not taken; "" if it is."""
    if image.dtype != np.uint8:
        return "must be of uint8, 0 to 255"
    if image.ndim == 3 and image.shape[2] == 4:
        return "must be RGB without alpha: image[:, :, :3]"
    if image.ndim != 2 and image.shape[2:] != (3,):
        return "must have the shape (H, W, 3), RGB, or (H, W), gray"
    return "" if image.size else "must have pixels"


def _digest(pixels: RgbImage) -> str:
    """The SHA-256 of pixels, with their size, as of a PPM file with them."""
    height, width, _ = pixels.shape
    digest = hashlib.sha256(b"P6\n%d %d\n255\n" % (width, height))
    digest.update(pixels.data)
    return digest.hexdigest()
