"""Files that are damaged, or that would cost far more than their pixels: refused soon, with a reason."""

import io
import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.images import encoded, image_of

from sampoll.core.errors import BadImage
from sampoll.inputs.decode import decode_image, image_size, inspect_image
from sampoll.inputs.image_files import BadStructure, checked, header_of
from sampoll.inputs.image_files.jpeg import MAX_SCANS
from sampoll.inputs.image_files.png import has_all_pixels

PHOTOGRAPH = cv2.GaussianBlur(image_of(80, 64), (0, 0), 2)


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTOGRAPH).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def with_segments(content: bytes, *segments: bytes) -> bytes:
    return content[:2] + b"".join(segments) + content[2:]


def of_height(content: bytes, height: int) -> bytes:
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">H", height) + content[at + 2 :]


def with_bits(content: bytes, bits: int) -> bytes:
    at = content.index(b"\xff\xc0") + 4
    return content[:at] + bytes([bits]) + content[at + 1 :]


def with_marker(content: bytes, marker: int) -> bytes:
    at = content.index(b"\xff\xc0") + 1
    return content[:at] + bytes([marker]) + content[at + 1 :]


def with_scans(content: bytes, number: int) -> bytes:
    """The last scan of a progressive JPEG again and again."""
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * number + content[-2:]


def webp_of_chunks(number: int) -> bytes:
    content = b"WEBP" + encoded(image_of(8, 8), "WEBP")[12:] + b"teSt\0\0\0\0" * number
    return b"RIFF" + struct.pack("<I", len(content)) + content


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    return png[:33] + b"".join(chunks) + png[33:]  # behind IHDR


PNG = encoded(PHOTOGRAPH, "PNG")
BASELINE, PROGRESSIVE = jpeg(), jpeg(progressive=True)


def directory(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A directory of a TIFF; entries are tag, type, count, and value or place."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def gray_tiff(
    *more: tuple[int, int, int, int], width: int = 2, height: int = 2, behind: bytes = b""
) -> bytes:
    """A gray TIFF whose only strip begins in `behind`."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, width * height)}
    tags |= {tag: rest for tag, *rest in more}  # type: ignore[misc]
    place = 8 + 2 + 12 * (len(tags) + (273 not in tags)) + 4
    tags = {273: (4, 1, place), **tags}
    entries = [(tag, *rest) for tag, rest in sorted(tags.items())]
    return b"II*\0\x08\0\0\0" + directory(entries) + (behind or bytes(width * height))


def chained_tiff(pages: int, *, tags: int = 1, is_loop: bool = False) -> bytes:
    first = gray_tiff()
    size = len(directory([(256, 4, 1, 1)] * tags))
    places = [len(first) + size * number for number in range(pages - 1)]
    rest = [directory([(256, 4, 1, 1)] * tags, following) for following in [*places[1:], 8 if is_loop else 0]]
    at = 8 + struct.unpack_from("<H", first, 8)[0] * 12 + 2
    return first[:at] + struct.pack("<I", places[0]) + first[at + 4 :] + b"".join(rest)


def png_of_lines(lines: int, *, is_interlaced: bool = False, more: bytes = b"") -> bytes:
    """A gray PNG of 8 x 8 pixels whose compressed data end after so many lines, and what is behind them."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, is_interlaced)
    widths = [1, 1, 2, *[2] * 2, *[4] * 6, *[8] * 4] if is_interlaced else [8] * 8
    data = b"".join(b"\0" + bytes(width) for width in widths[:lines])
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data + more)) + chunk(b"IEND")


def bmp_of(width: int, bits: int, compression: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, 8, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + head + bytes(1024)


def run_length_bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 4, 0, 0, 256, 0)
    data = b"\1\1\0\0"
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + data


