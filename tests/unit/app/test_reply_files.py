"""Replies as files."""

from pathlib import Path

import pytest

from sampoll.app.client.reply_files import write_files

FILES = {".png": b"mask", ".json": b"record"}


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_reply_is_written_once_and_another_of_its_name_as_a_version(tmp_path: Path) -> None:
    assert [write_files(tmp_path, "cat", FILES) for _ in range(2)] == ["cat", "cat"]
    assert write_files(tmp_path, "cat", {**FILES, ".json": b"other"}) == "cat~2"

    assert contents(tmp_path) == {
        "cat.png": b"mask",
        "cat.json": b"record",
        "cat~2.png": b"mask",
        "cat~2.json": b"other",
    }


@pytest.mark.parametrize("name", ["cat.png", "cat.json", "cat.png.new"])
def test_no_file_is_replaced_or_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"somebody else's")

    stem = write_files(tmp_path, "cat", FILES)

    written = {f"{stem}{suffix}": content for suffix, content in FILES.items()}
    assert contents(tmp_path) == {name: b"somebody else's", **written}


def test_a_link_to_nothing_takes_its_name(tmp_path: Path) -> None:
    (tmp_path / "cat.png").symlink_to(tmp_path / "elsewhere.png")

    assert write_files(tmp_path, "cat", FILES) == "cat~2"

    assert not (tmp_path / "elsewhere.png").exists()
