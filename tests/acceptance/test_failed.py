"""`sampoll failed`: failed pairs are listed, retried and deleted."""

import json
import os
import pty
import subprocess

import pytest
from support.folders import BOX, Folders, drop_pair
from support.process import SAMPOLL, sampoll

BAD = {"box": {"x0": 9, "y0": 0, "x1": 1, "y1": 1}}
BOXES = ("--model", "support.fakes:boxes")


def run(folders: Folders, *flags: object) -> int:
    return sampoll("run", *folders.flags, *BOXES, *flags).returncode


def fail_two(folders: Folders) -> None:
    drop_pair(folders.input, "a", BAD)
    (folders.input / "b.json").write_text(json.dumps(BOX))
    (folders.input / "b.jpg").write_bytes(b"no image")
    assert run(folders) == 1


def test_failed_pairs_are_listed_for_people_and_for_programs(folders: Folders) -> None:
    fail_two(folders)

    listed = sampoll("failed", "list", "-i", folders.input)
    assert listed.returncode == 0
    a, b = listed.stdout.splitlines()
    assert a.startswith("a  ")
    assert "1 try  bad-prompt: a.json: box: x0 must be less than x1" in a
    assert b.startswith("b  ")
    assert "bad-image" in b
    [only] = json.loads(
        sampoll("failed", "list", "-i", folders.input, "--json", "--code", "bad-image").stdout
    )
    assert (only["name"], only["code"], only["attempts"]) == ("b", "bad-image", 1)
    assert only["files"] == [str(folders.input / "failed" / name) for name in ("b.jpg", "b.json")]


def test_a_corrected_pair_is_done_and_the_history_of_one_that_fails_again_grows(folders: Folders) -> None:
    fail_two(folders)
    (folders.input / "failed" / "a.json").write_text(json.dumps(BOX))
    before = json.loads((folders.input / "failed" / "b.error.json").read_text())
    shown = sampoll("failed", "show", "a", "-i", folders.input).stdout
    assert [line.rpartition(", ")[2] for line in shown.splitlines()[-2:]] == [
        "unchanged since",
        "changed since",
    ]

    retried = sampoll("failed", "retry", "--all", "-i", folders.input)
    assert retried.stdout.startswith("2 to be tried again")
    assert folders.failed == []
    assert run(folders) == 1

    assert folders.results == ["a.json", "a.png"]
    assert folders.done == ["a.jpg", "a.json"]
    after = json.loads((folders.input / "failed" / "b.error.json").read_text())
    assert after["job_id"] == before["job_id"]
    assert after["attempts"] == 2
    assert after["earlier_errors"] == [before["error"]]
    assert after["error"]["sha256"] == before["error"]["sha256"]
    assert sorted(before["error"]["sha256"]) == ["b.jpg", "b.json"]


def test_a_failed_pair_that_was_versioned_is_retried_under_its_own_name(folders: Folders) -> None:
    for _ in range(2):
        drop_pair(folders.input, "a", BAD)
        assert run(folders) == 1
    (folders.input / "failed" / "a~2.json").write_text(json.dumps(BOX))

    assert sampoll("failed", "retry", "a~2", "-i", folders.input).returncode == 0
    assert run(folders) == 0

    assert folders.results == ["a.json", "a.png"]
    assert folders.failed == ["a.error.json", "a.jpg", "a.json"]


def test_a_retried_pair_does_not_stop_an_exclusive_run(folders: Folders) -> None:
    fail_two(folders)
    (folders.input / "failed" / "a.json").write_text(json.dumps(BOX))
    sampoll("failed", "retry", "a", "-i", folders.input)
    assert run(folders, "--exclusive") == 0
    assert folders.results == ["a.json", "a.png"]


def test_purge_deletes_only_the_chosen_pairs(folders: Folders) -> None:
    fail_two(folders)
    (folders.input / "failed" / "notes.txt").write_text("mine")

    assert sampoll("failed", "purge", "--all", "--older-than", "1", "-i", folders.input).stdout == (
        "0 deleted, 0 bytes freed\n"
    )
    assert sampoll("failed", "purge", "a", "-i", folders.input).stdout.startswith("1 deleted, ")
    assert folders.failed == ["b.error.json", "b.jpg", "b.json", "notes.txt"]
    sampoll("failed", "purge", "--all", "-i", folders.input)
    assert folders.failed == ["notes.txt"]


def test_on_a_terminal_purge_asks_first(folders: Folders) -> None:
    fail_two(folders)

    def purge(answer: str, *more: str) -> int:
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        command = [str(SAMPOLL), "failed", "purge", "a", "-i", str(folders.input), *more]
        ended = subprocess.run(command, stdin=theirs, stderr=subprocess.PIPE, text=True, timeout=60)
        os.close(theirs)
        os.close(ours)
        assert ("Delete 1 failed pair, with images and prompts?" in ended.stderr) == (not more)
        return ended.returncode

    assert purge("n\n") == 1
    assert folders.failed == ["a.error.json", "a.jpg", "a.json", "b.error.json", "b.jpg", "b.json"]
    assert purge("y\n") == 0
    assert folders.failed == ["b.error.json", "b.jpg", "b.json"]
    fail_two(folders)
    assert purge("", "--yes") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["retry"], 2, "give their names, or --all"),
        (["retry", "a", "--all"], 2, "give their names, or --all"),
        (["show", "nobody"], 2, "no failed pair is called nobody"),
        (["purge", "../../etc/x"], 2, "no failed pair is called ../../etc/x"),
        (["list", "-i", "/nonexistent"], 66, "no input directory /nonexistent"),
    ],
)
def test_missing_contradictory_and_unknown_names_are_refused(
    folders: Folders, arguments: list[str], code: int, message: str
) -> None:
    where = [] if "-i" in arguments else ["-i", str(folders.input)]
    refused = sampoll("failed", *arguments, *where)
    assert (refused.returncode, message in refused.stderr) == (code, True), refused.stderr
