"""Annotations with odd values, and files that are not what their names say: one error each."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.images import encoded, image_of

from sampoll.config.settings import LimitSettings
from sampoll.core.errors import InputUnavailable, JobError
from sampoll.inputs.importers.registry import load_importer
from sampoll.inputs.importers.write_pairs import write_pairs
from sampoll.inputs.prompt_file import parse_prompts

IMAGE = encoded(image_of())
YOLO_LINE = "0 0.5 0.5 0.5 0.5\n"


def imported(importer: str, source: Path) -> list[str]:
    """The names of the written pairs, and the errors; what is written can be run."""
    target = source.parent / "pairs"
    outcomes = list(write_pairs(load_importer(importer)(source, None), target, copies=False))
    for name in outcomes:
        if not isinstance(name, JobError):
            parse_prompts((target / f"{name}.json").read_bytes(), name, LimitSettings())
    return [str(outcome) for outcome in outcomes]


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
    assert imported("coco", coco(tmp_path / "a", {}, {}, categories=5)) == ["a"]
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
        assert imported("yolo", yolo(tmp_path / "set", names)) == ["a"]
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

    assert error.endswith("a.txt: has no image that can be read")
