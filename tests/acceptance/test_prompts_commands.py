"""Prompts from data sets, tables, and one file for a folder; and the errors in them."""

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.folders import BOX, Folders, drop_pair, files_below, read_opex
from support.images import encoded, image_of, read_mask
from support.process import sampoll

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Prompt
from sampoll.inputs.importers.base import AnnotatedImage
from sampoll.inputs.importers.write_pairs import write_pairs
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import parse_prompts

BOXES = ("--model", "support.fakes:boxes")
COCO = {
    "images": [
        {"id": 7, "file_name": "cat.jpg", "width": 32, "height": 24},
        {"id": 8, "file_name": "sub/dog.png"},
        {"id": 9, "file_name": "nothing.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 4, 16, 12], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4.5]},
        {"id": 3, "image_id": 8, "category_id": 3, "keypoints": [5, 6, 2, 0, 0, 0, 7, 8, 1]},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "ear"}],
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder with two photographs."""
    root = tmp_path / "dataset"
    (root / "sub").mkdir(parents=True)
    (root / "cat.jpg").write_bytes(encoded(image_of(), "JPEG"))
    (root / "sub" / "dog.png").write_bytes(encoded(image_of(20, 30)))
    return root


def imported(to: Path) -> dict[str, list[dict[str, Any]]]:
    """The prompts of every prompt file, by its path."""
    found = {}
    for name in files_below(to):
        if name.endswith(".json"):
            document = json.loads((to / name).read_text())
            found[name] = document.get("prompts", [document])
    return found


def box(x0: float, y0: float, x1: float, y1: float) -> dict[str, float]:
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1}


def test_boxes_become_masks_in_two_commands_and_the_data_set_stays(dataset: Path, tmp_path: Path) -> None:
    (dataset / "instances.json").write_text(json.dumps(COCO))
    before = {name: (dataset / name).read_bytes() for name in files_below(dataset)}
    folders = Folders(tmp_path / "in", tmp_path / "out")

    first = sampoll("prompts", "import", "--from", "coco", dataset / "instances.json", "--to", folders.input)
    second = sampoll("run", *folders.flags, *BOXES, "--recursive")

    assert (
        first.stdout == f"2 pairs with 3 prompts in {folders.input}, 0 passed over; 1 image has no prompt; "
        "they are in folders: run with --recursive\n"
    )
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stdout.startswith("2 done, 0 failed")
    assert read_mask(folders.output / "cat.0.png").sum() == 16 * 12
    assert [found.label for found in read_opex(folders.output / "cat.json").objects] == ["cat", "ear"]
    assert {name: (dataset / name).read_bytes() for name in files_below(dataset)} == before


def test_coco_boxes_become_boxes_and_keypoints_become_points(dataset: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps(COCO))

    run = sampoll(
        "prompts", "import", "--from", "coco", annotations, "--images", dataset, "--to", tmp_path / "in"
    )

    assert run.returncode == 0, run.stderr
    assert imported(tmp_path / "in") == {
        "cat.json": [
            {"box": box(4, 4, 20, 16), "label": "cat", "id": "1"},
            {"box": box(1, 2, 4, 6.5), "label": "ear", "id": "2"},
        ],
        "sub/dog.json": [
            {
                "points": [{"x": 5, "y": 6, "label": 1}, {"x": 7, "y": 8, "label": 1}],
                "label": "cat",
                "id": "3",
            }
        ],
    }
    assert (tmp_path / "in/cat.jpg").samefile(dataset / "cat.jpg")


def test_copied_images_are_separate_files(dataset: Path, tmp_path: Path) -> None:
    (dataset / "instances.json").write_text(json.dumps(COCO))

    sampoll(
        "prompts", "import", "--from", "coco", dataset / "instances.json", "--to", tmp_path / "in", "--copy"
    )

    assert not (tmp_path / "in/cat.jpg").samefile(dataset / "cat.jpg")
    assert (tmp_path / "in/cat.jpg").read_bytes() == (dataset / "cat.jpg").read_bytes()


def write_yolo(root: Path) -> Path:
    (root / "images").mkdir()
    (root / "labels/sub").mkdir(parents=True)
    shutil.move(root / "cat.jpg", root / "images/cat.jpg")
    shutil.move(root / "sub", root / "images/sub")
    (root / "labels/cat.txt").write_text("0 0.375 0.416666666 0.5 0.5\n1 0.5 0.5 0.25 0.25 0.99\n")
    (root / "labels/sub/dog.txt").write_text("1 0.1 0.1 0.9 0.1 0.5 0.8\n")
    (root / "data.yaml").write_text("train: images\nnames: {0: cat, 1: ear}\n")
    return root


def write_labelme(root: Path) -> Path:
    shapes = [
        {"label": "cat", "shape_type": "rectangle", "points": [[20, 16], [4, 4]]},
        {"label": "ear", "shape_type": "polygon", "points": [[1, 2], [4, 2], [4, 6.5]]},
        {"label": "eye", "shape_type": "circle", "points": [[10, 10], [13, 14]]},
        {"label": "nose", "shape_type": "point", "points": [[3, 4]], "group_id": 1},
        {"label": "nose", "shape_type": "point", "points": [[5, 6]], "group_id": 1},
        {"label": "nose", "shape_type": "point", "points": [[7, 8]], "group_id": None},
    ]
    (root / "cat.json").write_text(json.dumps({"shapes": shapes, "imagePath": "cat.jpg"}))
    return root


def write_opex(root: Path) -> Path:
    found = {"score": 0.5, "label": "cat", "bbox": {"left": 4, "top": 4, "right": 19, "bottom": 15}}
    (root / "cat.json").write_text(json.dumps({"id": "cat", "objects": [found]}))
    return root


def write_csv(root: Path) -> Path:
    table = root / "table.csv"
    table.write_text(
        "image,x0,y0,x1,y1,x,y,point,label,id\n"
        "cat.jpg,4,4,20,16,,,,cat,a\n"
        "cat.jpg,,,,,10,11.5,0,cat,a\n"
        "cat.jpg,,,,,1,2,,ear,\n"
        "sub/dog.png,,,,,3,4,1,,\n"
    )
    return table


@pytest.mark.parametrize(
    ("kind", "write", "expected"),
    [
        (
            "yolo",
            write_yolo,
            {
                "cat.json": [
                    {"box": box(4, 4, 20, 16), "label": "cat"},
                    {"box": box(12, 9, 20, 15), "label": "ear"},
                ],
                "sub/dog.json": [{"box": box(3, 2, 27, 16), "label": "ear"}],
            },
        ),
        (
            "labelme",
            write_labelme,
            {
                "cat.json": [
                    {"box": box(4, 4, 20, 16), "label": "cat"},
                    {"box": box(1, 2, 4, 6.5), "label": "ear"},
                    {"box": box(5, 5, 15, 15), "label": "eye"},
                    {
                        "points": [{"x": 3, "y": 4, "label": 1}, {"x": 5, "y": 6, "label": 1}],
                        "label": "nose",
                    },
                    {"points": [{"x": 7, "y": 8, "label": 1}], "label": "nose"},
                ]
            },
        ),
        ("opex", write_opex, {"cat.json": [{"box": box(4, 4, 20, 16), "label": "cat"}]}),
        (
            "csv",
            write_csv,
            {
                "cat.json": [
                    {
                        "points": [{"x": 10, "y": 11.5, "label": 0}],
                        "box": box(4, 4, 20, 16),
                        "label": "cat",
                        "id": "a",
                    },
                    {"points": [{"x": 1, "y": 2, "label": 1}], "label": "ear"},
                ],
                "sub/dog.json": [{"points": [{"x": 3, "y": 4, "label": 1}]}],
            },
        ),
    ],
)
def test_boxes_and_points_of_every_kind_of_data_set_become_prompts(
    dataset: Path,
    tmp_path: Path,
    kind: str,
    write: Callable[[Path], Path],
    expected: dict[str, list[dict[str, Any]]],
) -> None:
    source = write(dataset)

    run = sampoll("prompts", "import", "--from", kind, source, "--to", tmp_path / "in")

    assert run.returncode == 0, run.stderr
    found = imported(tmp_path / "in")
    assert list(found) == list(expected)
    for name, prompts in expected.items():
        for ours, theirs in zip(found[name], prompts, strict=True):
            assert {key: value for key, value in ours.items() if key != "box"} == {
                key: value for key, value in theirs.items() if key != "box"
            }
            assert ours.get("box", {}) == pytest.approx(theirs.get("box", {}), abs=1e-4)
    check = sampoll("prompts", "check", tmp_path / "in")
    assert (check.returncode, check.stdout) == (0, f"{len(expected)} valid, 0 invalid\n")


@pytest.mark.parametrize("kind", ["yolo", "labelme", "opex", "coco"])
def test_results_of_a_run_can_be_imported_as_prompts(folders: Folders, tmp_path: Path, kind: str) -> None:
    drop_pair(folders.input, "cat", {**BOX, "label": "thing"})
    formats = [flag for name in ("labelme", "yolo", "coco") for flag in ("--format", name)]
    assert sampoll("run", *folders.flags, *BOXES, *formats).returncode == 0
    done = folders.input / "done"
    source, images = {
        "yolo": (folders.output / "yolo", ("--images", done)),
        "labelme": (folders.output / "labelme", ()),
        "opex": (folders.output / "cat.json", ("--images", done)),
        "coco": (folders.output / "coco/instances.json", ("--images", done)),
    }[kind]

    run = sampoll("prompts", "import", "--from", kind, source, *images, "--to", tmp_path / "again")

    assert run.returncode == 0, run.stderr
    [prompt] = imported(tmp_path / "again")["cat.json"]
    assert prompt["label"] == "thing"
    # LabelMe and YOLO give the centres of pixels.
    assert prompt["box"] == pytest.approx(box(4, 4, 20, 16), abs=1.01)


def test_an_error_in_one_annotation_is_reported_and_the_others_are_imported(
    dataset: Path, tmp_path: Path
) -> None:
    wrong = json.loads(json.dumps(COCO))
    wrong["annotations"][1]["bbox"] = [1, 2, 0, 4]
    wrong["annotations"].append({"id": 5, "image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]})
    wrong["annotations"].append({"id": 6, "image_id": 7, "category_id": 3, "bbox": ["a", 2, 3, 4]})
    wrong["images"].append({"id": 10, "file_name": "../../etc/passwd"})
    wrong["annotations"].append(
        {"id": 7, "image_id": 8, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1}
    )
    source = dataset / "instances.json"
    source.write_text(json.dumps(wrong))

    run = sampoll("prompts", "import", "--from", "coco", source, "--to", tmp_path / "in")

    assert (run.returncode, run.stdout.split(";")[0]) == (
        1,
        f"2 pairs with 3 prompts in {tmp_path / 'in'}, 5 passed over",
    )
    assert run.stderr.splitlines() == [
        f"{source}: images[3]: file_name must be a path below the folder of the images",
        f"{source}: annotations[1]: x0 must be less than x1, got 1.0 and 1.0",
        f"{source}: annotations[4]: must be a number, got 'a'",
        f"{source}: annotations[5]: is marked as a crowd (iscrowd), and becomes one object",
        f"nothing.jpg: is not there: no file {dataset / 'nothing.jpg'}",
    ]
    assert imported(tmp_path / "in")["cat.json"] == [{"box": box(4, 4, 20, 16), "label": "cat", "id": "1"}]


def test_a_broken_file_is_reported_and_the_others_are_imported(dataset: Path, tmp_path: Path) -> None:
    write_opex(dataset)
    (dataset / "broken.json").write_text("{")
    (dataset / "other.json").write_text("[]")

    run = sampoll("prompts", "import", "--from", "opex", dataset, "--to", tmp_path / "in")

    assert (run.returncode, run.stdout) == (
        1,
        f"1 pair with 1 prompt in {tmp_path / 'in'}, 2 passed over\n",
    )
    assert "broken.json is not JSON" in run.stderr
    assert 'other.json: is no OPEX file: it has no list of "objects"' in run.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat.jpg,1,1,9,9,,,,,", None),
        ("cat.jpg,,,,,1,1,0.5,,", "line 2: point must be 1 (on the object) or 0 (beside it), got '0.5'"),
        ("cat.jpg,,,,,1,nan,1,,", "line 2: x and y must be finite"),
        ("cat.jpg,1,1,9,,,,,,", "line 2: must have x0, y0, x1 and y1, or x and y"),
        ("../cat.jpg,1,1,9,9,,,,,", "line 2: image must be a path below the folder of the images"),
    ],
)
def test_a_wrong_line_of_a_table_is_reported(
    dataset: Path, tmp_path: Path, line: str, message: str | None
) -> None:
    table = dataset / "table.csv"
    table.write_text(f"image,x0,y0,x1,y1,x,y,point,label,id\n{line}\n")

    run = sampoll("prompts", "import", "--from", "csv", table, "--to", tmp_path / "in")

    assert run.returncode == (0 if message is None else 1)
    assert message is None or message in run.stderr


BOMB = (
    "a0: &a0 [x, x]\n"
    + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    + "names: [*a39]\n"
)
"""A few lines, and terabytes of text."""


@pytest.mark.parametrize("names", ["names: 5\n", "nc: 2\n", "names: [unclosed\n", BOMB])
def test_a_data_yaml_without_names_is_refused(dataset: Path, tmp_path: Path, names: str) -> None:
    write_yolo(dataset)
    (dataset / "data.yaml").write_text(names)

    run = sampoll("prompts", "import", "--from", "yolo", dataset, "--to", tmp_path / "in")

    assert run.returncode == 66
    assert 'data.yaml has no "names" of classes' in run.stderr


def test_existing_pairs_are_not_changed(dataset: Path, tmp_path: Path) -> None:
    source = write_opex(dataset)
    sampoll("prompts", "import", "--from", "opex", source, "--to", tmp_path / "in")
    (tmp_path / "in/cat.json").write_text("mine")

    run = sampoll("prompts", "import", "--from", "opex", source, "--to", tmp_path / "in")

    assert run.returncode == 1
    assert "cat.jpg is there already: the pair was left as it is" in run.stderr
    assert (tmp_path / "in/cat.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("coco", "{}", "is no COCO file"),
        ("coco", "{", "is not JSON"),
        ("csv", "name,x\n", "needs a first line that names the columns"),
    ],
)
def test_an_invalid_source_is_refused(tmp_path: Path, kind: str, content: str, message: str) -> None:
    (tmp_path / "source").write_text(content)

    run = sampoll("prompts", "import", "--from", kind, tmp_path / "source", "--to", tmp_path / "in")

    assert run.returncode == 66
    assert message in run.stderr


def test_check_names_file_and_field_of_every_bad_prompt(folders: Folders) -> None:
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "outside", {"points": [{"x": 99, "y": 1, "label": 1}]})
    drop_pair(folders.input, "unknown", {"prompts": [BOX, {**BOX, "bx": 1}]})
    (folders.input / "broken.json").write_text("{")
    (folders.input / "later.prompt").write_text(json.dumps(BOX))
    (folders.input / "bad.jpg").write_bytes(b"no image")
    (folders.input / "bad.json").write_text(json.dumps(BOX))
    (folders.input / "cut.png").write_bytes(encoded(image_of())[:-12])
    (folders.input / "cut.json").write_text(json.dumps(BOX))
    for folder in ("done", "failed", ".hidden"):  # where a run does not look either
        (folders.input / folder).mkdir()
        (folders.input / folder / "old.json").write_text("{")

    run = sampoll("prompts", "check", folders.input)

    assert (run.returncode, run.stdout) == (1, "2 valid, 5 invalid; 1 of the valid without an image\n")
    at = str(folders.input)
    assert run.stderr.splitlines() == [
        f"{at}/bad.jpg: is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)",
        f"{at}/broken.json: is not JSON in UTF-8: unexpected end of data: line 1 column 2 (char 1)",
        f"{at}/cut.png: is truncated, or damaged: it has no IEND chunk",
        f"{at}/outside.json: points[0]: (99, 1) lies outside the image of 32x24 pixels",
        f"{at}/unknown.json: prompts[1].bx: is not a known key; did you mean box? "
        'Write, for example, "box": {"x0": 10, "y0": 20, "x1": 30, "y1": 40}',
    ]
    assert sampoll("prompts", "check", folders.input / "good.json").stdout == "1 valid, 0 invalid\n"


SCHEMA_CASES = [
    ({"box": box(0, 0, 4, 4)}, True),
    ({"points": [{"x": 1, "y": 2, "label": 0}], "box": box(0, 0, 4, 4), "label": "a", "id": "b"}, True),
    ({"prompts": [{"box": box(0, 0, 4, 4)}, {"everything": {}}]}, True),
    ({"everything": {"points_per_side": 16, "pred_iou_thresh": 0.5}, "label": "a"}, True),
    ({"box": box(0, 0, 4, 4), "refine": 2}, True),
    ({"$schema": "prompt.schema.json", "box": box(0, 0, 4, 4)}, True),
    ({"$schema": "prompt.schema.json", "prompts": [{"box": box(0, 0, 4, 4)}]}, True),
    ({"$schema": 7, "box": box(0, 0, 4, 4)}, False),
    ({"prompts": [{"$schema": "prompt.schema.json", "box": box(0, 0, 4, 4)}]}, False),
    ({"$schema": "prompt.schema.json"}, False),
    ({}, False),
    ({"prompts": []}, False),
    ({"points": []}, False),
    ({"points": [{"x": 1, "y": 2}]}, False),
    ({"points": [{"x": "1", "y": 2, "label": 1}]}, False),
    ({"points": [{"x": 1, "y": 2, "label": 7}]}, False),
    ({"box": box(0, 0, 4, 4), "refine": 11}, False),
    ({"box": box(0, 0, 4, 4), "everything": {}}, False),
    ({"everything": {"points_per_side": 0}}, False),
    ({"everything": {"side": 3}}, False),
    ({"bx": 1}, False),
    ({"box": box(0, 0, 4, 4), "label": ""}, False),
    ({"text": "a cat", "score_thresh": 0.3, "label": "pet", "id": "b"}, True),
    ({"prompts": [{"text": "cat"}, {"text": "\u732b"}, {"box": box(0, 0, 4, 4)}]}, True),
    ({"text": ""}, False),
    ({"text": " \u200b"}, False),
    ({"text": "a\tcat"}, False),
    ({"text": "a\ncat"}, False),
    ({"text": "a" * 257}, False),
    ({"text": 7}, False),
    ({"text": "cat", "box": box(0, 0, 4, 4)}, False),
    ({"text": "cat", "everything": {}}, False),
    ({"text": "cat", "score_thresh": 1.5}, False),
    ({"box": box(0, 0, 4, 4), "score_thresh": 0.5}, False),
    ([], False),
]


@cache
def printed_schema() -> Any:
    return json.loads(sampoll("prompts", "schema").stdout)


@pytest.mark.parametrize(("document", "is_valid"), SCHEMA_CASES)
def test_the_schema_and_the_reader_agree(document: Any, is_valid: bool) -> None:
    schema = printed_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    assert jsonschema.Draft202012Validator(schema).is_valid(document) is is_valid
    try:
        parse_prompts(json.dumps(document).encode(), "a.json", LimitSettings())
        is_read = True
    except BadPrompt:
        is_read = False
    assert is_read is is_valid


def test_images_on_another_file_system_are_copied(dataset: Path, tmp_path: Path) -> None:
    """Hard links between file systems are impossible."""
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    source = write_opex(dataset)
    target = Path("/dev/shm") / f"sampoll-{os.getpid()}"
    try:
        run = sampoll("prompts", "import", "--from", "opex", source, "--to", target)
        assert run.returncode == 0, run.stderr
        assert (target / "cat.jpg").read_bytes() == (dataset / "cat.jpg").read_bytes()
    finally:
        shutil.rmtree(target, ignore_errors=True)


@pytest.mark.parametrize("how", ["absolute", "above", "from Windows", "through done"])
def test_a_labelme_file_cannot_fetch_other_images_of_the_machine(
    dataset: Path, tmp_path: Path, how: str
) -> None:
    secret = tmp_path / "elsewhere" / "secret.jpg"
    secret.parent.mkdir()
    secret.write_bytes((dataset / "cat.jpg").read_bytes())
    (dataset / "done").mkdir()
    write_labelme(dataset)
    document = json.loads((dataset / "cat.json").read_text())
    path = {
        "absolute": str(secret),
        "above": f"{'../' * 40}{secret}",
        "from Windows": f"..\\{secret.relative_to(tmp_path)}",
        "through done": f"done/../../{secret.relative_to(tmp_path)}",
    }[how]
    (dataset / "other.json").write_text(json.dumps({**document, "imagePath": path}))

    run = sampoll("prompts", "import", "--from", "labelme", dataset, "--to", tmp_path / "in")

    assert (run.returncode, run.stdout) == (
        1,
        f"1 pair with 5 prompts in {tmp_path / 'in'}, 1 passed over\n",
    )
    assert "other.json: imagePath: must be a path below the folder of the images" in run.stderr
    assert sorted(imported(tmp_path / "in")) == ["cat.json"]
    assert secret.stat().st_nlink == 1


@pytest.mark.parametrize("late", ["cat.json", "cat.jpg"])
@pytest.mark.parametrize("copies", [True, False])
def test_a_file_that_comes_during_an_import_is_kept(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str, copies: bool
) -> None:
    target = tmp_path / "in"
    target.mkdir()
    (target / late).write_text("somebody else's")
    monkeypatch.setattr("sampoll.inputs.importers.write_pairs._Target._found_in", lambda *_: {})
    image = AnnotatedImage("cat.jpg", dataset / "cat.jpg", (Prompt(box=Box(1, 1, 9, 9)),))

    [error] = write_pairs([image], target, DecodingOptions(), copies=copies)

    assert str(error) == f"cat.jpg: {target / late} is there already: the pair was left as it is"
    assert [path.name for path in target.iterdir()] == [late]
    assert (target / late).read_text() == "somebody else's"


@pytest.mark.parametrize("name", ["../cat.jpg", "/cat.jpg", "a/../../cat.jpg"])
def test_no_importer_writes_outside_the_input(dataset: Path, tmp_path: Path, name: str) -> None:
    image = AnnotatedImage(name, dataset / "cat.jpg", (Prompt(box=Box(1, 1, 9, 9)),))

    [error] = write_pairs([image], tmp_path / "in", DecodingOptions(), copies=True)

    assert "must be a path below the folder of the images" in str(error)
