"""Acts on files that either happen or do not."""

import errno
import os
from pathlib import Path

import pytest

from sampoll.files import files
from sampoll.files.atomic import created_file, replace_file
from sampoll.files.files import (
    append_line,
    ensure_below,
    link_unless_taken,
    move_all_unless_taken,
    move_replacing,
    move_unless_taken,
    read_if_regular,
    read_regular,
)


def test_a_move_never_replaces_what_is_there(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")

    assert not move_unless_taken(source, target)
    assert (source.read_text(), target.read_text()) == ("new", "old")


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EINVAL, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_move_works_where_renameat2_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    source, target = tmp_path / "a", tmp_path / "to" / "b"
    target.parent.mkdir()

    def refuses(a: Path, b: Path) -> int:
        # Another filesystem is another one for the source only, not for the copy beside the target.
        return reason if reason != errno.EXDEV or a == source else original(a, b)

    original = files._rename_unless_taken
    monkeypatch.setattr(files, "_rename_unless_taken", refuses)
    source.write_text("content")

    assert move_unless_taken(source, target)

    assert target.read_text() == "content"
    assert not source.exists()
    assert [p.name for p in target.parent.iterdir()] == ["b"]
    source.write_text("second")
    assert not move_unless_taken(source, target)
    assert (source.read_text(), target.read_text()) == ("second", "content")
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def test_a_move_over_a_file_replaces_it_also_across_filesystems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a", tmp_path / "to" / "b"
    target.parent.mkdir()
    target.write_text("old")
    source.write_text("new")
    move_replacing(source, target)
    assert target.read_text() == "new"

    def refuses(self: Path, to: Path) -> Path:
        if self == source:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, to)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", refuses)
    source.write_text("newer")
    move_replacing(source, target)

    assert target.read_text() == "newer"
    assert not source.exists()
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def test_a_move_that_was_cut_off_between_link_and_unlink_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_rename_unless_taken", lambda *_: errno.ENOSYS)
    (tmp_path / "a").write_text("content")
    os.link(tmp_path / "a", tmp_path / "b")

    assert move_unless_taken(tmp_path / "a", tmp_path / "b")

    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_move_that_fails_for_another_reason_raises_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        move_unless_taken(tmp_path / "nowhere", tmp_path / "b")


def test_a_file_is_replaced_whole_even_over_the_remains_of_an_earlier_try(tmp_path: Path) -> None:
    (tmp_path / "a.new").write_text("remains")

    replace_file(tmp_path / "a", b"one", sync=True, is_sole_writer=True)
    replace_file(tmp_path / "a", b"two")

    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "two")]


def test_a_filesystem_that_several_directories_share_is_synced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_filesystem", synced.append)
    (tmp_path / "a").mkdir()

    files.sync_filesystems(tmp_path, tmp_path / "a")
    assert len(synced) == 1

    files.sync_filesystems(tmp_path, Path("/proc"))
    assert set(synced[1:]) == {tmp_path, Path("/proc")}


def test_a_line_that_follows_a_torn_one_is_whole(tmp_path: Path) -> None:
    append_line(tmp_path / "a", b"one", sync=True)
    with (tmp_path / "a").open("ab") as torn:
        torn.write(b"\ntw")
    append_line(tmp_path / "a", b"three", sync=False)
    assert (tmp_path / "a").read_bytes().split(b"\n") == [b"", b"one", b"tw", b"three"]


def test_forcing_a_line_to_the_disk_forces_the_name_of_its_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    append_line(tmp_path / "a", b"one", sync=False)
    assert synced == []
    append_line(tmp_path / "a", b"two", sync=True)
    assert synced == [tmp_path]


@pytest.mark.parametrize("number", [0, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_second_name_that_is_taken_is_refused_whether_or_not_links_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, "no links here")

    if number:
        monkeypatch.setattr("os.link", refused)
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "taken").write_bytes(b"b")
    assert link_unless_taken(tmp_path / "a", tmp_path / "free")
    assert not link_unless_taken(tmp_path / "a", tmp_path / "taken")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"a", "free": b"a", "taken": b"b"}


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")

    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"regular|symbolic"):
            read_regular(tmp_path / name)


def test_several_files_move_together_or_not_at_all(tmp_path: Path) -> None:
    moves = [(tmp_path / name, tmp_path / f"{name}.new") for name in "abc"]
    for source, _ in moves:
        source.write_text(source.name)
    moves[2][1].write_text("somebody else's")

    assert not move_all_unless_taken(moves)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c", "c.new"]

    moves[2][1].unlink()
    assert move_all_unless_taken(moves)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.new", "b.new", "c.new"]


def test_a_file_that_comes_while_another_is_written_under_its_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write_slowly() -> None:
        with created_file(path) as file:
            file.write(b"new")
            path.write_text("somebody else's")

    with pytest.raises(FileExistsError, match="a'"):
        write_slowly()

    assert [p.read_text() for p in tmp_path.iterdir()] == ["somebody else's"]


def no_regular_files(directory: Path) -> list[Path]:
    target, link, pipe, folder = (directory / name for name in ("target", "link", "pipe", "folder"))
    target.write_text("secret")
    link.symlink_to(target)
    os.mkfifo(pipe)
    folder.mkdir()
    return [link, pipe, folder]


def test_nothing_but_a_regular_file_is_read_or_appended_to(tmp_path: Path) -> None:
    for path in no_regular_files(tmp_path):
        assert read_if_regular(path) is None
        with pytest.raises(OSError, match=path.name):
            append_line(path, b"line", sync=False)

    assert (tmp_path / "target").read_text() == "secret"
    assert read_if_regular(tmp_path / "nothing") is None
    assert read_if_regular(tmp_path / "target", at_most=5) is None
    assert read_if_regular(tmp_path / "target", at_most=6) == b"secret"


def test_a_refused_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    for path in no_regular_files(tmp_path):
        read_if_regular(path)

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_directories_are_made_below_their_root_only(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root, outside):
        directory.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file").touch()

    ensure_below(root, root / "a" / "b")
    for name in ("link", "file"):
        with pytest.raises(NotADirectoryError):
            ensure_below(root, root / name / "x")

    assert (root / "a" / "b").is_dir()
    assert list(outside.iterdir()) == []
