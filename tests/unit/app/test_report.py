"""What a report draws, counts and keeps, without a browser."""

import io
import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.images import encoded

from sampoll.app.report import writing
from sampoll.app.report.entries import result_of, retry_command
from sampoll.app.report.totals import MAX_LABELS, OTHER_LABELS, Totals
from sampoll.app.report.writing import write_report
from sampoll.config.settings import Settings
from sampoll.core.errors import OutputUnavailable
from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import BoolMask, Mask, ModelInfo, Segmentation
from sampoll.files.files import sha256_of
from sampoll.formats.opex import Opex
from sampoll.formats.overlay import colour_of

HEIGHT, WIDTH, GRAY = 60, 80, 200
SETTINGS = Settings()


def filled(left: int, top: int, right: int, bottom: int) -> BoolMask:
    pixels = np.zeros((HEIGHT, WIDTH), np.bool_)
    pixels[top:bottom, left:right] = True
    return pixels


LEFT, RIGHT = filled(0, 20, 30, 60), filled(50, 20, 80, 60)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    output = tmp_path / "out"
    output.mkdir()
    return output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    images = tmp_path / "in/done"
    images.mkdir(parents=True)
    return images


def put_result(
    output: Path, images: Path, name: str = "cat", *, masks: tuple[BoolMask, ...] = (LEFT, RIGHT), **meta: str
) -> None:
    """A result with one prompt that has these masks, and its image."""
    image = images / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(encoded(np.full((HEIGHT, WIDTH, 3), GRAY, np.uint8), "PNG"))
    segmentation = Segmentation(
        "job",
        name,
        (Prompt(box=Box(0, 0, 9, 9), label="paw"),),
        (tuple(Mask.from_array(pixels, 0.5 + 0.1 * number) for number, pixels in enumerate(masks)),),
        ModelInfo("m"),
        (HEIGHT, WIDTH),
        sha256_of(image),
        {"embedding": 0.5},
        image_file=image.name,
    )
    [artifact] = Opex(more_meta=lambda _: meta).render(segmentation, [])
    place = output / f"{name}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(artifact.content)


def settings_for(images: Path) -> Settings:
    spool = SETTINGS.spool.model_copy(update={"input": images.parent})
    return SETTINGS.model_copy(update={"spool": spool})


def report_on(
    output: Path, settings: Settings = SETTINGS, images: Path | None = None, pictures: int = 100
) -> str:
    """The text of the first page."""
    write_report(output, settings, images, max_pictures=pictures, show_progress=False)
    return (output / "report.html").read_text()


def pictures_in(page: str) -> list[str]:
    return re.findall(r'<img src="([^"]+)"', page)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return np.asarray(image).astype(int)


def test_all_masks_of_a_prompt_are_drawn_over_the_image_where_it_still_is(output: Path, images: Path) -> None:
    put_result(output, images)

    [picture] = pictures_in(report_on(output, settings_for(images)))

    drawn = pixels_of(output / picture)
    assert abs(drawn[50, 40] - GRAY).max() < 12
    for column, number in ((15, 0), (65, 1)):
        assert np.argmin(drawn[50, column]) == np.argmin(colour_of(number))
        assert np.ptp(drawn[50, column]) > 40


def test_images_are_found_where_they_have_moved_also_through_links(
    output: Path, images: Path, tmp_path: Path
) -> None:
    put_result(output, images, "sub/cat")
    (tmp_path / "moved").mkdir()
    images.rename(tmp_path / "elsewhere")
    (tmp_path / "moved/sub").symlink_to(tmp_path / "elsewhere/sub")

    page = report_on(output, settings_for(images), tmp_path / "moved")

    assert "without the image" not in page
    assert abs(pixels_of(output / pictures_in(page)[0])[50, 40] - GRAY).max() < 12


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: image.unlink(), "cat.png: was not found"),
        (
            lambda image: image.write_bytes(image.read_bytes() + b"x"),
            "cat.png: has another content than it had",
        ),
        (lambda image: image.rename(image.with_name("dog.png")), "cat.png: was not found"),
    ],
)
def test_masks_are_drawn_alone_if_their_image_is_not_there(
    output: Path, images: Path, change: object, reason: str
) -> None:
    put_result(output, images)
    change(images / "cat.png")  # type: ignore[operator]

    page = report_on(output, settings_for(images))

    assert f"drawn without the image: {reason}" in page
    drawn = pixels_of(output / pictures_in(page)[0])
    assert np.ptp(drawn[50, 40]) < 12
    assert drawn[50, 40].max() < 100
    assert np.ptp(drawn[50, 15]) > 40


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "x/../../../secret.png", "a\0b", "x" * 5000]
)
def test_a_record_leads_to_no_file_outside_the_folders_of_images(
    output: Path, images: Path, tmp_path: Path, path: str
) -> None:
    put_result(output, images, image_path=path)
    (images / "cat.png").rename(tmp_path / "secret.png")

    assert "was not found" in report_on(output, settings_for(images))


