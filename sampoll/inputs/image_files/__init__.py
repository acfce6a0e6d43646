"""Looks at the structure of image files before a decoder does: what decoding will cost is known before it is
spent, and damage is found that decoders pass over."""

from dataclasses import dataclass

from sampoll.inputs.image_files import bmp, jpeg, png, tiff, tiff_kind, webp
from sampoll.inputs.image_files.header import BadStructure, Header

__all__ = [
    "SUFFIXES",
    "BadStructure",
    "Checked",
    "Header",
    "check_kind",
    "checked",
    "header_of",
    "suffix_of",
]

_TIFF, _WEBP = ".tif", ".webp"
_SIGNATURES = {
    ".jpg": (jpeg.SIGNATURE,),
    ".png": (png.SIGNATURE,),
    _TIFF: tiff.SIGNATURES,
    ".bmp": (bmp.SIGNATURE,),
}
SUFFIXES = (*_SIGNATURES, _WEBP)
"""Those that `suffix_of` returns."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that a decoder may see, and its number of pages; 0 if its decoder has to say it."""

    content: bytes
    pages: int = 0


def suffix_of(content: bytes) -> str:
    """The suffix for an image file of one of the known formats."""
    found = (suffix for suffix, signatures in _SIGNATURES.items() if content.startswith(tuple(signatures)))
    return next(found, _WEBP)


def header_of(content: bytes) -> Header | None:
    """The header of an image file, from few of its bytes; None if it has none of the known formats. Raises
    BadStructure only for a header that cannot be true."""
    if content.startswith(jpeg.SIGNATURE):
        return jpeg.header_of(content)
    if content.startswith(png.SIGNATURE):
        return png.header_of(content)
    if content.startswith(tiff.SIGNATURES):
        return tiff.header_of(content)
    if webp.is_webp(content):
        return webp.header_of(content)
    if content.startswith(bmp.SIGNATURE):
        return bmp.header_of(content)
    return None


def checked(content: bytes) -> Checked:
    """The file, once its structure was found to be whole and within bounds; raises BadStructure."""
    if content.startswith(jpeg.SIGNATURE):
        jpeg.check(content)
    elif content.startswith(png.SIGNATURE):
        return Checked(*png.checked(content))
    elif content.startswith(tiff.SIGNATURES):
        tiff.header_of(content)  # refuses tiles that are larger than the image
        return Checked(content, tiff.check(content))
    elif webp.is_webp(content):
        return Checked(content, webp.check(content))
    elif content.startswith(bmp.SIGNATURE):
        bmp.check(content)
    return Checked(content)


def check_kind(content: bytes) -> None:
    """Refuses a file whose structure is whole, and whose pixels are of a kind that is not decoded here."""
    if content.startswith(jpeg.SIGNATURE):
        jpeg.check_kind(content)
    elif content.startswith(tiff.SIGNATURES):
        tiff_kind.check(content)
    elif content.startswith(bmp.SIGNATURE):
        bmp.check_kind(content)
