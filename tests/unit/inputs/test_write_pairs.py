"""What is written of annotations: only pairs that can be run."""

import io
import tempfile
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from support.images import encoded, image_of, turned_image
from support.importing import IMAGE

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import JobError
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.inputs.check import Checked, check_prompts
from sampoll.inputs.importers.base import AnnotatedImage
from sampoll.inputs.importers.write_pairs import Imported, write_pairs
from sampoll.inputs.options import DecodingOptions

BOX = Prompt(box=Box(1, 1, 3, 3))


OUTSIDE = Prompt(box=Box(100, 1, 120, 3))


def written(tmp_path: Path, *images: AnnotatedImage, **options: Any) -> list[Imported | JobError]:
    """What becomes of the images; what is written is valid by the rules of a run."""
    made = DecodingOptions(**options)
    outcomes = list(write_pairs(images, tmp_path / "in", made, copies=False))
    pairs = [outcome for outcome in outcomes if isinstance(outcome, Imported) and outcome.prompts]
    checked = list(check_prompts([tmp_path / "in"], made)) if pairs else []
    assert all(isinstance(one, Checked) and one.image for one in checked)
    assert len(checked) == len(pairs)
    return outcomes


def photograph(tmp_path: Path, content: bytes = IMAGE) -> Path:
    path = tmp_path / "photograph.png"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name",
    ["~a.png", ".a.png", "done/a.png", "failed/b/a.png", "@eaDir/a.png", "b/.hidden/a.png", "b.jpg/a.png"],
)
def test_an_image_is_not_laid_where_no_run_looks(tmp_path: Path, name: str) -> None:
    [error] = written(tmp_path, AnnotatedImage(name, photograph(tmp_path), (BOX,)))

    assert str(error) == f"{name}: lies where no run looks, by its name or a folder's: rename that"
    assert not (tmp_path / "in").exists()


def test_a_prompt_outside_its_image_costs_only_itself(tmp_path: Path) -> None:
    point = Prompt(points=(Point(1, 1, 1), Point(1, 24, 1)))
    image = AnnotatedImage("a.png", photograph(tmp_path), (BOX, OUTSIDE, point), "c.json", ("x", "y", "z"))

    outcomes = written(tmp_path, image)

    assert [str(outcome) for outcome in outcomes[:-1]] == [
        "c.json: y: box: lies outside the image of 32x24 pixels",
        "c.json: z: points[1]: (1, 24) lies outside the image of 32x24 pixels",
    ]
    assert outcomes[-1] == Imported("a.png", 1)


def test_a_prompt_that_a_run_would_refuse_costs_only_itself(tmp_path: Path) -> None:
    many = Prompt(points=(Point(1, 1, 1),) * 11)
    image = AnnotatedImage("a.png", photograph(tmp_path), (many, Prompt(box=BOX.box, label="\ud800"), BOX))

    *errors, last = written(tmp_path, image, limits=LimitSettings(max_points_per_prompt=10))

    assert [str(error).split(": ")[:2] for error in errors] == [
        ["a.png", "prompts[0]"],
        ["a.png", "prompts[1]"],
    ]
    assert last == Imported("a.png", 1)


def test_an_image_without_a_valid_prompt_gets_no_pair(tmp_path: Path) -> None:
    path = photograph(tmp_path)

    outcomes = written(tmp_path, AnnotatedImage("a.png", path, (OUTSIDE,)), AnnotatedImage("b.png", path, ()))

    assert outcomes[1:] == [Imported("a.png", 0), Imported("b.png", 0)]
    assert not (tmp_path / "in").exists()


def test_an_image_of_another_size_than_the_data_set_states_is_passed_over(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    content = io.BytesIO()
    Image.fromarray(image_of()).save(content, "PNG", exif=turned)
    path = photograph(tmp_path, content.getvalue())
    stored, upright = (AnnotatedImage("a.png", path, (BOX,), size=size) for size in ((24, 32), (32, 24)))

    [error] = written(tmp_path, stored)

    assert str(error) == (
        "a.png: has 24x32 pixels, and 32x24 according to the data set; with --exif ignore it has that size"
    )
    assert written(tmp_path, upright) == [Imported("a.png", 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGE[:-12], "a.png: is truncated, or damaged: it has no IEND chunk"),
        (b"no image", "a.png: is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)"),
    ],
)
def test_an_image_that_a_run_would_refuse_is_passed_over(
    tmp_path: Path, content: bytes, message: str
) -> None:
    [error] = written(tmp_path, AnnotatedImage("a.png", photograph(tmp_path, content), (BOX,)))

    assert str(error) == message


