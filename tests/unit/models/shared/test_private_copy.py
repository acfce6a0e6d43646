"""Copies of files of weights that later changes of the files do not reach."""

import mmap
from pathlib import Path

import pytest

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared import private_copy as module
from sampoll.models.shared.private_copy import CHUNK_BYTES, private_copy


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_is_mapped_from_the_copy_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", in_memory)
    path, content = tmp_path / "weights", bytes(range(256)) * (CHUNK_BYTES // 100)
    path.write_bytes(content)
    expected = sha256_of(path)

    with private_copy(path) as copy, copy.path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    path.write_bytes(b"")

    assert copy.sha256 == expected
    assert mapped[:] == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    for name, message in (("missing", "missing cannot be read: No such file"), ("", "Is a directory")):
        with pytest.raises(ModelUnavailable, match=message), private_copy(tmp_path / name):
            pass