def test_a_report_replaces_its_own_files_removes_the_outdated_and_keeps_all_others(
    output: Path, images: Path
) -> None:
    put_result(output, images, "cat")
    put_result(output, images, "dog")
    first = set(pictures_in(report_on(output, settings_for(images))))
    (output / "report/notes.txt").write_text("mine")
    kept_inode = {path: (output / path).stat().st_ino for path in first}

    (output / "dog.json").unlink()
    [picture] = pictures_in(report_on(output, settings_for(images)))

    [gone] = first - {picture}
    assert not (output / gone).exists()
    assert (output / picture).stat().st_ino == kept_inode[picture]  # not drawn anew
    assert (output / "report/notes.txt").read_text() == "mine"
    assert not list(output.glob(".sampoll*new*"))


@pytest.mark.parametrize("path", ["report.html", "report/report.css", "report/2.html", "report"])
def test_nothing_that_is_not_of_a_report_is_replaced(
    output: Path, images: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(writing, "PER_PAGE", 1)
    put_result(output, images, "cat")
    put_result(output, images, "dog")
    (output / path).parent.mkdir(exist_ok=True)
    (output / path).write_text("mine")
    before = sorted(output.rglob("*"))

    with pytest.raises(OutputUnavailable):
        report_on(output)

    assert (output / path).read_text() == "mine"
    assert sorted(output.rglob("*")) == before


def test_an_edited_page_is_not_replaced(output: Path) -> None:
    report_on(output)
    (output / "report.html").write_text("edited")

    with pytest.raises(
        OutputUnavailable, match=r"report\.html was not written by sampoll, or was changed since"
    ):
        report_on(output)

    assert (output / "report.html").read_text() == "edited"


def test_pages_that_are_not_needed_any_more_go(
    output: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PER_PAGE", 2)
    for number in range(5):
        put_result(output, images, f"image {number}")
    page = report_on(output)
    assert 'href="report/2.html"' in page
    assert 'href="report/3.html"' in page
    assert [len(pictures_in((output / name).read_text())) for name in ("report/2.html", "report/3.html")] == [
        2,
        1,
    ]
    assert all(
        picture.startswith("../report/pictures/")
        for picture in pictures_in((output / "report/2.html").read_text())
    )

    for number in range(1, 5):
        (output / f"image {number}.json").unlink()
    report_on(output)

    assert sorted(path.name for path in (output / "report").iterdir()) == [
        "data",
        "pictures",
        "report.css",
        "report.js",
    ]
    assert [path.name for path in (output / "report/data").iterdir()] == ["1.js"]


def test_no_more_pictures_are_drawn_than_are_wanted_and_the_page_says_so(output: Path, images: Path) -> None:
    for number in range(5):
        put_result(output, images, f"image {number}")

    page = report_on(output, settings_for(images), pictures=2)

    assert len(pictures_in(page)) == 2
    assert "3 pictures were not drawn" in page


def test_a_larger_image_than_is_allowed_is_not_drawn(output: Path, images: Path) -> None:
    put_result(output, images)
    limits = SETTINGS.limits.model_copy(update={"max_pixels": HEIGHT * WIDTH - 1})
    settings = settings_for(images).model_copy(update={"limits": limits})

    page = report_on(output, settings)

    assert pictures_in(page) == []
    assert f"not drawn: it has more than {HEIGHT * WIDTH - 1} pixels (--max-pixels)" in page


def put_failed(directory: Path, name: str, code: str, image: bytes) -> None:
    failed = directory / "failed"
    failed.mkdir(exist_ok=True)
    (failed / f"{name}.png").write_bytes(image)
    (failed / f"{name}.json").write_text("{}")
    failure = {"code": code, "message": "no", "at": "2026-01-01T00:00:00.000+00:00", "sha256": {}}
    report = {
        "error": failure,
        "name": name,
        "files": [f"{name}.json", f"{name}.png"],
        "folder": "",
        "job_id": "0" * 32,
        "attempts": 1,
        "earlier_errors": [],
        "sampoll": "0.1.0",
    }
    (failed / f"{name}.error.json").write_text(json.dumps(report))


PNG = encoded(np.full((HEIGHT, WIDTH, 3), GRAY, np.uint8), "PNG")


def test_a_failed_pair_shows_its_image_unless_it_may_have_ended_a_run(output: Path, images: Path) -> None:
    put_failed(images.parent, "bad", "bad-prompt", PNG)
    put_failed(images.parent, "killer", "crashed-repeatedly", PNG[:-1])

    page = report_on(output, settings_for(images))

    [picture] = pictures_in(page)
    assert abs(pixels_of(output / picture) - GRAY).max() < 12
    assert "its image is not opened" in page


def test_a_link_in_the_place_of_a_failed_image_is_not_followed(
    output: Path, images: Path, tmp_path: Path
) -> None:
    put_failed(images.parent, "bad", "bad-prompt", PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (images.parent / "failed/bad.png").unlink()
    (images.parent / "failed/bad.png").symlink_to(tmp_path / "secret.png")

    assert pictures_in(report_on(output, settings_for(images))) == []


@pytest.mark.parametrize(
    "name", ["cat", "it's", "--all", "$(touch x) `y`", "line\nfeed", "\u202etxt", "é\\", "\udcff"]
)
def test_the_command_that_retries_is_one_line_that_a_shell_reads_as_meant(tmp_path: Path, name: str) -> None:
    command = retry_command(name, tmp_path)

    assert command.isprintable()
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True, cwd=tmp_path
    ).stdout
    words = [os.fsdecode(word) for word in shown.split(b"\0")[:-1]]
    assert words == ["sampoll", "failed", "retry", "--input", str(tmp_path), "--", name]
    assert shlex.split(command)[:3] == ["sampoll", "failed", "retry"]


def test_areas_and_boxes_of_masks_are_those_of_their_pixels(output: Path, images: Path) -> None:
    both = LEFT | RIGHT
    put_result(output, images, masks=(LEFT, both, filled(0, 0, 0, 0)))

    result = result_of((output / "cat.json").read_bytes(), "cat")

    assert [mask.area for mask in result.masks] == [1200, 2400, 0]
    assert [mask.box for mask in result.masks] == [(0, 20, 29, 59), (0, 20, 79, 59), None]
    assert [mask.label for mask in result.masks] == ["paw"] * 3


def test_labels_are_counted_one_by_one_up_to_a_limit(output: Path, images: Path) -> None:
    put_result(output, images)
    result = result_of((output / "cat.json").read_bytes(), "cat")
    totals = Totals()
    for number in range(MAX_LABELS + 5):
        totals.add(replace(result, masks=[replace(result.masks[0], label=str(number))]))

    assert len(totals.labels()) == MAX_LABELS + 1
    assert (totals.labels()[0].label, totals.labels()[0].masks) == (OTHER_LABELS, 5)


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [9, 9], "counts": "i2"},
        {"size": [HEIGHT, WIDTH], "counts": "~"},
        {"size": [10**9, 10**9], "counts": "i2"},
    ],
)
def test_a_record_whose_masks_do_not_fit_is_left_out(
    output: Path, images: Path, rle: dict[str, object]
) -> None:
    put_result(output, images, masks=(LEFT,), rle=json.dumps([[rle]]))

    exit_code, summary = write_report(output, SETTINGS, None, max_pictures=9, show_progress=False)

    assert exit_code == 1
    assert summary.line.endswith("0 results, 1 record that cannot be read")
