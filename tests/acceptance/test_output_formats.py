"""Every format, as another program reads it."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from globox import AnnotationSet
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support.folders import Folders, drop_pair, files_below, names_in, read_opex
from support.images import image_of, read_mask
from support.process import TESTS, running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")
EVERYTHING = tuple(
    flag for name in ("png", "png8", "indexed", "labelme", "yolo", "coco") for flag in ("--format", name)
)
PLAIN = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}, "label": "plain"}
HOLED = {
    "box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16},
    "points": [{"x": x, "y": y, "label": 0} for x in (8, 9, 10) for y in (8, 9, 10)],
    "label": "holed",
}
APART = {
    "box": {"x0": 2, "y0": 2, "x1": 8, "y1": 8},
    "points": [{"x": x, "y": y, "label": 1} for x in (20, 21, 22) for y in (10, 11, 12)],
    "label": "plain",
}
EMPTY = {"points": [{"x": 1, "y": 1, "label": 0}], "label": "nothing"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A finished run with every format, folders below the input included."""
    root = tmp_path_factory.mktemp("formats")
    made = Folders(root / "in", root / "out")
    (made.input / "sub").mkdir(parents=True)
    drop_pair(made.input, "cat", {"prompts": [PLAIN, HOLED, EMPTY]})
    drop_pair(made.input / "sub", "dog", APART, suffix=".png", image=image_of(20, 30))
    for named_like_a_file in ("cat.jpg.d.jpg", "set.json"):
        (made.input / named_like_a_file).mkdir()
        drop_pair(made.input / named_like_a_file, "unseen")
    run = sampoll("run", *made.flags, *BOXES, *EVERYTHING, "--recursive")
    assert run.returncode == 0, run.stderr
    return made


def masks_of(folders: Folders) -> dict[str, list[np.ndarray]]:
    """The masks as the plain PNG files have them, by result."""
    return {
        "cat": [read_mask(folders.output / f"cat.{k}.png") for k in range(3)],
        "sub/dog": [read_mask(folders.output / "sub/dog.png")],
    }


def test_each_format_has_its_own_folder_and_no_image_is_among_the_results(folders: Folders) -> None:
    assert files_below(folders.output) == [
        "cat.0.png",
        "cat.1.png",
        "cat.2.png",
        "cat.json",
        "coco/instances.json",
        "indexed/cat.png",
        "indexed/sub/dog.png",
        "labelme/cat.json",
        "labelme/sub/dog.json",
        "png8/cat.0.png",
        "png8/cat.1.png",
        "png8/cat.2.png",
        "png8/sub/dog.png",
        "sub/dog.json",
        "sub/dog.png",
        "yolo/data.yaml",
        "yolo/labels/cat.txt",
        "yolo/labels/sub/dog.txt",
    ]


def test_the_record_lists_the_files_of_its_result_by_their_paths(folders: Folders) -> None:
    listed = json.loads(read_opex(folders.output / "sub/dog.json").meta["files"])

    assert list(listed) == ["sub/dog.png", "png8/sub/dog.png", "indexed/sub/dog.png", "labelme/sub/dog.json"]


def test_8_bit_masks_have_0_and_255(folders: Folders) -> None:
    for name, masks in masks_of(folders).items():
        for k, mask in enumerate(masks):
            with Image.open(
                folders.output / "png8" / (f"{name}.{k}.png" if len(masks) > 1 else f"{name}.png")
            ) as image:
                assert image.mode == "L"
                assert np.array_equal(np.asarray(image), np.where(mask, 255, 0))


def test_the_label_image_has_the_number_of_each_mask_smaller_ones_on_top(folders: Folders) -> None:
    plain, holed, _ = masks_of(folders)["cat"]

    with Image.open(folders.output / "indexed/cat.png") as image:
        assert image.mode == "L"
        labels = np.asarray(image)

    assert np.array_equal(labels == 2, holed)
    assert np.array_equal(labels == 1, plain & ~holed)


