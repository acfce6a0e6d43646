"""YOLO data sets as people and programs write them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
from support.images import encoded, image_of

from sampoll.core.errors import InputUnavailable, JobError
from sampoll.core.jobs import Prompt
from sampoll.inputs.importers.yolo import read

IMAGE = encoded(image_of(width=40, height=20))
NAMES = "names: [cat, dog]\n"
BOX = "0 0.5 0.5 0.25 0.5\n"
DOG = "1 0.5 0.5 0.25 0.5\n"
CORNERS = (15, 5, 25, 15)
Tree: TypeAlias = Mapping[str, bytes | str]


def written(folder: Path, tree: Tree) -> Path:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


class Import:
    """What the importer yields: prompts by image, and the errors without the path of the data set."""

    def __init__(self, source: Path, images: Path | None = None, *, root: Path | None = None) -> None:
        self.prompts: dict[str, list[Prompt]] = {}
        self.images: dict[str, Path] = {}
        self.errors: list[str] = []
        for found in read(source, images):
            if isinstance(found, JobError):
                self.errors.append(str(found).replace(f"{root or source}/", ""))
            else:
                self.prompts[found.name] = list(found.prompts)
                self.images[found.name] = found.path

    @property
    def labels(self) -> dict[str, list[str]]:
        return {name: [prompt.label for prompt in prompts] for name, prompts in self.prompts.items()}

    @property
    def boxes(self) -> list[tuple[float, ...]]:
        found = [prompt.box for prompts in self.prompts.values() for prompt in prompts if prompt.box]
        return [(box.x0, box.y0, box.x1, box.y1) for box in found]


def of_labels(folder: Path, content: bytes | str, description: str = NAMES) -> Import:
    tree = {"images/a.png": IMAGE, "labels/a.txt": content, "data.yaml": description}
    return Import(written(folder, tree))


@pytest.mark.parametrize("word", ["1", "1.0", "1.000000000000000000e+00", "+1", "01"])
def test_a_class_may_be_written_as_any_number_that_is_whole(tmp_path: Path, word: str) -> None:
    found = of_labels(tmp_path, f"{word} .5 .5 .25 .5\n")

    assert (found.labels, found.errors) == ({"a.png": ["dog"]}, [])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("2", "class 2 has no name in "),
        ("-1", "the class must be a whole number, got -1"),
        ("0.5", "the class must be a whole number, got 0.5"),
        ("nan", "the class must be a whole number, got nan"),
        ("inf", "the class must be a whole number, got inf"),
        ("cat", "must be a number, got 'cat'"),
    ],
)
def test_a_class_that_is_none_costs_its_line_and_is_named(tmp_path: Path, word: str, message: str) -> None:
    found = of_labels(tmp_path, f"{BOX}{word} .5 .5 .25 .5\n")

    assert found.labels == {"a.png": ["cat"]}
    [error] = found.errors
    assert error.startswith(f"labels/a.txt: line 2: {message}")


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        ("0 .5 .5 .25 .5", CORNERS),
        ("0 .5 .5 .25 .5 0.87", CORNERS),
        ("0 .5 .5 .25 .5 12", CORNERS),  # the id of a track
        ("0\t.5  .5\t.25 .5 ", CORNERS),
        ("0 .375 .25 .625 .25 .625 .75 .375 .75", CORNERS),
        ("0 .375 .25 .625 .25 .625 .75 .375 .75 0.87", CORNERS),
        ("0 .5 .25 .625 .5 .5 .75 .375 .5", CORNERS),  # an oriented box
        ("0 .375 .25 .625 .75 .5 .5", CORNERS),
        ("0 .5 .25 .5 .75 .5 .5", (19.5, 5, 20.5, 15)),  # a line, one pixel wide
        ("0 .5125 .525 .5125 .525 .5125 .525", (20, 10, 21, 11)),  # a single pixel
        ("0 0 .5 .25 .5", (-5, 5, 5, 15)),  # boxes may extend over the edge
        ("0 .25 .5 .5 1 1 1 .75 0", (10, 0, 40, 20)),  # a polygon may touch it
        ("0 .5 .5 .75 .25 1 .5 .75 .75 .5 .75", (20, 5, 40, 15)),
    ],
)
def test_the_numbers_of_a_line_tell_what_it_is(tmp_path: Path, line: str, corners: tuple[float, ...]) -> None:
    found = of_labels(tmp_path, line)

    assert found.errors == []
    assert found.boxes == [pytest.approx(corners)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0", "must be a class and x y width height, or a class and x y x y x y"),
        ("0 .5 .5 .25", "must be a class and x y width height, or a class and x y x y x y"),
        ("0,.5,.5,.25,.5", "must be a number, got '0,.5,.5,.25,.5'"),
        ("0 .5 .5 .25 x", "must be a number, got 'x'"),
        ("0 .5 .5 .25 nan", "must be shares of the image's width and height, from 0 to 1, got nan"),
        ("0 20 10 10 10", "must be shares of the image's width and height, from 0 to 1, got 20"),
        ("0 15 5 25 5 25 15", "must be shares of the image's width and height, from 0 to 1, got 15"),
        ("0 .5 .5 .25 0", "width and height must be more than 0, got 0.25 and 0"),
        ("0 .5 .5 -.25 .5", "width and height must be more than 0, got -0.25 and 0.5"),
        (
            "0 .5 .5 .25 .5 45.5",
            "the last number must be a confidence from 0 to 1, or a whole number, got 45.5",
        ),
        (
            "0 .5 .5 .25 .5 -.5",
            "the last number must be a confidence from 0 to 1, or a whole number, got -0.5",
        ),
        # Poses, and no kpt_shape that says so.
        ("0 .5 .5 .5 .5 .3 .3 2 .7 .3 2", "looks like a pose, not like a polygon: data.yaml must have"),
        ("0 .5 .5 .5 .5 .3 .3 1", "looks like a pose, not like a polygon: data.yaml must have"),
        ("0 .5 .5 .5 .5 .3 .3 1 0 0 0", "looks like a pose, not like a polygon: data.yaml must have"),
        (
            "0 .5 .5 .2 .2 .3 .3 2 .7 .3 2",
            "must be shares of the image's width and height, from 0 to 1, got 2",
        ),
        ("0 .5 .5 .25 .5 .9 7", "must be shares of the image's width and height, from 0 to 1, got 7"),
    ],
)
def test_a_line_that_is_nothing_costs_itself_and_is_named(tmp_path: Path, line: str, message: str) -> None:
    found = of_labels(tmp_path, f"{line}\n{BOX}")

    assert found.boxes == [CORNERS]
    [error] = found.errors
    assert error.startswith(f"labels/a.txt: line 1: {message}")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + BOX.encode(),
        BOX.encode("utf-16"),
        BOX.replace("\n", "\r\n").encode(),
        BOX.replace("\n", "\r").encode(),
        b"\n \n" + BOX.encode().rstrip(),
    ],
)
def test_labels_may_be_written_by_any_editor(tmp_path: Path, content: bytes) -> None:
    found = of_labels(tmp_path, content)

    assert (found.boxes, found.errors) == ([CORNERS], [])


def test_boxes_polygons_and_predictions_may_stand_in_one_file(tmp_path: Path) -> None:
    found = of_labels(tmp_path, f"{BOX}1 .375 .25 .625 .25 .625 .75\n{BOX.rstrip()} .9\n")

    assert found.labels == {"a.png": ["cat", "dog", "cat"]}
    assert found.boxes == [CORNERS] * 3


def points(found: Import) -> list[tuple[float, float]]:
    [[prompt]] = found.prompts.values()
    assert all(point.label == 1 for point in prompt.points)
    return [(point.x, point.y) for point in prompt.points]


@pytest.mark.parametrize(
    ("shape", "keypoints", "expected"),
    [
        ("[3, 3]", ".4 .3 2 0 0 0 .6 .7 1", [(16, 6), (24, 14)]),
        ("[3, 3]", ".4 .3 2 .5 .5 0 0 0 0.01", [(16, 6)]),  # predictions have a confidence there
        ("[3, 3]", ".4 .3 2 0 0 0 .6 .7 1 0.98", [(16, 6), (24, 14)]),
        ("[3, 2]", ".4 .3 0 0 -1 -1", [(16, 6)]),
        ("[3, 2]", ".4 .3 .6 .7 .5 .5", [(16, 6), (24, 14), (20, 10)]),
        ("[2, 3]", "1 1 2 1.005 -0.005 2", [(39.5, 19.5), (39.5, 0)]),  # on the edge, and rounded
        ("[1, 3]", "0 0 0", []),
        ("\n- 1\n- 3", ".4 .3 2", [(16, 6)]),
    ],
)
def test_a_pose_is_its_box_and_the_keypoints_that_are_labelled(
    tmp_path: Path, shape: str, keypoints: str, expected: list[tuple[float, float]]
) -> None:
    found = of_labels(tmp_path, f"0 .5 .5 .25 .5 {keypoints}\n", f"{NAMES}kpt_shape: {shape}\n")

    assert (found.boxes, found.errors) == ([CORNERS], [])
    assert points(found) == [pytest.approx(point) for point in expected]


def test_a_pose_with_another_number_of_keypoints_is_named(tmp_path: Path) -> None:
    lines = f"0 .5 .5 .25 .5 .4 .3 2\n{BOX}"

    found = of_labels(tmp_path, lines, f"{NAMES}kpt_shape: [2, 3]\n")

    assert found.boxes == [CORNERS]
    assert found.errors == [
        "labels/a.txt: line 1: must be a class, x y width height, and 2 keypoints of 3 numbers (kpt_shape)"
    ]


@pytest.mark.parametrize("shape", ["17", "[17]", "[17, 4]", "[0, 3]", "[a, b]", "{a: 1}", "[17, 3, 1]"])
def test_a_kpt_shape_that_is_none_is_refused(tmp_path: Path, shape: str) -> None:
    with pytest.raises(InputUnavailable, match=r"data\.yaml: kpt_shape must be two whole numbers"):
        of_labels(tmp_path, BOX, f"{NAMES}kpt_shape: {shape}\n")


@pytest.mark.parametrize(
    "content",
    [
        "names: [no, 'dog']",
        "names:\n- no\n- dog",
        "names: {0: no, 1: dog}",
        "names:\n  1: dog\n  0: no\n",
        "\ufeffnames: [no, dog]",
        "names: ['no', 1.0]",
        "train: x\r\nnames: [no, ~]\r\n",
    ],
)
def test_names_of_classes_are_the_text_that_is_written(tmp_path: Path, content: str) -> None:
    assert of_labels(tmp_path, BOX, content).labels == {"a.png": ["no"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: {cat: 0, dog: 1}", "must be a list, or names by number"),
        ("names: cat", "must be a list, or names by number"),
        ("names: {0: cat, 0: dog}", "class 0 has two names"),
        ("names: [[cat]]", "each must be a single value"),
        ("nc: 2", "must be a list, or names by number"),
        ("", "must be a list, or names by number"),
    ],
)
def test_a_data_yaml_without_names_is_refused_with_the_reason(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(InputUnavailable) as refused:
        of_labels(tmp_path, BOX, content)
    assert str(refused.value) == f'{tmp_path}/data.yaml has no "names" of classes: {message}'


def test_a_class_without_a_name_is_not_called_by_another(tmp_path: Path) -> None:
    found = of_labels(tmp_path, f"{BOX}{DOG}", "names: ['', dog]")

    assert found.labels == {"a.png": ["dog"]}
    assert found.errors == ["labels/a.txt: line 1: class 0 has no name in data.yaml"]


def test_classes_that_share_a_name_are_named(tmp_path: Path) -> None:
    found = of_labels(tmp_path, f"{BOX}{DOG}", "names: [cat, cat, dog]")

    assert found.labels == {"a.png": ["cat", "cat"]}
    assert found.errors == ["data.yaml: names: 'cat' is the name of classes 0, 1: they become one"]


LAYOUTS: Mapping[str, tuple[str, str, Tree]] = {
    "Ultralytics": ("images/train/a.png", "labels/train/a.txt", {"data.yaml": NAMES}),
    "Ultralytics, another name": (
        "images/a.png",
        "labels/a.txt",
        {"coco8.yaml": NAMES, "hyp.yaml": "lr0: 1"},
    ),
    "Roboflow": (
        "train/images/a.png",
        "train/labels/a.txt",
        {"data.yaml": f"train: ../train/images\n{NAMES}", "README.roboflow.txt": "Provided by\n"},
    ),
    "Roboflow, Darknet": ("train/a.png", "train/a.txt", {"train/_darknet.labels": "cat\ndog"}),
    "CVAT": (
        "obj_train_data/a.png",
        "obj_train_data/a.txt",
        {
            "obj.names": "cat\ndog\n",
            "obj.data": "classes = 2\nnames = data/obj.names\n",
            "train.txt": "data/obj_train_data/a.png\n",
        },
    ),
    "Darknet": ("a.png", "a.txt", {"voc.names": "cat\r\ndog\r\n", "train.txt": "a.png\n"}),
    "VOC in Darknet": ("VOC/JPEGImages/a.png", "VOC/labels/a.txt", {"VOC/voc.names": "cat\ndog\n"}),
    "labelImg": ("a.png", "a.txt", {"classes.txt": "\ufeffcat\ndog\n"}),
    "Label Studio": ("images/a.png", "labels/a.txt", {"classes.txt": "cat\ndog\n", "notes.json": "{}"}),
    "images among labels": ("labels/a.png", "labels/a.txt", {"labels/classes.txt": "cat\ndog\n"}),
    "labels in capitals": ("Images/a.png", "Labels/a.txt", {"data.yaml": NAMES}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_may_lie_as_each_tool_puts_them(tmp_path: Path, layout: str) -> None:
    image, label, more = LAYOUTS[layout]
    written(tmp_path, {image: IMAGE, label: DOG, **more})

    found = Import(tmp_path)

    assert found.errors == []
    [[name, labels]] = found.labels.items()
    assert labels == ["dog"]
    assert found.images[name] == tmp_path / image
    if "data.yaml" in more:
        assert Import(tmp_path / "data.yaml").labels == found.labels


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_may_be_separate_from_the_images(tmp_path: Path, layout: str) -> None:
    image, label, more = LAYOUTS[layout]
    written(tmp_path / "set", {label: DOG, **more})
    written(tmp_path / "photographs", {Path(image).name: IMAGE})

    found = Import(tmp_path / "set", tmp_path / "photographs")

    assert found.errors == []
    assert [*found.images.values()] == [tmp_path / "photographs/a.png"]


@pytest.mark.parametrize(
    "source", ["set/labels", "set/labels/train", "set/labels/train/a.txt", "set/data.yaml"]
)
def test_a_part_of_a_data_set_has_the_names_and_images_of_the_whole(tmp_path: Path, source: str) -> None:
    tree: Tree = {"set/data.yaml": NAMES, "set/labels/train/a.txt": DOG, "set/images/train/a.png": IMAGE}
    written(tmp_path, tree)

    found = Import(tmp_path / source)

    assert ([*found.labels.values()], found.errors) == ([["dog"]], [])


def test_a_data_set_below_a_folder_that_is_called_labels_has_its_images_beside(tmp_path: Path) -> None:
    written(tmp_path, {"labels/set/a.png": IMAGE, "labels/set/a.txt": BOX, "images/set/a.png": IMAGE})

    found = Import(tmp_path / "labels/set")

    assert found.images == {"a.png": tmp_path / "labels/set/a.png"}


def test_without_names_the_numbers_of_classes_are_their_labels(tmp_path: Path) -> None:
    written(tmp_path, {"a.png": IMAGE, "a.txt": "7.0 .5 .5 .25 .5\n"})

    found = Import(tmp_path)

    assert (found.labels, found.errors) == ({"a.png": ["7"]}, [])


def test_a_data_yaml_above_the_source_is_named_and_not_used(tmp_path: Path) -> None:
    written(tmp_path, {"data.yaml": NAMES, "train/images/a.png": IMAGE, "train/labels/a.txt": DOG})

    found = Import(tmp_path / "train", root=tmp_path)

    assert found.labels == {"a.png": ["1"]}
    assert found.errors == ["data.yaml: is not used, because it is above train: give it as SOURCE"]


def test_each_folder_has_the_names_of_its_own_list(tmp_path: Path) -> None:
    written(tmp_path, {f"{folder}/{name}.png": IMAGE for folder, name in (("one", "a"), ("two", "b"))})
    written(tmp_path, {"one/a.txt": BOX, "one/classes.txt": "cat\n"})
    written(tmp_path, {"two/b.txt": BOX, "two/classes.txt": "dog\n"})

    found = Import(tmp_path)

    assert found.labels == {"one/a.png": ["cat"], "two/b.png": ["dog"]}


def test_a_list_that_contradicts_data_yaml_is_named(tmp_path: Path) -> None:
    tree: Tree = {
        "data.yaml": NAMES,
        "labels/classes.txt": "dog\ncat\n",
        "labels/a.txt": BOX,
        "images/a.png": IMAGE,
    }
    written(tmp_path, tree)

    found = Import(tmp_path)

    assert found.labels == {"a.png": ["cat"]}
    assert found.errors == ["labels/classes.txt: names classes differently from data.yaml, which counts"]


@pytest.mark.parametrize(
    "files",
    [{"voc.names": "cat\n", "obj.names": "dog\n"}, {"one.yaml": "names: [cat]", "two.yaml": "names: [dog]"}],
)
def test_names_in_two_files_that_differ_are_refused(tmp_path: Path, files: Tree) -> None:
    written(tmp_path, {**files, "a.png": IMAGE, "a.txt": BOX})

    with pytest.raises(InputUnavailable, match="names the classes in several files, which differ"):
        Import(tmp_path)


def test_a_list_of_names_that_is_not_in_utf_8_is_named_before_anything_is_imported(tmp_path: Path) -> None:
    written(tmp_path, {"a/a.png": IMAGE, "a/a.txt": BOX, "b/b.png": IMAGE, "b/b.txt": BOX})
    written(tmp_path, {"b/classes.txt": "猫\n狗\n".encode("gbk")})

    with pytest.raises(InputUnavailable, match=r"b/classes\.txt is not text in UTF-8"):
        next(iter(read(tmp_path, None)))


def test_images_that_data_yaml_finds_elsewhere_are_named(tmp_path: Path) -> None:
    written(tmp_path, {"elsewhere/images/b.png": IMAGE, "elsewhere/labels/b.txt": BOX})
    description = f"path: {tmp_path}/elsewhere\ntrain: images\nval: gone\n{NAMES}"

    found = of_labels(tmp_path / "set", BOX, description)

    assert [*found.labels] == ["a.png"]
    assert found.errors == [
        f"data.yaml: train: {tmp_path}/elsewhere/images is not below the folder of this file, "
        "and is left out: copy this file to there"
    ]


def test_labels_that_cannot_be_imported_are_named(tmp_path: Path) -> None:
    tree: Tree = {
        "data.yaml": NAMES,
        "labels/none.txt": BOX,
        "labels/two.txt": BOX,
        "images/two.png": IMAGE,
        "images/two.jpg": IMAGE,
        "labels/broken.txt": BOX,
        "images/broken.png": b"no image",
        "labels/binary.txt": b"\xff\xfe\xfd",
        "images/binary.png": IMAGE,
        "labels/fine.txt": BOX,
        "images/fine.png": IMAGE,
        "images/fine.txt": DOG,
    }
    written(tmp_path, tree)

    found = Import(tmp_path)

    assert found.labels == {"fine.png": ["cat"], "images/two.jpg": [], "images/two.png": []}
    binary, *others = found.errors
    assert binary.startswith("labels/binary.txt is not text in UTF-8")
    assert others == [
        "labels/broken.txt: has an image that cannot be read: images/broken.png",
        "labels/none.txt: has no image none in images",
        "labels/two.txt: has 2 images: two.jpg, two.png",
        "images/fine.txt: is left out: the labels of fine.png are those in labels/fine.txt",
    ]


def test_notes_and_lists_of_images_are_no_labels(tmp_path: Path) -> None:
    notes = {
        "README.txt": "Made in 2024\n",
        "train.txt": "images/a.png\n",
        "images/a.txt": "a cat in a tree\n",
    }
    written(tmp_path, notes)

    found = of_labels(tmp_path, BOX)

    assert (found.labels, found.errors) == ({"a.png": ["cat"]}, [])


def test_text_beside_an_image_is_its_label_file_where_there_are_no_others(tmp_path: Path) -> None:
    written(tmp_path, {"a.png": IMAGE, "a.txt": "a cat in a tree\n", "b.png": IMAGE, "b.txt": ""})

    found = Import(tmp_path)

    assert found.prompts == {"a.png": [], "b.png": []}
    assert found.errors == ["a.txt: line 1: must be a number, got 'a'"]


def test_images_without_a_label_file_have_no_prompts_and_are_no_error(tmp_path: Path) -> None:
    written(tmp_path, {"images/test/b.jpg": IMAGE, "images/c.JPG": IMAGE, ".hidden/notes.md": "x"})

    found = of_labels(tmp_path, BOX)

    assert {name: len(prompts) for name, prompts in found.prompts.items()} == {
        "a.png": 1,
        "images/test/b.jpg": 0,
        "images/c.JPG": 0,
    }
    assert found.errors == []


def test_an_image_without_objects_has_no_prompts_and_is_no_error(tmp_path: Path) -> None:
    found = of_labels(tmp_path, "")

    assert (found.prompts, found.errors) == ({"a.png": []}, [])


def test_links_to_folders_of_labels_are_named(tmp_path: Path) -> None:
    written(tmp_path, {"far/a.txt": BOX, "set/data.yaml": NAMES})
    (tmp_path / "set/labels").symlink_to(tmp_path / "far")

    found = read(tmp_path / "set", None)

    assert str(next(found)) == f"{tmp_path}/set/labels: is a link to a folder, which is not followed"
    with pytest.raises(InputUnavailable, match="no YOLO labels in"):
        next(found)


@pytest.mark.parametrize("tree", [{}, {"data.yaml": NAMES}, {"a.png": IMAGE}, {"notes.txt": "hello"}])
def test_a_folder_without_labels_is_refused(tmp_path: Path, tree: Tree) -> None:
    with pytest.raises(InputUnavailable, match="no YOLO labels in"):
        Import(written(tmp_path, tree))