DAMAGED = {
    "jpeg of twice the height": of_height(BASELINE, 160),
    "jpeg of half the height": of_height(jpeg(quality=100), 40),
    "jpeg cut in the middle": BASELINE[: len(BASELINE) // 2],
    "jpeg without its end": BASELINE[:-2],
    "jpeg whose tail is zeros": BASELINE[:-300] + bytes(300),
    "jpeg with zeros inside": BASELINE[:-600] + bytes(100) + BASELINE[-500:],
    "jpeg with thousands of spare bytes": BASELINE[:-2] + bytes(5000) + BASELINE[-2:],
    "progressive jpeg whose tail is zeros": PROGRESSIVE[:-300] + bytes(300),
    "cmyk jpeg without its end": jpeg("CMYK")[:-2],
    "cmyk jpeg of twice the height": of_height(jpeg("CMYK"), 160),
    "png whose tail is zeros": PNG[:-200] + bytes(200),
    "png without its end": PNG[:-12],
    "png with another bit": PNG[:2000] + bytes([PNG[2000] ^ 1]) + PNG[2001:],
    "png with another size": PNG[:19] + b"\x41" + PNG[20:],
    "png cut in the middle": PNG[: len(PNG) // 2],
    "tiff cut in the middle": encoded(PHOTOGRAPH, "TIFF")[:2000],
    "webp cut in the middle": encoded(PHOTOGRAPH, "WEBP")[:500],
    "bmp cut in the middle": encoded(PHOTOGRAPH, "BMP")[:2000],
    "tiff whose directory is behind its end": b"II*\0\xff\xff\0\0" + bytes(100),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_image_is_refused(content: bytes) -> None:
    with pytest.raises(BadImage, match=r"a: (is truncated|is damaged|cannot be decoded: )"):
        decode_image(content, "a", 10**9)


@pytest.mark.parametrize(("is_interlaced", "lines"), [(False, 8), (True, 15)])
def test_a_png_whose_compressed_data_end_before_its_last_line_is_refused(
    is_interlaced: bool, lines: int
) -> None:
    assert decode_image(png_of_lines(99, is_interlaced=is_interlaced), "a", 100).shape == (8, 8, 3)
    for number in (1, lines - 1):
        with pytest.raises(BadImage, match="a: is truncated"):
            decode_image(png_of_lines(number, is_interlaced=is_interlaced), "a", 100)


def test_what_is_compressed_behind_the_last_line_of_a_png_takes_no_memory() -> None:
    content = png_of_lines(99, more=bytes(2**25))
    tracemalloc.start()

    found = has_all_pixels(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found
    assert most < 4 * 2**20


THUMBNAIL = segment(0xE1, b"Exif\0\0" + b"\xff\xda" * 100)
ODD_CHUNKS = [
    "acTL",
    "bKGD",
    "cHRM",
    "eXIf",
    "gAMA",
    "hIST",
    "iCCP",
    "iTXt",
    "pHYs",
    "sBIT",
    "sPLT",
    "sRGB",
    "tEXt",
    "tIME",
    "tRNS",
    "zTXt",
    "cICP",
    "caBX",
    "aBCd",
]
ODD_SEGMENTS = {
    f"{name[:9]} of {len(name) + more} bytes": segment(marker, name.encode() + bytes(range(99, 99 + more)))
    for marker, name in (
        (0xE1, "Exif\0\0"),
        (0xE1, "http://ns.adobe.com/xap/1.0/\0"),
        (0xE2, "ICC_PROFILE\0"),
        (0xE2, "MPF\0"),
        (0xED, "Photoshop 3.0\0"),
        (0xE0, "JFIF\0"),
        (0xEE, "Adobe"),
        (0xFE, ""),
    )
    for more in (0, 1, 5)
}
HARMLESS = {
    "bytes behind the end of a jpeg": BASELINE + bytes(5000),
    "another jpeg behind the end": BASELINE + with_scans(PROGRESSIVE, 40),
    "spare bytes before the end of a jpeg": BASELINE[:-2] + bytes(20) + BASELINE[-2:],
    "scans in a thumbnail": with_segments(BASELINE, THUMBNAIL),
    "a jpeg without jfif": BASELINE[:2] + BASELINE[20:],
    "many segments": with_segments(BASELINE, *[segment(0xE2, bytes(1000))] * 1000),
    "bytes behind the end of a png": PNG + b"more",
    "a png with a wrong checksum of a comment": with_chunks(PNG, chunk(b"tEXt", b"a\0b")[:-1] + b"x"),
    "a png with large text": with_chunks(PNG, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 * 10**6)))),
    "a png with a bomb for a profile": with_chunks(
        PNG, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**7)))
    ),
    **{f"a png with an odd {kind}": with_chunks(PNG, chunk(kind.encode(), b"odd")) for kind in ODD_CHUNKS},
    **{f"a jpeg with an odd {name!r}": with_segments(BASELINE, each) for name, each in ODD_SEGMENTS.items()},
    "a png with many small chunks": with_chunks(PNG, *[chunk(b"teSt")] * 5000),
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS.keys())
def test_an_odd_image_whose_pixels_are_whole_is_decoded(content: bytes) -> None:
    expected = decode_image(PNG if content.startswith(b"\x89PNG") else BASELINE, "a", 10**9)

    assert np.array_equal(decode_image(content, "a", 10**9), expected)
    assert image_size(content) == (80, 64)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_progressive_jpeg_has_as_many_scans_as_real_encoders_write(mode: str) -> None:
    content = jpeg(mode, progressive=True)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))

    assert 5 < content.count(b"\xff\xda") < MAX_SCANS
    assert np.array_equal(decode_image(content, "a", 10**9), expected)