def test_labelme_polygons_fill_to_the_masks_and_the_image_is_found(folders: Folders) -> None:
    read = AnnotationSet.from_labelme(folders.output / "labelme", include_poly=True)
    assert sorted(len(annotation.boxes) for annotation in read) == [2]  # globox does not look into folders
    for name, masks in masks_of(folders).items():
        path = folders.output / "labelme" / f"{name}.json"
        document = json.loads(path.read_text())
        with Image.open(path.parent / document["imagePath"]) as image:
            assert image.size == (document["imageWidth"], document["imageHeight"])
        assert set(document) == {
            "version",
            "flags",
            "shapes",
            "imagePath",
            "imageData",
            "imageHeight",
            "imageWidth",
        }
        by_group: dict[int, np.ndarray] = {}
        for shape in document["shapes"]:
            assert set(shape) == {"label", "points", "group_id", "description", "shape_type", "flags", "mask"}
            canvas = Image.new("1", image.size)
            ImageDraw.Draw(canvas).polygon([tuple(p) for p in shape["points"]], fill=1, outline=1)
            drawn = by_group.get(shape["group_id"], np.zeros(canvas.size[::-1], np.bool_))
            by_group[shape["group_id"]] = drawn | np.asarray(canvas)
        for number, mask in enumerate(masks, start=1):
            assert np.array_equal(by_group.get(number, np.zeros_like(mask)), mask)


def test_yolo_lines_have_the_classes_of_data_yaml_and_polygons_that_fill_to_the_masks(
    folders: Folders,
) -> None:
    yolo = folders.output / "yolo"
    assert yaml.safe_load((yolo / "data.yaml").read_text()) == {
        "train": "images",
        "val": "images",
        "names": {0: "holed", 1: "nothing", 2: "plain"},
    }
    read = AnnotationSet.from_yolo_seg(yolo / "labels", image_folder=folders.input / "done")
    [cat] = list(read)
    assert [box.label for box in cat.boxes] == ["2", "0"]
    for box in cat.boxes:
        assert (box.xmin, box.ymin, box.xmax, box.ymax) == pytest.approx((4.49, 4.49, 19.49, 15.49), abs=1e-3)
    classes = {"cat": [2, 0], "sub/dog": [2]}
    for name, masks in masks_of(folders).items():
        lines = (yolo / "labels" / f"{name}.txt").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == classes[name]
        for line, mask in zip(lines, masks, strict=False):
            height, width = mask.shape
            places = np.array(line.split()[1:], float).reshape(-1, 2) * (width, height)
            filled = cv2.fillPoly(np.zeros(mask.shape, np.uint8), [places.astype(np.int32)], 1)
            missing, added = mask & (filled == 0), (filled == 1) & ~mask
            assert not missing.any()
            # Parts that do not hang together are reached over a line of one pixel.
            assert added.sum() == 0 if name == "cat" else added.sum() < 15


