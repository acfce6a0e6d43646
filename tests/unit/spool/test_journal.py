"""The journal of a node: what is read back from it, and that a job's own file counts more."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core import turns
from sampoll.core.turns import turn
from sampoll.files.files import sync_descriptor
from sampoll.spool import journal as journals
from sampoll.spool.claims import Claim, load, load_each
from sampoll.spool.journal import JOURNAL, opened_journal, read_journal, remove_work
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.recovery import Step
from sampoll.spool.spool import opened
from sampoll.spool.state import JobState, end_line, journaled_states

IDS = [f"{number:032x}" for number in range(3)]
SETTINGS = SpoolSettings(settle_seconds=0, durability="off")


def state(number: int, name: str = "a") -> JobState:
    return JobState(IDS[number], name, (f"{name}.json", f"{name}.jpg"))


def test_the_last_state_of_each_job_counts_until_the_job_ends(tmp_path: Path) -> None:
    with opened_journal(tmp_path) as journal:
        journal.append([state(0), state(1)], sync=False)
        journal.append([state(0).begun(1), state(2)], sync=True)
        journal.end([IDS[1]])
        assert journal.latest(state(0)) == state(0).begun(1)

    assert read_journal(tmp_path) == {IDS[0]: state(0).begun(1), IDS[2]: state(2)}


@pytest.mark.parametrize(
    "line",
    [
        state(0).begun(1).to_json()[:-9],
        end_line(IDS[0])[:-9],
        b"\xff\x00",
        b'{"ended": 7}',
        json.dumps({**json.loads(state(0).to_json()), "folder": "../.."}).encode(),
    ],
)
def test_a_line_that_is_torn_or_not_ours_is_passed_over(line: bytes) -> None:
    content = b"\n" + state(0).to_json() + b"\n" + line + b"\n" + state(1).to_json()

    assert journaled_states(content) == {IDS[0]: state(0), IDS[1]: state(1)}


def test_a_long_journal_is_shortened_to_the_states_of_the_open_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_BYTES", 4000)
    with opened_journal(tmp_path) as journal:
        journal.append([state(0), state(1)], sync=False)
        for attempt in range(1, 200):
            journal.append([replace(state(0), attempts=attempt)], sync=False)
            assert read_journal(tmp_path) == {IDS[0]: replace(state(0), attempts=attempt), IDS[1]: state(1)}
            assert (tmp_path / JOURNAL).stat().st_size < 6000
        journal.end([IDS[1]])

    assert list(read_journal(tmp_path)) == [IDS[0]]
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


@pytest.mark.parametrize("max_bytes", [journals.MAX_BYTES, 100], ids=["synced", "shortened"])
def test_others_go_on_with_their_turn_while_states_are_brought_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    at_the_disk, goes_on = threading.Event(), threading.Event()

    def sync_slowly(descriptor: int) -> None:
        at_the_disk.set()
        assert goes_on.wait(30)
        sync_descriptor(descriptor)

    def begin() -> None:
        with turn():
            journal.append([state(0).begun(1)], sync=True)

    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr("sampoll.spool.journal.sync_descriptor", sync_slowly)
    monkeypatch.setattr("sampoll.files.atomic.sync_descriptor", sync_slowly)
    with opened_journal(tmp_path) as journal:
        journal.append([state(0), state(1)], sync=False)
        monkeypatch.setattr(journal, "_max_bytes", max_bytes)
        beginner = threading.Thread(target=begin)
        beginner.start()
        assert at_the_disk.wait(30)
        with turn():
            goes_on.set()  # from now on, the other thread waits for this turn to end
            journal.append([state(1).begun(2)], sync=False)
            journal.end([IDS[1]])
            journal.forget(IDS[1])
        beginner.join(30)
        assert not beginner.is_alive()

    assert read_journal(tmp_path) == {IDS[0]: state(0).begun(1)}


def test_no_state_is_saved_after_another_process_has_taken_the_node(tmp_path: Path) -> None:
    work = tmp_path / "node"
    work.mkdir()
    with opened_journal(work) as journal:
        remove_work(work)

        with pytest.raises(FileNotFoundError):
            journal.append([state(0)], sync=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("foreign", ["link", "directory", "text"])
def test_what_other_people_put_in_the_place_of_a_journal_is_not_believed(
    tmp_path: Path, foreign: str
) -> None:
    path = tmp_path / JOURNAL
    if foreign == "link":
        (tmp_path / "elsewhere").write_bytes(b"\n" + state(0).to_json())
        path.symlink_to(tmp_path / "elsewhere")
    elif foreign == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"my thesis")

    assert read_journal(tmp_path) == {}


def test_a_state_in_the_directory_of_a_job_counts_more_than_the_journal(tmp_path: Path) -> None:
    directory = tmp_path / IDS[0]
    directory.mkdir()
    with opened_journal(tmp_path) as journal:
        claim = Claim(directory, state(0), journal=journal).saved(state(0).begun(1), sync=False)
        assert not (directory / STATE).exists()
        apart = claim.saved_apart(state(0).begun(1).begun(1), sync=False)
        apart = apart.saved(replace(apart.state, strikes=1), sync=False)

    [loaded] = load_each(tmp_path, lambda *_: pytest.fail("cannot be read"))
    assert loaded.state == apart.state
    assert load(directory).state == apart.state

    (directory / STATE).write_bytes(b"\n{")  # torn when it was written first
    [loaded] = load_each(tmp_path, lambda *_: pytest.fail("cannot be read"))
    assert loaded.state == state(0).begun(1)


def test_jobs_of_a_version_without_a_journal_are_taken_over_with_those_of_one(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    layout.output.mkdir()
    work = layout.work / "host-1-0123abcd"
    for number, name in enumerate("abc"):
        (work / IDS[number]).mkdir(parents=True)
        for suffix in (".json", ".jpg"):
            (work / IDS[number] / f"{name}{suffix}").write_bytes(name.encode())
    (work / IDS[0] / STATE).write_bytes(b"\n" + state(0, "a").begun(1).to_json())
    (work / JOURNAL).write_bytes(
        b"\n" + state(1, "b").begun(2).to_json() + b"\n" + replace(state(2, "c"), folder="sub").to_json()
    )

    with opened(layout, SETTINGS) as spool:
        taken = {claim.state.name: claim for claim in spool.recover()}
        assert {name: (claim.state.attempts, claim.state.suspect) for name, claim in taken.items()} == {
            "a": (1, True),
            "b": (1, True),
            "c": (0, False),
        }
        assert {spool.next_step(claim) for claim in taken.values()} == {Step.TRY}
        for name, claim in taken.items():  # each has its state inside now, whatever happens to a journal
            assert load(claim.directory).state == claim.state, name
        spool.close()

    assert (layout.input / "sub" / "c.jpg").read_bytes() == b"c"
    assert list(layout.work.iterdir()) == []
    assert sorted(path.name for path in layout.deferred.iterdir()) == IDS[:2]
