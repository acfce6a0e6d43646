"""A checkpoint that was read before is not read again; a changed one is."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared.known_digests import KnownDigests


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was changed long ago."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"first")
    monkeypatch.setattr("sampoll.models.shared.known_digests.now", lambda: time.time() + 3600)
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read as a whole."""
    found: list[Path] = []

    def recorded(path: Path) -> str:
        found.append(path)
        return sha256_of(path)

    monkeypatch.setattr("sampoll.models.shared.known_digests.sha256_of", recorded)
    return found


def test_an_unchanged_file_is_read_once(tmp_path: Path, checkpoint: Path, read: list[Path]) -> None:
    digests = [KnownDigests(tmp_path / "kept").sha256_of(checkpoint) for _ in range(2)]
    assert digests == [hashlib.sha256(b"first").hexdigest()] * 2
    assert read == [checkpoint]


def test_a_file_is_known_by_each_path_that_leads_to_it(
    tmp_path: Path, checkpoint: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (checkpoint, Path(checkpoint.name), checkpoint):
        KnownDigests(tmp_path / "kept").sha256_of(path)
    assert read == [checkpoint]


def rewritten(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as cp -p and rsync -t do


def replaced(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"other")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [rewritten, replaced])
def test_a_change_is_noticed_also_at_equal_size_and_time(
    tmp_path: Path, checkpoint: Path, change: Callable[[Path], None]
) -> None:
    known = KnownDigests(tmp_path / "kept")
    known.sha256_of(checkpoint)

    change(checkpoint)

    assert known.sha256_of(checkpoint) == hashlib.sha256(b"other").hexdigest()


def test_a_file_that_was_just_changed_is_read_each_time(
    tmp_path: Path, checkpoint: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    known = KnownDigests(tmp_path / "kept")
    known.sha256_of(checkpoint)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"files": 1, "sha256": 2}'])
def test_damaged_notes_are_made_again(tmp_path: Path, checkpoint: Path, damage: bytes) -> None:
    known = KnownDigests(tmp_path / "kept")
    known.sha256_of(checkpoint)
    [note] = (tmp_path / "kept").iterdir()
    whole = note.read_bytes()
    note.write_bytes(damage)

    assert known.sha256_of(checkpoint) == hashlib.sha256(b"first").hexdigest()
    assert note.read_bytes() == whole


def test_where_nothing_can_be_kept_the_file_is_read(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "file").write_text("")
    found = KnownDigests(tmp_path / "file" / "kept").sha256_of(checkpoint)
    assert found == hashlib.sha256(b"first").hexdigest()


def test_a_file_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"gone.pth cannot be read: No such file or directory"):
        KnownDigests(tmp_path / "kept").sha256_of(tmp_path / "gone.pth")


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, checkpoint: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.models.shared.private_copy.MAX_BYTES", 4)
    with pytest.raises(ModelUnavailable, match="has 5 bytes, more than weights can have: 4"):
        KnownDigests(tmp_path / "kept").sha256_of(checkpoint)
    assert read == []
