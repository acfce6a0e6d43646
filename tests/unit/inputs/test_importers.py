"""Annotations with odd values, and files that are not what their names say: one error each."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from support.images import encoded, image_of

from sampoll.config.settings import LimitSettings
from sampoll.core.errors import InputUnavailable, JobError
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.inputs.check import Checked, check_prompts
from sampoll.inputs.decode import DecodingOptions
from sampoll.inputs.importers.base import AnnotatedImage, files_of, image_name, json_of
from sampoll.inputs.importers.registry import load_importer
from sampoll.inputs.importers.write_pairs import Imported, write_pairs

IMAGE = encoded(image_of())
YOLO_LINE = "0 0.5 0.5 0.5 0.5\n"


def imported(importer: str, source: Path) -> list[str]:
    """The names of the images that have pairs now, and the errors; what is written can be run."""
    target = source.parent / "pairs"
    outcomes = list(
        write_pairs(load_importer(importer)(source, None), target, DecodingOptions(), copies=False)
    )
    written = [outcome.name for outcome in outcomes if isinstance(outcome, Imported) and outcome.prompts]
    checked = list(check_prompts([target], DecodingOptions())) if written else []
    assert all(isinstance(one, Checked) and one.image for one in checked)
    assert len(checked) == len(written)
    return [*written, *(str(outcome) for outcome in outcomes if isinstance(outcome, JobError))]


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def coco(folder: Path, image: dict[str, Any], annotation: dict[str, Any], **more: Any) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(IMAGE)
    images = [{"id": 1, "file_name": "a.png", **image}]
    annotations = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], **annotation}]
    path = folder / "coco.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, **more}))
    return path


@pytest.mark.parametrize(
    ("image", "annotation", "message"),
    [
        ({"file_name": "x" * 256 + ".png"}, {}, "must be a path that a file can have"),
        ({"file_name": "x/" * 3000 + "a.png"}, {}, "must be a path that a file can have"),
        ({"file_name": "a\0.png"}, {}, "must be a path that a file can have"),
        ({"file_name": deep(500)}, {}, "is too deeply nested"),
        ({}, {"image_id": deep(500)}, "is too deeply nested"),
        ({}, {"category_id": deep(500)}, "is too deeply nested"),
        ({}, {"id": deep(500)}, "is too deeply nested"),
        ({}, {"bbox": [1, 1, 2, deep(500)]}, "must be a number, got [["),
        ({}, {"bbox": [1, 1, 2, "x" * 10**6]}, "must be a number, got 'xxx"),
        ({}, {"bbox": [1, 1, 2, 1e10]}, "must be finite, and within 1e9 of 0"),
        ({}, {"bbox": None, "keypoints": [1e10, 1, 1]}, "must be finite, and within 1e9 of 0"),
    ],
)
def test_an_odd_value_in_a_coco_file_is_one_short_error(
    tmp_path: Path, image: dict[str, Any], annotation: dict[str, Any], message: str
) -> None:
    [error] = imported("coco", coco(tmp_path / "set", image, annotation))

    assert message in error
    assert len(error) < 1000


def test_odd_categories_of_a_coco_file_are_left_out_or_refused(tmp_path: Path) -> None:
    assert imported("coco", coco(tmp_path / "a", {}, {}, categories=5)) == ["a.png"]
    with pytest.raises(InputUnavailable, match="categories: id and name is too deeply nested"):
        imported("coco", coco(tmp_path / "b", {}, {}, categories=[{"id": deep(500)}]))


@pytest.mark.parametrize(
    ("importer", "document"),
    [
        ("labelme", {"imagePath": deep(500), "shapes": []}),
        ("labelme", {"imagePath": "x" * 300 + "/done/a.png", "shapes": []}),
        ("labelme", {"imagePath": "a.png", "shapes": [{"label": deep(500), "points": [[1, 1], [2, 2]]}]}),
        ("opex", {"objects": [{"label": deep(500), "bbox": {"left": 1, "top": 1, "right": 2, "bottom": 2}}]}),
    ],
)
def test_an_odd_value_in_a_file_of_an_image_is_one_error(
    tmp_path: Path, importer: str, document: dict[str, Any]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(IMAGE)
    (tmp_path / "set" / "a.json").write_text(json.dumps(document))

    [error] = imported(importer, tmp_path / "set")

    assert "a.json" in error


def yolo(folder: Path, names: str) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(IMAGE)
    (folder / "a.txt").write_text(YOLO_LINE)
    (folder / "data.yaml").write_text(names)
    return folder


MERGES = "".join(f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}\n" for n in range(1, 40))
PAIRS = "".join(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "names",
    [
        "names: [2001-99-99]",
        "names: !!timestamp x",
        "names: [!!float x, !!int x, !!bool x]",
        f"l0: &l0 {{a: b}}\n{MERGES}names: [cat]",
        f"l0: &l0 [a]\n{PAIRS}names: !!pairs [a: *l39]",
        f"names: {'[' * 1000}{']' * 1000}",
        "names: &a [*a]",
        "names: {? [a, b] : c}",
        "names: \0",
    ],
)
def test_a_data_yaml_of_any_kind_is_read_or_refused_soon(tmp_path: Path, names: str) -> None:
    started = time.process_time()
    try:
        assert imported("yolo", yolo(tmp_path / "set", names)) == ["a.png"]
    except InputUnavailable as error:
        assert 'has no "names" of classes' in str(error)  # noqa: PT017  either outcome is right
    assert time.process_time() - started < 5


def test_names_of_classes_are_taken_as_they_are_written(tmp_path: Path) -> None:
    imported("yolo", yolo(tmp_path / "set", "names: {0: no}"))

    assert json.loads((tmp_path / "pairs" / "a.json").read_bytes())["label"] == "no"


def test_a_folder_with_the_name_of_an_image_is_none(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", "names: [cat]")
    (source / "a.png").unlink()
    (source / "a.png").mkdir()

    [error] = imported("yolo", source)

    assert error.endswith(f"a.txt: has no image a in {source}")


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"label": "é"}', encoding)

    assert json_of(tmp_path / "a.json") == {"label": "é"}


def test_a_path_written_on_windows_is_one_with_folders(tmp_path: Path) -> None:
    assert image_name("images\\sub\\a.jpg") == "images/sub/a.jpg"
    for outside in ("C:\\a.jpg", "c:/a.jpg", "..\\a.jpg", "\\\\server\\a.jpg"):
        with pytest.raises(ValueError, match="must be a path below the folder of the images"):
            image_name(outside)


def test_a_source_without_any_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match=r"no \.json file in "):
        imported("labelme", tmp_path)


def test_files_are_found_whatever_the_case_of_their_extension(tmp_path: Path) -> None:
    (tmp_path / "A.JSON").write_text("")

    assert list(files_of(tmp_path, ".json")) == [tmp_path / "A.JSON"]