BIG_TIFF = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**40) + bytes(10**6)
TILES = [(322, 4, 1, 30000), (323, 4, 1, 30000), (324, 4, 1, 8), (325, 4, 1, 9), (259, 3, 1, 8)]
EXIF = segment(0xE1, b"Exif\0\0" + bytes(60_000))
KINDS = {
    "bmp of 2 bits": (bmp_of(8, 2, 0), "is a BMP of 2 bits with compression 0, which is not read here"),
    "bmp that holds a jpeg": (bmp_of(8, 0, 4), "is a BMP of 0 bits with compression 4, which is not read"),
    "bmp of 1 bit with masks": (bmp_of(8, 1, 3), "is a BMP of 1 bits with compression 3"),
    "bmp of a negative width": (bmp_of(-8, 24, 0), "its header has no size"),
    "jpeg of 12 bits": (
        with_bits(BASELINE, 12),
        "is a JPEG of 12 bits, which is not read here: save it with 8",
    ),
    "lossless jpeg": (
        with_marker(BASELINE, 0xC3),
        "is a lossless or hierarchical JPEG, which is not read here",
    ),
    "hierarchical jpeg": (with_marker(BASELINE, 0xC5), "is a lossless or hierarchical JPEG"),
    "jpeg-ls": (
        with_marker(BASELINE, 0xF7),
        "is damaged, or of a kind that is not read here: its header has no",
    ),
    "png with a chunk that it depends on": (
        with_chunks(PNG, chunk(b"CgBI")),
        "has a chunk CgBI, which is not known here",
    ),
}


@pytest.mark.parametrize(("content", "message"), KINDS.values(), ids=KINDS.keys())
def test_a_kind_that_is_not_decoded_is_named(content: bytes, message: str) -> None:
    with pytest.raises(BadImage, match=message):
        inspect_image(content, "a", 10**9)


EXPENSIVE = {
    "scans": (with_scans(PROGRESSIVE, 100), "has more than 24 scans"),
    "scans before a thumbnail": (with_segments(with_scans(PROGRESSIVE, 20), THUMBNAIL), "more than 24 scans"),
    "segments": (with_segments(BASELINE, segment(0xFE, b"") * 10**6), "has more than 10000 segments"),
    "exif": (with_segments(BASELINE, *[EXIF] * 500), "has more than 16 segments of EXIF"),
    "chunks": (with_chunks(PNG, chunk(b"teSt") * 10**6), "has more than 200000 chunks"),
    "chunks of a webp": (webp_of_chunks(10**6), "has more than 10000 chunks"),
    "pages": (chained_tiff(100_000), "has more than 1000 pages: save each as an image of its own"),
    "tags of all pages": (
        chained_tiff(60, tags=2000),
        "has more than 100000 tags: save each page as an image",
    ),
    "a loop of pages": (chained_tiff(3, is_loop=True), "is damaged: its pages form a loop"),
    "strips": (gray_tiff((273, 4, 2 * 10**6, 200), behind=bytes(8 * 10**6)), "values of the tag 273"),
    "strips of bytes": (
        gray_tiff((273, 1, 2 * 10**6, 200), behind=bytes(2 * 10**6)),
        "values of the tag 273",
    ),
    "samples": (gray_tiff((258, 3, 2 * 10**6, 200), behind=bytes(4 * 10**6)), "values of the tag 258"),
    "tags": (BIG_TIFF, "tags, more than 4096"),
    "tiles": (gray_tiff(*TILES), "has tiles of 30000x30000 pixels, more than the image"),
    "scans in a tiff": (
        gray_tiff((259, 3, 1, 7), (279, 4, 1, 200), behind=b"\xff\xda" * 100),
        "has a JPEG of more than 24 scans",
    ),
    "strips in one place": (
        gray_tiff(
            (259, 3, 1, 7),
            (273, 4, 90_000, 200),
            (279, 4, 90_000, 400_000),
            behind=struct.pack("<90000I", *[200] * 90_000) * 2 + struct.pack("<90000I", *[500_000] * 90_000),
        ),
        "is damaged: its strips or tiles overlap",
    ),
    "run lengths": (run_length_bmp(10**8, 1), "is compressed, and has more than 16777216 pixels"),
}