def test_pycocotools_reads_the_exact_masks_with_their_boxes_and_areas(folders: Folders) -> None:
    read = COCO(str(folders.output / "coco/instances.json"))

    files = {image["file_name"]: image for image in read.dataset["images"]}
    assert sorted(files) == ["cat.jpg", "sub/dog.png"]
    assert [category["name"] for category in read.dataset["categories"]] == ["holed", "nothing", "plain"]
    for name, file in (("cat", "cat.jpg"), ("sub/dog", "sub/dog.png")):
        masks = [mask for mask in masks_of(folders)[name] if mask.any()]
        annotations = read.loadAnns(read.getAnnIds(imgIds=files[file]["id"]))
        assert len(annotations) == len(masks)
        for annotation, mask in zip(annotations, masks, strict=True):
            assert np.array_equal(read.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum() == coco_mask.area(annotation["segmentation"])
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            assert annotation["iscrowd"] == 0
            assert annotation["score"] == 0.5


def test_coco_polygons_have_the_area_that_pycocotools_finds(folders: Folders, tmp_path: Path) -> None:
    run = sampoll("export", "--format", "coco", "--coco-polygons", folders.output)

    assert (run.returncode, run.stdout) == (0, "2 exported as coco, 0 failed\n")
    read = COCO(str(folders.output / "coco/instances.json"))
    for annotation in read.dataset["annotations"]:
        mask = read.annToMask(annotation)
        assert isinstance(annotation["segmentation"], list)
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == coco_mask.toBbox(read.annToRLE(annotation)).tolist()
    areas = [annotation["area"] for annotation in read.dataset["annotations"]]
    assert areas == [16 * 12, 16 * 12, 36 + 9]  # the hole is filled


def test_an_export_writes_the_same_files_as_a_run(folders: Folders, tmp_path: Path) -> None:
    copied = tmp_path / "out"
    (copied / "sub").mkdir(parents=True)
    for name in ("cat.json", "sub/dog.json"):
        (copied / name).write_bytes((folders.output / name).read_bytes())

    run = sampoll("export", *EVERYTHING, "--images", folders.input / "done", copied)

    assert run.returncode == 0, run.stderr
    assert files_below(copied) == files_below(folders.output)
    for name in files_below(copied):
        if name.endswith((".png", ".txt", ".yaml")):
            assert (copied / name).read_bytes() == (folders.output / name).read_bytes(), name
    ours = json.loads((copied / "labelme/sub/dog.json").read_text())
    assert (copied / "labelme/sub" / ours["imagePath"]).resolve() == folders.input / "done/sub/dog.png"


@pytest.fixture
def exported(folders: Folders, tmp_path: Path) -> Path:
    """The records of the run, exported."""
    for name in ("cat.json", "sub/dog.json"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes((folders.output / name).read_bytes())
    run = sampoll("export", *EVERYTHING, tmp_path / "out")
    assert run.returncode == 0, run.stderr
    return tmp_path / "out"


def test_an_export_has_no_labels_of_results_that_are_gone(exported: Path) -> None:
    (exported / "cat.json").unlink()
    (exported / "yolo/images").mkdir()
    (exported / "yolo/images/cat.jpg").write_text("an image")

    run = sampoll("export", "--format", "yolo", "--format", "coco", exported)

    assert run.returncode == 0, run.stderr
    assert files_below(exported / "yolo") == ["data.yaml", "images/cat.jpg", "labels/sub/dog.txt"]
    assert yaml.safe_load((exported / "yolo/data.yaml").read_text())["names"] == {0: "plain"}
    assert (exported / "yolo/labels/sub/dog.txt").read_text().startswith("0 ")
    assert len(COCO(str(exported / "coco/instances.json")).dataset["images"]) == 1


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("yolo", "yolo/data.yaml"),
        ("yolo", "yolo/labels/cat.txt"),
        ("yolo", "yolo/labels/mine.txt"),
        ("coco", "coco/instances.json"),
    ],
)
def test_a_data_set_that_somebody_has_changed_is_left_as_it_is(exported: Path, name: str, path: str) -> None:
    (exported / "sub/dog.json").unlink()
    (exported / path).write_text("changed by hand")
    before = {file: (exported / name / file).read_bytes() for file in files_below(exported / name)}

    run = sampoll("export", "--format", name, exported)

    assert run.returncode == 73
    assert f"{path} was not written by sampoll, or was changed since: move it away" in run.stderr
    after = {file: (exported / name / file).read_bytes() for file in files_below(exported / name)}
    assert after == before


def test_one_data_set_that_is_left_costs_the_others_and_the_results_nothing(tmp_path: Path) -> None:
    made = Folders(tmp_path / "in", tmp_path / "out")
    made.input.mkdir()
    drop_pair(made.input, "a")
    (made.output / "yolo").mkdir(parents=True)
    (made.output / "yolo/data.yaml").write_text("mine")

    run = sampoll("run", *made.flags, *BOXES, "--format", "yolo", "--format", "coco")

    assert run.returncode == 73
    assert "yolo/data.yaml was not written by sampoll" in run.stderr
    assert "1 done, 0 failed" in run.stderr
    assert files_below(made.output) == ["a.json", "coco/instances.json", "yolo/data.yaml"]


def test_an_export_replaces_what_an_export_wrote_and_leaves_what_was_corrected_by_hand(
    exported: Path, folders: Folders
) -> None:
    (exported / "labelme/cat.json").write_text("corrected by hand")

    run = sampoll("export", "--format", "labelme", "--images", folders.input / "done", exported)

    assert (run.returncode, run.stdout) == (1, "1 exported as labelme, 1 failed\n")
    assert "labelme/cat.json: was not written by sampoll, or was changed since: move it away" in run.stderr
    assert (exported / "labelme/cat.json").read_text() == "corrected by hand"
    assert "done/sub/dog.png" in (exported / "labelme/sub/dog.json").read_text()


ASIDE = ("--format", "png8", "--format", "labelme", "--format", "indexed")


