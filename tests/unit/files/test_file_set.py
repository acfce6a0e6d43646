"""Files that are replaced together, and nothing that somebody else has put beside them."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from sampoll.core.errors import OutputUnavailable
from sampoll.files.file_set import OURS, replaced_set


def belongs(path: str) -> bool:
    return path.startswith("labels/")


def write(directory: Path, **labels: str) -> None:
    with replaced_set(directory, belongs=belongs) as files:
        for name, content in labels.items():
            files.write(f"labels/{name}.txt", content.encode())
        files.write("index", " ".join(labels).encode())


def content(directory: Path) -> dict[str, str]:
    paths = (path for path in directory.rglob("*") if path.is_file() and path.name != OURS)
    return {str(path.relative_to(directory)): path.read_text() for path in paths}


def test_a_set_replaces_the_whole_set_before_it(tmp_path: Path) -> None:
    write(tmp_path / "set", a="1", b="2")
    (tmp_path / "set/images").mkdir()
    (tmp_path / "set/images/mine").write_text("mine")

    write(tmp_path / "set", b="3", c="4")

    assert content(tmp_path / "set") == {
        "labels/b.txt": "3",
        "labels/c.txt": "4",
        "index": "b c",
        "images/mine": "mine",
    }


def test_the_empty_folders_of_what_is_gone_go_too(tmp_path: Path) -> None:
    with replaced_set(tmp_path, belongs=belongs) as files:
        files.write("labels/sub/a.txt", b"1")
        files.write("labels/b.txt", b"2")
        files.write("index", b"")

    write(tmp_path, b="2")

    assert sorted(path.name for path in tmp_path.iterdir()) == [OURS, "index", "labels"]
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["b.txt"]


def test_the_empty_folders_above_those_go_too(tmp_path: Path) -> None:
    with replaced_set(tmp_path, belongs=belongs) as files:
        files.write("labels/sub/below/a.txt", b"1")
        files.write("index", b"")

    with replaced_set(tmp_path, belongs=belongs) as files:
        files.write("index", b"")

    assert sorted(path.name for path in tmp_path.iterdir()) == [OURS, "index"]


def test_a_folder_in_the_place_of_an_outdated_file_is_kept(tmp_path: Path) -> None:
    write(tmp_path, a="1", b="2")
    (tmp_path / OURS).write_text(json.dumps({"labels/a.txt": None, "labels/b.txt": None, "index": None}))
    (tmp_path / "labels/a.txt").unlink()
    (tmp_path / "labels/a.txt").mkdir()

    with pytest.raises(OutputUnavailable, match=r"labels/a\.txt was not written by sampoll"):
        write(tmp_path, b="3")

    assert content(tmp_path) == {"labels/b.txt": "2", "index": "a b"}


@pytest.mark.parametrize("path", ["labels/mine.txt", "labels/a.txt", "labels/b.txt", "index"])
def test_files_that_sampoll_did_not_write_or_that_were_changed_are_named_and_kept(
    tmp_path: Path, path: str
) -> None:
    write(tmp_path, a="1", b="2")
    (tmp_path / path).write_text("mine")
    before = content(tmp_path)

    with pytest.raises(OutputUnavailable, match=rf"{path} was not written by sampoll, or was changed since"):
        write(tmp_path, b="3", c="4")

    assert content(tmp_path) == before
    (tmp_path / path).unlink()
    write(tmp_path, b="3", c="4")
    assert content(tmp_path) == {"labels/b.txt": "3", "labels/c.txt": "4", "index": "b c"}


def test_a_link_in_the_place_of_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("1")
    (tmp_path / "set/labels").mkdir(parents=True)
    (tmp_path / "set/labels/a.txt").symlink_to(tmp_path / "target")

    with pytest.raises(OutputUnavailable, match=r"labels/a\.txt was not written by sampoll"):
        write(tmp_path / "set", a="1")

    assert (tmp_path / "set/labels/a.txt").is_symlink()


def test_a_folder_in_the_place_of_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()

    with pytest.raises(OutputUnavailable, match="index was not written by sampoll"):
        write(tmp_path, a="1")


def test_what_is_there_with_the_same_content_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path, a="1")
    (tmp_path / OURS).unlink()

    write(tmp_path, a="1")

    assert content(tmp_path) == {"labels/a.txt": "1", "index": "a"}


@pytest.mark.parametrize("replacements", range(5))
def test_after_a_kill_the_next_set_is_whole_and_until_then_there_is_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacements: int
) -> None:
    write(tmp_path, a="1", b="2")
    replace, left = Path.replace, [replacements]

    def killed(source: Path, target: Path) -> Path:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        patched.setattr("sampoll.files.file_set.shutil.rmtree", lambda *_, **__: None)
        with suppress(KeyboardInterrupt):
            write(tmp_path, b="3", c="4")
    there = content(tmp_path)
    if (tmp_path / "index").exists():
        assert there["index"] in ("a b", "b c")
        assert (there["labels/b.txt"], "labels/c.txt" in there) in [("2", False), ("3", True)]

    write(tmp_path, b="5")

    assert content(tmp_path) == {"labels/b.txt": "5", "index": "b"}


def test_a_list_of_files_that_names_others_removes_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    write(tmp_path / "set", a="1")
    ours = json.loads((tmp_path / "set" / OURS).read_text())
    forged = {**ours, "../victim": None, os.fspath(tmp_path / "victim"): None}
    (tmp_path / "set" / OURS).write_text(json.dumps(forged))

    write(tmp_path / "set", b="2")

    assert (tmp_path / "victim").read_text() == "mine"


def test_a_file_of_the_earlier_set_is_kept_unless_it_was_changed(tmp_path: Path) -> None:
    with replaced_set(tmp_path) as files:
        files.write("a", b"1")
        files.write("sub/b", b"2")
        files.write("index", b"")
    (tmp_path / "sub/b").write_text("changed")

    with replaced_set(tmp_path) as files:
        kept = [files.keep(path) for path in ("a", "sub/b", "c")]
        (tmp_path / "sub/b").unlink()
        files.write("index", b"new")

    assert kept == [True, False, False]
    assert content(tmp_path) == {"a": "1", "index": "new"}


def test_sets_of_two_kinds_are_beside_each_other(tmp_path: Path) -> None:
    write(tmp_path, a="1")

    with replaced_set(tmp_path, kind="other") as files:
        files.write("page", b"2")
    write(tmp_path, b="3")

    lists = {".sampoll-other-files.json"}
    assert content(tmp_path).keys() - lists == {"labels/b.txt", "index", "page"}
    with (
        pytest.raises(OutputUnavailable, match="then run sampoll tell"),
        replaced_set(tmp_path, kind="other", command="tell") as files,
    ):
        files.write("index", b"4")


def test_a_file_in_the_place_of_a_folder_is_named_and_nothing_changes(tmp_path: Path) -> None:
    write(tmp_path, a="1")
    (tmp_path / "sub").write_text("mine")

    with (
        pytest.raises(OutputUnavailable, match="sub was not written by sampoll"),
        replaced_set(tmp_path) as files,
    ):
        files.write("sub/a", b"2")

    assert content(tmp_path) == {"labels/a.txt": "1", "index": "a", "sub": "mine"}
