"""Tables of prompts, as programs write them, and with what is wrong in them."""

import json
import time
from pathlib import Path

import pytest
from support.importing import IMAGE, Outcome, imported

from sampoll.core.errors import InputUnavailable
from sampoll.inputs.importers.base import AnnotatedImage
from sampoll.inputs.importers.registry import load_importer


def of_csv(folder: Path, content: str | bytes) -> Outcome:
    """The prompts of a.png by a table, and the errors without the name of the file."""
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(IMAGE)
    source = folder / "table.csv"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    errors = imported("csv", source)
    pair = folder / "pairs" / "a.json"
    document = json.loads(pair.read_bytes()) if pair.exists() else {"prompts": []}
    return document.get("prompts", [document]), [
        e.removeprefix(f"{source}: ") for e in errors if e != "a.png"
    ]


@pytest.mark.parametrize(
    "table",
    [
        "image,x0,y0,x1,y1,label\na.png,1,2,3,4.5,cat\n",
        "image;x0;y0;x1;y1;label\r\na.png;1;2;3;4,5;cat\r\n;;;;;\r\n",
        "image\tx0\ty0\tx1\ty1\tlabel\na.png\t1\t2\t3\t4.5\tcat\n",
        "sep=;\nimage;x0;y0;x1;y1;label\na.png;1;2;3;4.5;cat\n",
        "image, x0, y0, x1, y1, label\na.png, 1, 2, 3, 4.5, cat\n",
        '"image","x0","y0","x1","y1","label"\r"a.png","1","2","3","4.5","cat"\r',
        "\ufeffimage,x0,y0,x1,y1,label\na.png,1,2,3,4.5,cat\n",
        "image,x0,y0,x1,y1,label\na.png,1,2,3,4.5,cat\n".encode("utf-16"),
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,32,24,cat,1,2,3,4.5\n",
        "image_path,xmin,ymin,xmax,ymax,label\na.png,1,2,3,4.5,cat\n",
        "file_name,class_name,confidence,x_min,y_min,x_max,y_max\na.png,cat,0.5,1,2,3,4.5\n",
        "image,x1,y1,x2,y2,label\na.png,1,2,3,4.5,cat\n",
    ],
)
def test_a_table_is_read_as_programs_write_it(tmp_path: Path, table: str | bytes) -> None:
    assert of_csv(tmp_path / "set", table) == (
        [{"box": {"x0": 1, "y0": 2, "x1": 3, "y1": 4.5}, "label": "cat"}],
        [],
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("a.png,1,1,9,,,,,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,1,1,9,,5,5,,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,,,,,5,,,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,,,,,,,cat,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,1,1,9,9,,,cat,,7", "has 10 values for 9 columns"),
        ("a.png,,,,,5,5,dog,7", "id 7 has another label, 'cat', in line 2"),
        ("a.png,1,1,9,9,,,,7", "id 7 has a second box: a prompt has one"),
        (",1,1,9,9,,,,", "image must be a path below the folder of the images"),
        ("a.png,1,1,9,9,,," + "x" * 1001 + ",", "label and id must not have more than 1000 characters"),
    ],
)
def test_a_line_of_a_table_that_is_wrong_is_named(tmp_path: Path, line: str, error: str) -> None:
    first = "image,x0,y0,x1,y1,x,y,label,id\na.png,1,1,9,9,,,cat,7\n"

    prompts, errors = of_csv(tmp_path / "set", f"{first}{line}\n")

    assert errors == [f"line 3: {error}"]
    assert len(prompts) == 1


def test_lines_of_a_table_that_have_one_id_are_one_prompt(tmp_path: Path) -> None:
    lines = ["a.png,,,,,5,6,,7", "a.png,1,1,9,9,2,3,cat,7", "a.png,,,,,1,1,cat,8", "a.png,,,,,4,4,cat,"]

    prompts, errors = of_csv(tmp_path / "set", "\n".join(["image,x0,y0,x1,y1,x,y,label,id", *lines]))

    assert errors == []
    assert [(prompt.get("id"), len(prompt["points"]), "box" in prompt) for prompt in prompts] == [
        ("7", 2, True),
        ("8", 1, False),
        (None, 1, False),
    ]


def test_an_image_of_a_table_without_values_has_no_prompt(tmp_path: Path) -> None:
    assert of_csv(tmp_path / "set", "image,x1,y1,x2,y2,class\na.png,,,,,\n") == ([], [])


def test_a_table_that_states_another_size_is_about_another_image(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    _, errors = of_csv(tmp_path / "a", f"{header}a.png,64,48,cat,1,1,9,9\n")
    assert errors == ["a.png: has 32x24 pixels, and 64x48 according to the data set"]

    prompts, errors = of_csv(tmp_path / "b", f"{header}a.png,32,24,cat,1,1,9,9\na.png,24,32,cat,1,1,9,9\n")
    assert errors == ["line 3: width and height are not those of an earlier line of the image"]
    assert len(prompts) == 1


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("image,x,y,w,h", "has x and y beside a width or height: name corners x0, y0, x1, y1"),
        ("image,x,y,bbox_width,bbox_height", "has x and y beside a width or height"),
        ("image,x,y,x", "has several columns for x: x, x"),
        ("filename,image_path,x,y", "has several columns for image: filename, image_path"),
        ("image,x_min,y_min,x_max,y_max,y_min", "has several columns for y0: y_min, y_min"),
        ("ImageID,XMin,XMax,YMin,YMax", "needs a first line that names the columns"),
        ("", "needs a first line that names the columns"),
    ],
)
def test_a_table_whose_columns_are_unclear_is_refused(tmp_path: Path, columns: str, reason: str) -> None:
    with pytest.raises(InputUnavailable, match=reason):
        of_csv(tmp_path / "set", f"{columns}\n")


def test_points_with_the_size_of_the_image_are_points_where_a_column_says_so(tmp_path: Path) -> None:
    prompts, errors = of_csv(tmp_path / "set", "image,x,y,point,width,height\na.png,3,4,1,32,24\n")

    assert (prompts[0]["points"], errors) == ([{"x": 3.0, "y": 4.0, "label": 1}], [])


def test_many_lines_of_one_prompt_are_joined_soon(tmp_path: Path) -> None:
    lines = [f"a.png,{index % 32},{index % 24},7" for index in range(40_000)]
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "table.csv").write_text("\n".join(["image,x,y,id", *lines]))
    started = time.process_time()

    [image] = load_importer("csv")(tmp_path / "table.csv", None)

    assert isinstance(image, AnnotatedImage)
    assert len(image.prompts[0].points) == 40_000
    assert time.process_time() - started < 3
