"""What all importers have in common: how they find and read files."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.importing import IMAGE, coco, deep, imported

from sampoll.core.errors import InputUnavailable
from sampoll.inputs.importers.base import files_of, image_name, json_of


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"label": "é"}', encoding)

    assert json_of(tmp_path / "a.json") == {"label": "é"}


def test_json_of_python_may_have_values_that_json_has_not(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", {}, {"area": "NAN"})
    source.write_text(source.read_text().replace('"NAN"', "NaN"))
    assert imported("coco", source) == ["a.png"]

    source = coco(tmp_path / "b" / "set", {}, {"bbox": [1, 1, "NAN", 2]})
    source.write_text(source.read_text().replace('"NAN"', "1" * 400))
    assert imported("coco", source)[0].startswith(f"{source}: annotations[0]: ")


def test_a_path_written_on_windows_is_one_with_folders(tmp_path: Path) -> None:
    assert image_name("images\\sub\\a.jpg") == "images/sub/a.jpg"
    for outside in ("C:\\a.jpg", "c:/a.jpg", "..\\a.jpg", "\\\\server\\a.jpg"):
        with pytest.raises(ValueError, match="must be a path below the folder of the images"):
            image_name(outside)


def test_a_source_without_any_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match=r"no \.json file in "):
        imported("labelme", tmp_path)


def test_folders_that_are_not_looked_into_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        "set/a.json",
        "set/closed/b.json",
        "set/.hidden/c.json",
        "other/d.json",
        "photographs/e.jpg",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "set" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "set" / "images").symlink_to(tmp_path / "photographs")
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)

    assert [str(found) for found in files_of(tmp_path / "set", ".json")] == [
        f"{tmp_path}/set/other: is a link to a folder, which is not followed",
        f"{tmp_path}/set/closed: cannot be read: Permission denied",
        f"{tmp_path}/set/a.json",
    ]


def test_files_are_found_whatever_the_case_of_their_extension(tmp_path: Path) -> None:
    (tmp_path / "A.JSON").write_text("")

    assert list(files_of(tmp_path, ".json")) == [tmp_path / "A.JSON"]
