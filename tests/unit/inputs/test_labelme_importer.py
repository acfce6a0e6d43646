"""LabelMe files as LabelMe 3 to 6 and its users write them."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.images import encoded, image_of

from sampoll.core.errors import JobError
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.inputs.decode import DecodingOptions
from sampoll.inputs.importers.base import AnnotatedImage
from sampoll.inputs.importers.labelme import read
from sampoll.inputs.importers.write_pairs import Imported, write_pairs

HEIGHT, WIDTH = 40, 60
IMAGE = encoded(image_of(HEIGHT, WIDTH))
SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]


def shape(kind: str | None, points: Any, label: str | None = "cat", **more: Any) -> dict[str, Any]:
    """As LabelMe 5 and 6 write them."""
    usual = {"group_id": None, "description": "", "flags": {"occluded": True}, "mask": None}
    return {"label": label, "points": points, "shape_type": kind, **usual, **more}


def saved(path: Path, shapes: list[Any], **more: Any) -> Path:
    usual = {"imagePath": "a.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "6.0.0", "flags": {}, "shapes": shapes, **usual, **more}))
    return path


def prompts_of(folder: Path, *shapes: Any) -> tuple[list[Prompt], list[str]]:
    """What the shapes become, and what is said about those that are passed over."""
    saved(folder / "a.json", list(shapes))
    [image] = [found for found in read(folder, None) if isinstance(found, AnnotatedImage)]
    errors = [str(found) for found in read(folder, None) if isinstance(found, JobError)]
    return list(image.prompts), [error.removeprefix(f"{folder}/a.json: ") for error in errors]


def imported(source: Path, images: Path | None = None) -> tuple[dict[str, int], list[str]]:
    """The pairs with their numbers of prompts, and the errors."""
    outcomes = list(write_pairs(read(source, images), source.parent / "in", DecodingOptions(), copies=False))
    pairs = {found.name: found.prompts for found in outcomes if isinstance(found, Imported)}
    return pairs, [str(found) for found in outcomes if isinstance(found, JobError)]


def png(pixels: Any) -> str:
    return base64.b64encode(encoded(np.array(pixels, np.uint8) * 255)).decode()


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("rectangle", [[8, 9], [2, 3]], (2, 3, 8, 9)),
        ("rectangle", [[2, 9], [8, 3]], (2, 3, 8, 9)),
        ("rectangle", SQUARE, (2, 3, 8, 9)),
        ("polygon", SQUARE, (2, 3, 8, 9)),
        (None, SQUARE, (2, 3, 8, 9)),
        ("oriented_rectangle", [[5, 1], [9, 5], [5, 9], [1, 5]], (1, 1, 9, 9)),
        ("rotation", [[5, 1], [9, 5], [5, 9], [1, 5]], (1, 1, 9, 9)),
        ("circle", [[10, 10], [13, 14]], (5, 5, 15, 15)),
        ("line", [[2, 3], [8, 9]], (2, 3, 8, 9)),
        ("linestrip", [[2, 3], [8, 4], [5, 9]], (2, 3, 8, 9)),
        ("linestrip", [[2, 3.5], [8, 3.5]], (2, 3, 8, 4)),
        ("polygon", [[4, 4]] * 3, (4, 4, 5, 5)),
        ("polygon", [[WIDTH, 4], [WIDTH, 6], [WIDTH, 5]], (WIDTH - 1, 4, WIDTH, 6)),
        ("polygon", [[0, 4], [9, 4], [9, 4]], (0, 4, 9, 5)),
    ],
)
def test_a_shape_becomes_the_box_around_it_which_has_at_least_one_pixel(
    tmp_path: Path, kind: str | None, points: Any, box: tuple[float, ...]
) -> None:
    assert prompts_of(tmp_path, shape(kind, points)) == ([Prompt(box=Box(*box), label="cat")], [])


def test_a_mask_becomes_the_box_around_its_pixels(tmp_path: Path) -> None:
    mask = png([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])

    prompts, errors = prompts_of(tmp_path, shape("mask", [[10, 20], [13, 22]], mask=mask))

    assert (prompts, errors) == ([Prompt(box=Box(12, 21, 14, 22), label="cat")], [])


def test_shapes_of_one_label_and_group_are_one_object(tmp_path: Path) -> None:
    near, far = SQUARE, [[20, 20], [30, 20], [30, 30]]

    prompts, errors = prompts_of(
        tmp_path,
        shape("polygon", near, group_id=1),
        shape("polygon", near, "dog", group_id=1),
        shape("polygon", near),
        shape("polygon", far, group_id=1),
        shape("point", [[5, 6]], group_id=1),
        shape("points", [[7, 8], [8, 8]], group_id=1),
        shape("polygon", far),
        shape("point", [[1, 2]], group_id=0),
        shape("point", [[3, 2]], group_id=0),
    )

    assert errors == []
    assert prompts == [
        Prompt(points=(Point(5, 6, 1), Point(7, 8, 1), Point(8, 8, 1)), box=Box(2, 3, 30, 30), label="cat"),
        Prompt(box=Box(2, 3, 8, 9), label="dog"),
        Prompt(box=Box(2, 3, 8, 9), label="cat"),
        Prompt(box=Box(20, 20, 30, 30), label="cat"),
        Prompt(points=(Point(1, 2, 1), Point(3, 2, 1)), label="cat"),
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (5, "must be a JSON object"),
        (
            shape("circle", [[30, 20]]),
            "a circle must have 2 points, its centre and one on its line, got 1 points",
        ),
        (shape("polygon", []), "a polygon must have 3 points or more, got 0 points"),
        (shape("polygon", [[1, 2], [3, 4]]), "a polygon must have 3 points or more, got 2 points"),
        (shape("point", [[1, 2], [3, 4]]), "a point must have 1 point, got 2 points"),
        (shape("rectangle", [[1, 2]]), "a rectangle must have 2 opposite corners, got 1 points"),
        (shape("line", None), "points must be a list of [x, y]"),
        (shape("line", [[1, 2], [3]]), "points must be a list of [x, y]"),
        (shape("line", [[1, 2], [3, None]]), "must be a number, got None"),
        (shape("polygon", [["nan", 1]] * 3), "x0, y0, x1 and y1 must be finite"),
        (shape("polygon", [["inf", 1]] * 3), "x0, y0, x1 and y1 must be finite"),
        (shape("point", [["nan", 1]]), "x and y must be finite"),
        (shape("cuboid", SQUARE), "shape_type must be one of polygon, rectangle, "),
        (shape("polygon", SQUARE, "x" * 2000), "must not have more than 1000 characters"),
        (shape("mask", [[1, 1], [2, 2]]), "mask must be a PNG in base64"),
        (shape("mask", [[1, 1], [2, 2]], mask="%"), "mask must be a PNG in base64"),
        (shape("mask", [[1, 1], [2, 2]], mask=png([[1]])), "mask has 1x1 pixels, which its points do not"),
        (shape("mask", [[1, 1], [1, 1]], mask=png([[0]])), "mask has no pixel on the object"),
        (shape("mask", [[1.5, 1], [1, 1]], mask=png([[1]])), "must be a whole number, got 1.5"),
    ],
)
def test_a_shape_that_can_be_no_prompt_is_named_and_the_others_are_kept(
    tmp_path: Path, bad: Any, message: str
) -> None:
    prompts, [error] = prompts_of(tmp_path, shape("polygon", SQUARE), bad)

    assert error.startswith("shapes[1]: ")
    assert message in error
    assert prompts == [Prompt(box=Box(2, 3, 8, 9), label="cat")]


@pytest.mark.parametrize("label", [None, ""])
def test_a_shape_without_a_label_is_kept_and_named(tmp_path: Path, label: str | None) -> None:
    prompts, errors = prompts_of(tmp_path, shape("polygon", SQUARE, label))

    assert prompts == [Prompt(box=Box(2, 3, 8, 9))]
    assert errors == ['shapes[0]: has no label: it is imported as "object"']


def test_many_points_of_one_object_are_joined_in_linear_time(tmp_path: Path) -> None:
    points = [shape("point", [[x % WIDTH, x % HEIGHT]], group_id=1) for x in range(50_000)]

    [prompt], _ = prompts_of(tmp_path, *points)

    assert len(prompt.points) == 50_000


@pytest.mark.parametrize(
    ("file", "written", "image"),
    [
        ("a.json", "a.png", "a.png"),
        ("sub/a.json", "a.png", "sub/a.png"),
        ("sub/a.json", "../a.png", "a.png"),
        ("labels/sub/a.json", "..\\..\\images\\sub\\a.png", "images/sub/a.png"),
        ("labels/a.json", ".\\..\\images/a.png", "images/a.png"),
    ],
)
def test_the_image_is_where_its_path_leads_below_the_data_set(
    tmp_path: Path, file: str, written: str, image: str
) -> None:
    saved(tmp_path / "set" / file, [shape("polygon", SQUARE)], imagePath=written)
    (tmp_path / "set" / image).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "set" / image).write_bytes(IMAGE)

    assert imported(tmp_path / "set") == ({file.replace(".json", ".png"): 1}, [])


def test_of_images_elsewhere_the_name_is_enough(tmp_path: Path) -> None:
    saved(tmp_path / "set/sub/a.json", [shape("polygon", SQUARE)], imagePath="C:\\Users\\me\\b.png")
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "images/sub/b.png").write_bytes(IMAGE)

    assert imported(tmp_path / "set", tmp_path / "images") == ({"sub/a.png": 1}, [])


@pytest.mark.parametrize(
    "written", ["gone.tif", "../../a.png", "/etc/passwd", "C:\\a.png", "", "a\0.png", None]
)
def test_an_image_that_is_only_embedded_is_written(tmp_path: Path, written: str | None) -> None:
    data = base64.encodebytes(IMAGE).decode()
    saved(tmp_path / "set/a.json", [shape("polygon", SQUARE)], imagePath=written, imageData=data)

    assert imported(tmp_path / "set") == ({"a.png": 1}, [])
    assert (tmp_path / "in/a.png").read_bytes() == IMAGE


def test_an_image_in_a_file_comes_before_an_embedded_one(tmp_path: Path) -> None:
    other = base64.b64encode(encoded(image_of(8, 8))).decode()
    saved(tmp_path / "set/a.json", [shape("polygon", SQUARE)], imageData=other)
    (tmp_path / "set/a.png").write_bytes(IMAGE)

    assert imported(tmp_path / "set") == ({"a.png": 1}, [])
    assert (tmp_path / "in/a.png").read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "a.png: is not there: no file "),
        ({"imageData": "%"}, "a.json: imageData: must be a JPEG or PNG in base64"),
        (
            {"imageData": "R0lGODlh"},
            "a.json: imageData: must be a JPEG or PNG in base64: it begins like none of them",
        ),
        ({"imageData": 5}, "a.json: imageData: must be a JPEG or PNG in base64"),
        ({"imagePath": "../a.png"}, "a.json: imagePath: must be a path below the folder of the images"),
        ({"imagePath": "C:\\a.png"}, "a.json: imagePath: must be a path below the folder of the images"),
        ({"imagePath": None}, "a.json: imagePath: must be a path below the folder of the images"),
        ({"imagePath": "a\0.png"}, "a.json: imagePath: must be a path that a file can have"),
        ({"imageHeight": "high"}, "a.json: imageHeight and imageWidth: must be a number, got 'high'"),
    ],
)
def test_a_file_without_an_image_is_named(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    saved(tmp_path / "set/a.json", [shape("polygon", SQUARE)], **more)

    pairs, [error] = imported(tmp_path / "set")

    assert pairs == {}
    assert message in error


@pytest.mark.parametrize("is_embedded", [True, False])
def test_an_image_of_another_size_than_the_file_says_is_passed_over(
    tmp_path: Path, is_embedded: bool
) -> None:
    data = base64.b64encode(IMAGE).decode() if is_embedded else None
    saved(tmp_path / "set/a.json", [shape("polygon", SQUARE)], imageWidth=61, imageData=data)
    if not is_embedded:
        (tmp_path / "set/a.png").write_bytes(IMAGE)

    pairs, [error] = imported(tmp_path / "set")

    assert pairs == {}
    assert error == "a.png: has 60x40 pixels, and 61x40 according to the data set"


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "set/a.json", [shape("polygon", SQUARE)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (tmp_path / "set/a.png").write_bytes(IMAGE)

    assert imported(tmp_path / "set") == ({"a.png": 1}, [])
