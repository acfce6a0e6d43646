"""What processes that have died say about the jobs that they had in flight."""

import json
from pathlib import Path

import pytest

from sampoll.core.shards import WHOLE, Shard
from sampoll.files.stores.directory import DirectoryStore
from sampoll.transports.batch.begun import BEGUN_FOLDER, Begun


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def started(store: DirectoryStore, shard: Shard = WHOLE) -> Begun:
    """A process that has looked at what others have left."""
    begun = Begun(store, shard)
    begun.recover()
    return begun


def left(store: DirectoryStore) -> int:
    return len(store.listing(BEGUN_FOLDER).files)


def test_jobs_in_flight_together_are_suspected_and_have_no_strike(store: DirectoryStore) -> None:
    started(store).note(["a", "caf\udce9"])

    assert started(store).strikes == {"a": 0, "caf\udce9": 0}
    assert left(store) == 1


def test_each_death_with_one_job_alone_is_a_strike_against_it(store: DirectoryStore) -> None:
    started(store).note(["a", "b"])
    for strikes in range(3):
        again = started(store)
        assert again.strikes == {"a": strikes, "b": 0}
        again.note(["a"])


def test_a_process_that_ends_leaves_nothing_but_what_is_still_suspected(store: DirectoryStore) -> None:
    first = started(store)
    first.note(["a", "b"])
    second = started(store)
    first.close()
    second.note(["a"])
    second.forget("a")
    second.close()

    third = started(store)
    assert third.strikes == {"b": 0}
    third.forget("b")
    third.close()
    assert left(store) == 0


def test_a_process_that_was_asked_to_stop_charges_no_job(store: DirectoryStore) -> None:
    first = started(store)
    first.note(["a"])
    first.note_stopping()

    assert started(store).strikes == {}


def test_jobs_of_another_shard_are_left_to_that(store: DirectoryStore) -> None:
    one, other = Shard(0, 2), Shard(1, 2)
    names = [name for name in "abcdefgh" if one.has(name)]
    started(store, one).note(names)

    assert started(store, other).strikes == {}
    assert started(store, one).strikes == dict.fromkeys(names, 0)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"in_flight": ["a"], "strikes": {"a": "x"}})])
def test_what_is_no_such_file_stays_and_counts_for_nothing(store: DirectoryStore, content: str) -> None:
    store.replace(f"{BEGUN_FOLDER}/x.json", content.encode())

    assert started(store).strikes == {}
    assert left(store) == 1
