import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support.outside import ODD, Outside, segmentation

from sampoll.monitoring.pictures import KEPT, Pictures
from sampoll.monitoring.thumbnails import KEPT_CAPTIONS, SIDE, Thumbnails


def test_thumbnails_are_small_few_and_not_drawn_too_often(pass_seconds: Callable[[float], None]) -> None:
    pictures = Pictures()
    thumbnails = Thumbnails(pictures.keep)
    for number in range(KEPT + 3):
        assert thumbnails.render(segmentation(f"picture {number}"), ()) == []
        thumbnails.render(segmentation("too soon"), ())
        pass_seconds(1)

    kept = pictures.kept()

    assert [thumbnail.name for thumbnail in kept[:2]] == [f"picture {KEPT + 2}", f"picture {KEPT + 1}"]
    assert len(kept) == KEPT
    assert all(len(thumbnail.small) < SIDE * SIDE for thumbnail in kept)
    assert thumbnails.suffixes(segmentation()) == []


def test_the_sides_of_both_pictures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 3000), "white").save(buffer, "JPEG")
    pictures = Pictures()
    thumbnails = Thumbnails(pictures.keep)

    large_image = replace(segmentation(), image=buffer.getvalue(), size=(3000, 4000), prompts=(), masks=())
    thumbnails.render(large_image, ())

    [kept] = pictures.kept()
    assert Image.open(io.BytesIO(kept.small)).size == (SIDE, SIDE * 3 // 4)
    assert Image.open(io.BytesIO(kept.large)).size == (1024, 768)
    assert kept.size == (3000, 4000)


def test_a_picture_says_what_its_first_masks_are(monkeypatch: pytest.MonkeyPatch) -> None:
    one = segmentation(label="a cat\n")
    many = replace(one, prompts=one.prompts * 50, masks=one.masks * 50)
    pictures = Pictures()
    thumbnails = Thumbnails(pictures.keep)

    thumbnails.render(many, ())

    [kept] = pictures.kept()
    assert kept.captions == ["a cat\\n 0.50"] * KEPT_CAPTIONS
    assert kept.masks == 50


def test_a_thumbnail_that_cannot_be_drawn_is_left_out() -> None:
    pictures = Pictures()
    thumbnails = Thumbnails(pictures.keep)

    assert thumbnails.render(replace(segmentation(), image=b"no image"), ()) == []
    assert pictures.kept() == []


def test_thumbnails_are_shown_only_if_they_were_requested(tmp_path: Path, outside: Outside) -> None:
    outside.draws("a")
    for path in ("/pictures/1.jpg", "/pictures/1-small.jpg"):
        status, headers, jpeg = outside.get(path)
        assert (status, headers["Content-Type"], jpeg[:2]) == (200, "image/jpeg", b"\xff\xd8")
    without = Outside(tmp_path)
    for path in ("/pictures/1", "/pictures/1.jpg", "/pictures/1-small.jpg"):
        assert without.get(path)[0] == 404
    assert "The last masks" not in without.page()


def test_a_picture_has_a_page_that_leads_to_those_next_to_it(
    outside: Outside, pass_seconds: Callable[[float], None]
) -> None:
    for name in ("first", ODD, "third"):
        pass_seconds(1)
        outside.draws(name)

    page = outside.page("/pictures/2")

    assert '<img src="2.jpg"' in page
    assert '<a href="3" rel="prev">newer</a>' in page
    assert '<a href="1" rel="next">older</a>' in page
    assert "object 0.50" in page
    assert "32 x 24 pixels" in page
    assert "<script>alert" not in page
    assert "the oldest that is kept" in outside.page("/pictures/1")
    assert "the newest" in outside.page("/pictures/3")


@pytest.mark.parametrize("number", ["0", "2", "999999999999"])
def test_a_picture_that_is_not_kept_says_so(outside: Outside, number: str) -> None:
    outside.draws("a")

    status, headers, page = outside.get(f"/pictures/{number}")

    assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"This picture is not kept" in page
    assert outside.get(f"/pictures/{number}.jpg")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/",
        "/pictures/1.png",
        "/pictures/../status.css",
        "/pictures/1/../1",
        "/pictures/\u0661",
        "/pictures/-1",
    ],
)
def test_only_numbers_name_pictures(outside: Outside, path: str) -> None:
    outside.draws("a")
    assert outside.get(path)[0] == 404