CONTENTS = {
    "good.png": IMAGE,
    "good.jpg": encoded(image_of(40, 20), "JPEG"),
    "turned.jpg": turned_image(),
    "cut.png": IMAGE[:-12],
    "text.png": b"no image",
}


NAMES = (
    *("a.png", "a.jpg", "A.PNG", "b/a.png", "b\\a.png", "./a.png", "done/a.png", "b/done/a.png", "~a.png"),
    *(
        "a.json.png",
        "a.prompt",
        "é.png",
        "a\n.png",
        "x" * 251 + ".png",
        "b.png/a.png",
        "../a.png",
        "/a.png",
        "",
    ),
)


PLACES = st.floats(-20, 60, allow_nan=False)


BOXES = st.builds(
    lambda x, y, width, height: Box(x, y, x + width, y + height),
    *(PLACES, PLACES),
    *(st.floats(0.1, 30), st.floats(0.1, 30)),
)


PROMPTS = st.builds(
    Prompt,
    points=st.lists(st.builds(Point, PLACES, PLACES, st.just(1)), max_size=3).map(tuple),
    box=BOXES,
    label=st.text(min_size=1, max_size=3),
    id=st.none() | st.text(max_size=3),
)


IMAGES = st.builds(
    AnnotatedImage,
    name=st.sampled_from(NAMES),
    path=st.sampled_from(sorted(CONTENTS)).map(Path),
    prompts=st.lists(PROMPTS, max_size=4).map(tuple),
    size=st.none() | st.sampled_from([(24, 32), (32, 24), (40, 20)]),
)


@settings(deadline=None, max_examples=60)
@given(
    images=st.lists(IMAGES, max_size=4),
    limits=st.builds(LimitSettings, max_prompts=st.integers(1, 4), max_points=st.integers(1, 6)),
    exif=st.sampled_from(["apply", "ignore"]),
)
def test_no_pair_is_written_that_the_check_refuses(
    images: list[AnnotatedImage], limits: LimitSettings, exif: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in CONTENTS.items():
            Path(folder, name).write_bytes(content)
        placed = [replace(image, path=Path(folder, image.path)) for image in images]

        outcomes = written(Path(folder), *placed, limits=limits, exif=exif)

    # Each image is imported, or named, and so is each prompt that a pair lacks.
    errors = sum(isinstance(outcome, JobError) for outcome in outcomes)
    in_pairs = sum(outcome.prompts for outcome in outcomes if isinstance(outcome, Imported))
    assert len(outcomes) >= len(images)
    assert errors + in_pairs >= sum(len(image.prompts) > 0 for image in images)


@pytest.mark.parametrize("there", ["a.jpg", "a.JSON", "a.prompt", "a.png"])
def test_a_pair_is_not_made_beside_a_file_of_its_stem(tmp_path: Path, there: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / there).write_text("mine")

    [error] = write_pairs(
        [AnnotatedImage("a.png", photograph(tmp_path), (BOX,))],
        tmp_path / "in",
        DecodingOptions(),
        copies=True,
    )

    assert f"{tmp_path / 'in' / there} is there already" in str(error)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [there]


def test_a_name_that_the_input_cannot_have_costs_only_itself(tmp_path: Path) -> None:
    path = photograph(tmp_path)
    target = tmp_path / ("d" * 200) / "in"
    target.mkdir(parents=True)
    (target / "file").write_text("")
    names = [
        "a" * 251 + ".png",
        ("b" * 200 + "/") * 19 + "a.png",
        "c/" * 1900 + "a.png",
        "file/a.png",
        "a.png",
    ]
    images = [AnnotatedImage(name, path, (BOX,)) for name in names]

    *errors, last = write_pairs(images, target, DecodingOptions(), copies=True)

    assert [str(error).rpartition("a.png: ")[2] for error in errors[:3]] == [
        "has a name too long for that of its prompt file: shorten it",
        "cannot be written: File name too long",
        "must be a path that a file can have: it is too long, or has a NUL",
    ]
    assert "file is there already" in str(errors[3])
    assert last == Imported("a.png", 1)


@pytest.mark.parametrize(("stated", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_image_is_found_whose_accents_are_other_characters(
    tmp_path: Path, stated: Any, on_disk: Any
) -> None:
    (tmp_path / unicodedata.normalize(on_disk, "Käse.png")).write_bytes(IMAGE)
    name = unicodedata.normalize(stated, "Käse.png")

    assert written(tmp_path, AnnotatedImage(name, tmp_path / name, (BOX,))) == [Imported(name, 1)]
