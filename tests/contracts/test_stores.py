"""The contract of every store."""

import errno
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.azure import ENVIRONMENT, azure_container
from support.s3 import Bucket, s3_bucket

from sampoll.core.errors import StorageTrouble
from sampoll.files.stores.directory import DirectoryStore
from sampoll.files.stores.objects import ObjectStore
from sampoll.files.stores.store import Store


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azure_container(tmp_path_factory.mktemp("azurite")) as address:
        yield address


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    return DirectoryStore(tmp_path)


@pytest.fixture
def s3_store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    bucket.clear()
    return ObjectStore(bucket.address("out"), transfers=4, retry_seconds=5)


@pytest.fixture
def azure_store(container: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"{container}/{uuid.uuid4().hex}", transfers=4, retry_seconds=5)


KINDS = ["directory", "s3", pytest.param("azure", marks=pytest.mark.campaign)]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with closing(request.getfixturevalue(f"{request.param}_store")) as store:
        yield store


def test_a_listing_has_the_files_of_a_folder_with_their_sizes_and_the_folders_in_it(store: Store) -> None:
    for path in ("a", "sub/ü ~#%20?*[]{}+&.json", "sub/below/c", "sub.d/e"):
        store.replace(path, b"12")

    top, sub = store.listing(""), store.listing("sub")

    assert (dict(top.files), sorted(top.folders)) == ({"a": 2}, ["sub", "sub.d"])
    assert (dict(sub.files), sorted(sub.folders)) == ({"ü ~#%20?*[]{}+&.json": 2}, ["below"])
    assert store.read("sub/ü ~#%20?*[]{}+&.json") == b"12"


def test_there_is_nothing_in_a_folder_that_is_not_there(store: Store) -> None:
    assert not store.listing("nowhere/below").files


def test_a_file_that_is_missing_or_too_large_is_an_error_of_its_path(store: Store) -> None:
    store.replace("a", b"123")

    with pytest.raises(FileNotFoundError):
        store.read("missing")
    with pytest.raises(OSError, match="has 3 bytes, more than 2") as raised:
        store.read("a", at_most=2)
    assert raised.value.errno == errno.EFBIG
    assert store.read("a", at_most=3) == b"123"


def test_a_file_is_created_once_and_then_replaced_or_deleted(store: Store) -> None:
    assert store.create_all([("n/a", b"1"), ("n/b", b"2")]) == [True, True]
    assert store.create_all([("n/a", b"other"), ("n/c", b"3")]) == [False, True]
    assert store.read("n/a") == b"1"

    store.replace("n/a", b"new")
    store.delete("n/b")
    store.delete("n/b")

    assert dict(store.listing("n").files) == {"a": 3, "c": 1}
    assert store.read("n/a") == b"new"


def test_the_files_of_a_result_are_written_and_its_last_one_only_if_it_is_not_there(store: Store) -> None:
    store.replace("b.json", b"of another")
    store.replace("c.png", b"left by a killed process")

    errors = store.publish(
        [
            [("sub/a.png", b"mask"), ("sub/a.json", b"record")],
            [("b.json", b"record")],
            [("c.png", b"mask"), ("c.json", b"record")],
        ]
    )

    assert [type(error) for error in errors] == [type(None), FileExistsError, type(None)]
    assert dict(store.listing("sub").files) == {"a.png": 4, "a.json": 6}
    assert store.read("b.json") == b"of another"
    assert store.read("c.png") == b"mask"
    assert sorted(store.listing("").files) == ["b.json", "c.json", "c.png"]


def test_a_path_that_no_file_can_have_fails_its_own_result_only(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "file").touch()

    errors = store.publish([[("file/a.png", b""), ("file/a.json", b"")], [("b.json", b"")]])

    assert [type(error) for error in errors] == [NotADirectoryError, type(None)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "file"]


def test_a_directory_that_was_replaced_is_written_no_more(tmp_path: Path) -> None:
    root = tmp_path / "mount"
    root.mkdir()
    store = DirectoryStore(root)
    root.rename(tmp_path / "elsewhere")
    root.mkdir()

    with pytest.raises(StorageTrouble, match="has gone or was replaced: mount it again"):
        store.publish([[("a.json", b"")]])
    with pytest.raises(StorageTrouble, match="has gone or was replaced"):
        store.listing("")


def test_an_error_of_the_disk_is_one_of_all_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a.json")

    monkeypatch.setattr("sampoll.files.stores.directory.create_file", full)
    with pytest.raises(StorageTrouble, match="No space left on device"):
        store.publish([[("a.json", b"")]])
    assert not list(tmp_path.iterdir())