@pytest.fixture(scope="module")
def outdated_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of two results, of which one is gone, and the other has fewer masks now."""
    root = tmp_path_factory.mktemp("outdated")
    made = Folders(root / "in", root / "out")
    (made.input / "sub").mkdir(parents=True)
    drop_pair(made.input, "cat", {"prompts": [PLAIN, PLAIN, PLAIN]})
    drop_pair(made.input / "sub", "dog")
    recursive = (*made.flags, *BOXES, "--recursive", "--format", "opex")
    assert sampoll("run", *recursive).returncode == 0
    assert sampoll("export", *ASIDE, made.output).returncode == 0
    drop_pair(made.input, "cat", {"prompts": [PLAIN, HOLED]})
    assert sampoll("run", *recursive, "--on-exist", "replace").returncode == 0
    (made.output / "sub/dog.json").unlink()
    return made.output


@pytest.fixture
def outdated(outdated_exports: Path, tmp_path: Path) -> Path:
    """A copy of them for one test."""
    return shutil.copytree(outdated_exports, tmp_path / "out")


def test_an_export_leaves_nothing_of_results_that_are_gone_or_have_fewer_masks(outdated: Path) -> None:
    (outdated / "labelme/sub/mine.json").write_text("mine")

    run = sampoll("export", "--format", "png8", "--format", "labelme", outdated)
    none_left = sampoll("export", *ASIDE, outdated)

    assert (run.returncode, none_left.returncode) == (0, 0), run.stderr
    assert files_below(outdated) == [
        "cat.json",
        "indexed/cat.png",
        "labelme/cat.json",
        "labelme/sub/mine.json",
        "png8/cat.0.png",
        "png8/cat.1.png",
    ]
    assert not (outdated / "png8/sub").exists()
    shapes = json.loads((outdated / "labelme/cat.json").read_text())["shapes"]
    assert {shape["label"] for shape in shapes} == {"plain", "holed"}


def test_formats_that_are_not_exported_now_stay_as_they_are(outdated: Path) -> None:
    sampoll("export", "--format", "png8", outdated)

    assert (outdated / "labelme/sub/dog.json").is_file()
    assert (outdated / "indexed/sub/dog.png").is_file()


def test_what_was_changed_since_it_was_exported_stays_and_is_named(outdated: Path) -> None:
    (outdated / "png8/cat.2.png").write_text("painted over")

    runs = [sampoll("export", "--format", "png8", outdated) for _ in range(2)]

    assert (outdated / "png8/cat.2.png").read_text() == "painted over"
    assert not (outdated / "png8/sub").exists()
    for run in runs:
        assert "png8/cat.2.png belongs to no result any more, and stays" in run.stderr


def test_nothing_is_removed_while_a_record_cannot_be_read(outdated: Path) -> None:
    (outdated / "sub/dog.json").write_text('{"id": ')

    run = sampoll("export", "--format", "png8", outdated)

    assert run.returncode == 1
    assert (outdated / "png8/sub/dog.png").is_file()


def test_an_export_replaces_what_the_run_wrote(folders: Folders, tmp_path: Path) -> None:
    shutil.copytree(folders.output, tmp_path / "out")

    run = sampoll("export", "--format", "labelme", "--images", tmp_path, tmp_path / "out")

    assert (run.returncode, run.stdout) == (0, "2 exported as labelme, 0 failed\n"), run.stderr
    assert json.loads((tmp_path / "out/labelme/cat.json").read_text())["imagePath"] == "../../cat.jpg"


def test_a_record_that_may_not_be_read_is_named_and_counted(exported: Path) -> None:
    (exported / "cat.json").unlink()
    (exported / "cat.json").symlink_to("nowhere")
    (exported / "elsewhere").write_bytes((exported / "sub/dog.json").read_bytes())
    (exported / "linked.json").symlink_to("elsewhere")

    run = sampoll("export", "--format", "coco", exported)
    report = sampoll("report", exported)

    assert (run.returncode, run.stdout) == (1, "1 exported as coco, 1 failed\n"), run.stderr
    assert "linked.json is left out: " in run.stderr
    assert report.returncode == 1
    assert report.stdout == f"{exported}/report.html: 1 result, 1 record that cannot be read\n"


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_exported(
    folders: Folders, tmp_path: Path
) -> None:
    good, bad = (folders.output / "cat.json").read_bytes(), b'{"id": "bad", "objects": []}'
    (tmp_path / "good.json").write_bytes(good)
    (tmp_path / "bad.json").write_bytes(bad)
    (tmp_path / "somebodys.json").write_bytes(b"{}")

    run = sampoll("export", "--format", "coco", tmp_path)

    assert (run.returncode, run.stdout) == (1, "1 exported as coco, 1 failed\n")
    assert "bad.json is left out: no record of a result" in run.stderr
    assert len(json.loads((tmp_path / "coco/instances.json").read_text())["images"]) == 1


def test_a_result_that_a_format_cannot_hold_is_named_and_the_others_are_exported(
    folders: Folders, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sampoll.formats.indexed as i\n"
        "def encode_grayscale(rows, width, bit_depth):\n"
        "    assert len(rows) != 20, 'unlucky'\n"
        "    return b'png'\n"
        "i.encode_grayscale = encode_grayscale\n"
    )
    for name in ("cat.json", "sub/dog.json"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes((folders.output / name).read_bytes())

    run = sampoll(
        "export", "--format", "indexed", tmp_path / "out", env={"PYTHONPATH": f"{tmp_path}:{TESTS}"}
    )

    assert (run.returncode, run.stdout) == (1, "1 exported as indexed, 1 failed\n")
    assert "sub/dog: no output could be made: AssertionError: unlucky" in run.stderr


def test_an_unknown_format_is_refused_before_any_pair_is_taken(folders: Folders, tmp_path: Path) -> None:
    run = sampoll("run", "-i", folders.input, "-o", tmp_path, *BOXES, "--format", "gif")

    assert run.returncode == 2
    assert run.stderr == (
        "sampoll: no 'gif' among formats (--format): coco, indexed, labelme, opex, overlay, png, png8, yolo\n"
    )


@pytest.mark.parametrize("given", ["flags", "variable", "file"])
def test_formats_are_chosen_by_flags_a_variable_or_a_file(tmp_path: Path, given: str) -> None:
    made = Folders(tmp_path / "in", tmp_path / "out")
    made.input.mkdir()
    drop_pair(made.input, "a")
    config = tmp_path / "formats.toml"
    config.write_text('[outputs]\nformat = ["png8", "indexed"]\n')
    flags, env = {
        "flags": (("--format", "png8", "--format", "indexed"), {}),
        "variable": ((), {"SAMPOLL_FORMAT": "png8, indexed"}),
        "file": (("--config", config), {}),
    }[given]

    assert sampoll("run", *made.flags, *BOXES, *flags, env=env).returncode == 0
    assert files_below(made.output) == ["a.json", "indexed/a.png", "png8/a.png"]


def test_a_replaced_result_takes_its_files_of_every_kind_with_it(tmp_path: Path) -> None:
    made = Folders(tmp_path / "in", tmp_path / "out")
    made.input.mkdir()
    for prompts in (2, 1):
        drop_pair(made.input, "a", {"prompts": [PLAIN] * prompts})
        kinds = ("--format", "png8", "--format", "labelme") if prompts == 2 else ("--format", "png8")
        run = sampoll("run", *made.flags, *BOXES, *kinds, "--on-exist", "replace")
        assert run.returncode == 0, run.stderr

    assert files_below(made.output) == ["a.json", "png8/a.png"]


def test_a_daemon_writes_data_sets_when_it_ends(tmp_path: Path) -> None:
    made = Folders(tmp_path / "in", tmp_path / "out")
    made.input.mkdir()
    with running_sampoll("run", *made.flags, *BOXES, "--format", "coco", "--continuous") as process:
        drop_pair(made.input, "a")
        until(lambda: names_in(made.output) == ["a.json"], "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert len(COCO(str(made.output / "coco/instances.json")).dataset["annotations"]) == 1


STRICT_READER = """
import sys
from opex import ObjectPredictions
for path in sys.argv[1:]:
    read = ObjectPredictions.load_json_from_file(path)
    assert read.objects is not None
    print(read.id, [len(found.polygon.points) for found in read.objects])
"""


@pytest.mark.slow
def test_the_strict_reader_of_opex_accepts_every_record(
    folders: Folders, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The strict reader has the module name of the faster one, so it is installed into another folder."""
    place = tmp_path_factory.mktemp("strict")
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--target", place, "opex==0.0.3")
    subprocess.run(install, check=True, timeout=120)
    read = subprocess.run(
        [sys.executable, "-c", STRICT_READER, folders.output / "cat.json", folders.output / "sub/dog.json"],
        env={"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert read.returncode == 0, read.stderr
    assert read.stdout == "cat [4, 4]\nsub/dog [4, 4]\n"
