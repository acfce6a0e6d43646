"""The names of the classes of a YOLO data set."""

import json
import time
from pathlib import Path

import pytest
from support.importing import imported, yolo

from sampoll.core.errors import InputUnavailable

MERGES = "".join(f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}\n" for n in range(1, 40))


PAIRS = "".join(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "names",
    [
        "names: [2001-99-99]",
        "names: !!timestamp x",
        "names: [!!float x, !!int y, !!bool z]",
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
