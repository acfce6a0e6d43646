"""Manifests: tables of images and prompts, line by line."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from sampoll.core.errors import InputUnavailable
from sampoll.inputs.importers import csv_table
from sampoll.inputs.importers.write_pairs import prompts_file
from sampoll.inputs.manifest import ListedImage, is_manifest, listed_images

ROWS: list[dict[str, Any]] = [
    {"image": "sub/a.jpg", "x0": 1, "y0": 2, "x1": 30.5, "y1": 40, "label": "cat", "id": "7"},
    {"image": "sub/a.jpg", "x0": 5, "y0": 6, "x1": 7, "y1": 8, "label": None, "id": None},
    {"image": "b.png", "x0": 0, "y0": 0, "x1": 2, "y1": 2, "label": "dog", "id": None},
]


def written_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = [list(rows[0]), *([("" if v is None else str(v)) for v in row.values()] for row in rows)]
    path.write_text("".join(",".join(line) + "\n" for line in lines))
    return path


def written_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def written_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    return path


WRITERS = {"csv": written_csv, "jsonl": written_jsonl, "parquet": written_parquet}


def listed(path: Path) -> list[ListedImage]:
    return list(listed_images(path, path.name))


@pytest.mark.parametrize("kind", WRITERS)
def test_each_kind_of_table_means_what_the_importer_makes_of_it(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / f"boxes.{kind}", ROWS)
    imported = csv_table.read(written_csv(tmp_path / "imported.csv", ROWS), None)

    found = listed(path)

    expected = [(each.name, prompts_file(each.prompts)) for each in imported]  # type: ignore[union-attr]
    assert [(each.name, each.prompts) for each in found] == expected
    assert [each.name for each in found] == ["sub/a.jpg", "b.png"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_list_of_images_without_prompts_is_a_manifest(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / f"images.{kind}", [{"image": "a.jpg"}, {"image": "b.jpg"}])

    assert [(each.name, each.prompts) for each in listed(path)] == [("a.jpg", None), ("b.jpg", None)]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_wrong_line_spoils_its_image_and_no_other(tmp_path: Path, kind: str) -> None:
    wrong = {**ROWS[1], "x1": 4}
    path = WRITERS[kind](tmp_path / f"boxes.{kind}", [ROWS[0], wrong, ROWS[2]])

    a, b = listed(path)

    place = {"csv": "line 3", "jsonl": "line 2", "parquet": "row 2"}[kind]
    assert str(a.error) == f"boxes.{kind}: {place}: x0 must be less than x1, got 5.0 and 4.0"
    assert b.error is None


def test_a_line_without_an_image_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "boxes.jsonl"
    lines = [
        '{"image": "../a.jpg", "x": 1, "y": 2}',
        "[1]",
        "{",
        '{"x": 1}',
        '{"image": "a.txt", "x": 1, "y": 2}',
    ]
    path.write_text("\n".join(lines))

    found = listed(path)

    assert [each.name for each in found] == [""] * 5
    assert [each.place for each in found] == [f"line {number}" for number in range(1, 6)]
    reasons = [str(each.error) for each in found]
    assert "image must be a path below the folder of the images" in reasons[0]
    assert "must be an object of JSON" in reasons[1]
    assert "is not JSON" in reasons[2]
    assert "must name an image" in reasons[3]
    assert "has no extension of an image" in reasons[4]


def test_text_of_excel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("sep=;\nimage;x;y;point\na.jpg;1,5;2;1\n", encoding="utf-16")

    [image] = listed(path)

    assert json.loads(image.prompts or b"") == {"points": [{"x": 1.5, "y": 2.0, "label": 1}]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"picture,x,y\n"),
        ("a.csv", b"image,x,y\n\xff\xfe,1,2\n"),
        ("a.parquet", b"no parquet"),
        ("missing.csv", None),
    ],
)
def test_what_is_no_table_of_images_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InputUnavailable, match=name):
        listed(tmp_path / name)


def test_a_table_is_known_by_its_extension() -> None:
    assert all(map(is_manifest, ("a.csv", "b/A.TSV", "s3://bucket/a.jsonl", "x.ndjson", "y.parquet")))
    assert not any(map(is_manifest, ("photographs", "s3://bucket", "a.json", "csv")))