@pytest.mark.parametrize(("content", "message"), EXPENSIVE.values(), ids=EXPENSIVE.keys())
def test_an_image_that_would_be_expensive_is_refused(content: bytes, message: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(BadImage, match=message):
        decode_image(content, "a", 10**9)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert image_size(content) is None
    assert time.process_time() - started < 3
    assert most < 3 * len(content) + 2**20


@pytest.mark.parametrize("default_image", [False, True])
def test_an_image_that_is_no_frame_of_its_animation_is_a_page(default_image: bool) -> None:
    pages = [Image.fromarray(image_of(8, 8, seed)) for seed in range(3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "PNG", save_all=True, append_images=pages[1:], default_image=default_image)

    with pytest.raises(BadImage, match="has 3 pages"):
        decode_image(buffer.getvalue(), "a", 10**9)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_pages_of_an_animation_are_counted_without_decoding_them(kind: str) -> None:
    pages = [Image.fromarray(image_of(8, 8, seed)) for seed in range(30)]
    buffer = io.BytesIO()
    pages[0].save(buffer, kind, save_all=True, append_images=pages[1:])

    with pytest.raises(BadImage, match="has 30 pages"):
        inspect_image(buffer.getvalue(), "a", 10**9)


def test_a_webp_that_is_cut_off_is_refused_without_decoding_it() -> None:
    with pytest.raises(BadImage, match="is truncated"):
        inspect_image(encoded(PHOTOGRAPH, "WEBP")[:-1], "a", 10**9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_header_gives_the_size_and_at_least_the_memory_of_the_pixels(kind: str, mode: str) -> None:
    content = encoded(np.asarray(Image.fromarray(image_of(40, 70)).convert(mode)), kind)

    header = header_of(content)

    assert header is not None
    assert (header.width, header.height) == (70, 40)
    assert header.decoding_bytes >= 3 * 40 * 70


def test_the_header_of_a_turned_or_lossless_image_is_the_one_that_is_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    for content in (
        encoded(image_of(40, 70), "TIFF", exif=exif),
        encoded(image_of(40, 70), "WEBP", lossless=True),
        encoded(image_of(40, 70), "WEBP", exif=exif),
    ):
        header = header_of(content)
        assert header is not None
        assert (header.width, header.height) == (70, 40)


def test_each_row_counts_however_narrow_the_image_is() -> None:
    tall, wide = (header_of(encoded(image_of(height, width))) for height, width in ((1000, 1), (1, 1000)))

    assert tall
    assert wide
    assert tall.decoding_bytes > wide.decoding_bytes


def test_a_progressive_jpeg_needs_memory_for_its_coefficients() -> None:
    baseline, progressive = header_of(BASELINE), header_of(PROGRESSIVE)

    assert baseline
    assert progressive
    assert progressive.decoding_bytes > baseline.decoding_bytes


STARTS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+", b"BM"]


@given(st.sampled_from([*STARTS, b"RIFF\0\0\0\0WEBP"]), st.binary(max_size=200))
def test_any_bytes_have_a_structure_or_are_refused(start: bytes, rest: bytes) -> None:
    content = start + rest
    for look in (header_of, checked):
        try:
            look(content)
        except BadStructure as error:
            assert str(error)  # noqa: PT017  either outcome is right


@pytest.mark.parametrize("is_last", [False, True])
def test_the_size_of_a_png_is_known_without_its_pixels(is_last: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 50_000, 8, 2, 0, 0, 0))
    parts = [chunk(b"IDAT", zlib.compress(b"")), turned]
    content = PNG[:8] + header + b"".join(parts if is_last else parts[::-1]) + chunk(b"IEND")
    started = time.process_time()

    assert image_size(content) == (60_000, 50_000)
    assert image_size(content, "ignore") == (50_000, 60_000)

    assert time.process_time() - started < 1


@pytest.mark.parametrize("is_last", [False, True])
def test_a_png_is_turned_as_its_exif_says_wherever_that_is(is_last: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    content = PNG[:-12] + turned + PNG[-12:] if is_last else with_chunks(PNG, turned)

    assert np.array_equal(decode_image(content, "a.png", 10**6), np.rot90(PHOTOGRAPH, -1))


@pytest.mark.parametrize("tag", [256, 257, 258, 277])
def test_no_header_of_a_tiff_is_negative(tag: int) -> None:
    content = gray_tiff((tag, 9, 1, 2**32 - 24))  # -24, of the type of signed numbers

    header = header_of(content)

    assert header is not None
    assert min(header.width, header.height, header.bytes_per_pixel, header.decoding_bytes) >= 0
    with pytest.raises(BadImage):
        decode_image(content, "a.tif", 10**6)
