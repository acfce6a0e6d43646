"""TIFF: how the samples of a page are stored and what they stand for, and which kinds are not decoded."""

from collections.abc import Mapping
from dataclasses import dataclass

from sampoll.inputs.image_files import tiff_directory as tags
from sampoll.inputs.image_files.header import BadStructure
from sampoll.inputs.image_files.tiff_directory import Directory

NONE, _LZW, _DEFLATE, _PACK_BITS, _OLD_DEFLATE, _LZMA, _ZSTD = 1, 5, 8, 32773, 32946, 34925, 50000
_PREDICTING = (_LZW, _DEFLATE, _OLD_DEFLATE, _LZMA, _ZSTD)
_FAX, JPEG = (2, 3, 4), (6, 7)
_COMPRESSIONS = (NONE, _PACK_BITS, *_PREDICTING, *_FAX, *JPEG)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS: Mapping[int, int] = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    CMYK: 4,
    YCBCR: 3,
    LAB: 3,
}
_UNSIGNED = (1, 4)
"""Formats of samples; 4 is one that the writer does not know."""
_OTHER_FORMATS: Mapping[int, str] = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
MAX_BITS, MAX_SAMPLES = 16, 8
_NO_PREDICTOR, _DIFFERENCES = 1, 2
_CMYK_INKS = 1
_PREMULTIPLIED = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """The samples of a page. All have the same number of bits. The first ones of a pixel are its colours,
    whose meaning is the photometric interpretation; the others are alpha, or unknown."""

    photometric: int
    bits: int
    samples: int
    compression: int
    has_differences: bool
    is_premultiplied: bool

    @property
    def colours(self) -> int:
        return _COLOURS[self.photometric]

    @property
    def is_of_bytes(self) -> bool:
        """Whether decompression gives bytes of samples. Fax and JPEG give pixels."""
        return self.compression not in (*_FAX, *JPEG)


def check(content: bytes) -> None:
    """Refuses pixels of a kind that is not decoded here."""
    page, _ = tags.pages(content)
    kind_of(page)


def kind_of(page: Directory) -> Kind:
    """The kind of a page; BadStructure says why it is not decoded."""
    compression, all_bits = page.first(tags.COMPRESSION, NONE), page.values(tags.BITS)
    samples = page.first(tags.SAMPLES, max(1, len(all_bits)))
    photometric = page.first(tags.PHOTOMETRIC, _usual_photometric(compression, samples))
    _check_meaning(page, compression, photometric)
    _check_samples(page, samples, photometric, is_jpeg=compression in JPEG)
    bits = _bits_of(page, all_bits[:samples], 8 if compression in JPEG else 1)
    if compression in _FAX and (bits, samples) != (1, 1):
        raise BadStructure(f"has fax compression with {samples} channels of {bits} bits: save it with LZW")
    predictor = page.first(tags.PREDICTOR, _NO_PREDICTOR) if compression in _PREDICTING else _NO_PREDICTOR
    if predictor != _NO_PREDICTOR and (predictor != _DIFFERENCES or bits not in (8, 16)):
        raise BadStructure(f"has the TIFF predictor {predictor} with {bits} bits: save it again")
    has_alpha = samples > _COLOURS[photometric] and photometric in (BLACK_IS_ZERO, RGB)
    return Kind(
        photometric,
        bits,
        samples,
        compression,
        has_differences=predictor == _DIFFERENCES,
        is_premultiplied=has_alpha and page.first(tags.EXTRA_SAMPLES, 0) == _PREMULTIPLIED,
    )


def _usual_photometric(compression: int, samples: int) -> int:
    """What a page without this tag is, which must have it."""
    if samples >= _COLOURS[RGB]:
        return RGB
    return WHITE_IS_ZERO if compression in _FAX else BLACK_IS_ZERO


def _check_meaning(page: Directory, compression: int, photometric: int) -> None:
    if compression not in _COMPRESSIONS:
        raise BadStructure(
            f"has the TIFF compression {compression}, which is not read here: save it with LZW or Deflate"
        )
    if photometric not in _COLOURS:
        raise BadStructure(
            f"has the TIFF photometric interpretation {photometric}, which is not read here: save it as RGB"
        )
    if compression in JPEG and photometric in (PALETTE, LAB):
        raise BadStructure("has a palette or Lab colours with JPEG compression: save it as RGB")
    if photometric == CMYK and page.first(tags.INK_SET, _CMYK_INKS) != _CMYK_INKS:
        raise BadStructure("has inks other than CMYK: save it as RGB")
    # Without the tag it should be (2, 2); such files are written by programs that know no subsampling.
    is_subsampled = any(step != 1 for step in page.values(tags.SUBSAMPLING))
    if photometric == YCBCR and compression not in JPEG and is_subsampled:
        raise BadStructure("has subsampled YCbCr colours without JPEG compression: save it as RGB")


def _check_samples(page: Directory, samples: int, photometric: int, *, is_jpeg: bool) -> None:
    colours = _COLOURS[photometric]
    if samples < colours and not (is_jpeg and samples == 1):  # old files leave the number out
        raise BadStructure(f"is damaged: its colours need {colours} channels, and it has {samples}")
    if colours == 1 and samples > 2:  # a second one is alpha
        raise BadStructure(f"has {samples} channels of gray: save three of them as RGB, or one as gray")
    if samples > MAX_SAMPLES:
        raise BadStructure(f"has {samples} channels, more than {MAX_SAMPLES}: save three of them as RGB")


def _bits_of(page: Directory, bits: tuple[int, ...], default: int) -> int:
    kinds = set(bits) or {default}
    formats = sorted(set(page.values(tags.SAMPLE_FORMAT)) - set(_UNSIGNED))
    if formats or max(kinds) > MAX_BITS:
        what = f"{_OTHER_FORMATS.get(formats[0], 'unknown')} samples" if formats else "samples"
        raise BadStructure(f"has {what} of {max(kinds)} bits: convert it to unsigned 8 or 16 bits first")
    if len(kinds) > 1 or min(kinds) < 1:
        listed = ", ".join(map(str, bits))
        raise BadStructure(f"has channels of {listed} bits: convert it to 8 or 16 bits first")
    return kinds.pop()
