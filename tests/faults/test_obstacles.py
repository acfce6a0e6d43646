"""One file, folder or name that cannot be used costs only itself: it is named, and all others are done."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.folders import Folders, drop_pair, files_below, names_in
from support.process import running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")
GOOD = ("b", "c", "d")
SOMEONE_ELSE = 4711

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user, or the right to chattr")


def run(folders: Folders, *flags: object) -> CompletedProcess[str]:
    return sampoll("run", *folders.flags, *BOXES, *flags, unprivileged=True)


@pytest.fixture
def with_good_pairs(folders: Folders) -> Folders:
    for name in GOOD:
        drop_pair(folders.input, name)
    return folders


def assert_good_pairs_are_done(folders: Folders) -> None:
    assert folders.done == sorted(f"{name}{suffix}" for name in GOOD for suffix in (".jpg", ".json"))
    assert folders.failed == []


def drop_in(folders: Folders, folder: str, *names: str) -> Path:
    directory = folders.input / folder
    directory.mkdir(parents=True)
    for name in names:
        drop_pair(directory, name)
    return directory


def as_others(folders: Folders) -> None:
    """The pair of another user, in a folder whose sticky bit lets only owners move files."""
    drop_pair(folders.input, "a")
    for path in (folders.input / "a.jpg", folders.input / "a.json", folders.input):
        os.chown(path, SOMEONE_ELSE, SOMEONE_ELSE)
    folders.input.chmod(0o1777)


def immutable(name: str, flag: str) -> Callable[[Folders], None]:
    def drop(folders: Folders) -> None:
        drop_pair(folders.input, "a")
        change = subprocess.run(["chattr", flag, folders.input / name], check=False)
        if change.returncode != 0:
            pytest.skip("this filesystem has no such flag")

    return drop


@pytest.fixture
def movable_again(folders: Folders) -> Iterator[None]:
    yield
    subprocess.run(["chattr", "-R", "-f", "-ia", folders.input], check=False)


@as_root
@pytest.mark.usefixtures("movable_again")
@pytest.mark.parametrize(
    "drop",
    [as_others, immutable("a.jpg", "+i"), immutable("a.json", "+i"), immutable("a.jpg", "+a")],
    ids=["sticky", "immutable image", "immutable prompt", "append-only image"],
)
def test_a_pair_that_cannot_be_moved_is_named_and_the_others_are_done(
    with_good_pairs: Folders, tmp_path: Path, drop: Callable[[Folders], None]
) -> None:
    folders = with_good_pairs
    drop(folders)

    one_shot = run(folders, "--report", tmp_path / "report.jsonl")

    assert_good_pairs_are_done(folders)
    assert one_shot.returncode == 1
    assert one_shot.stderr.count("a: passed over: a.j") == 1
    assert "cannot be moved: Operation not permitted" in one_shot.stderr
    assert "3 done, 0 failed, 1 passed over in" in one_shot.stdout
    assert folders.waiting == ["a.jpg", "a.json"]
    lines = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    [line] = [line for line in lines if line["outcome"] == "passed-over"]
    assert (line["name"], line["code"]) == ("a", "unmovable-input")


def unreadable(folders: Folders) -> Path:
    directory = drop_in(folders, "sub", "x", "y")
    directory.chmod(0o000)
    return directory


def listable_only(folders: Folders) -> Path:
    directory = drop_in(folders, "sub", "x", "y")
    directory.chmod(0o444)
    return directory


def read_only(folders: Folders) -> Path:
    directory = drop_in(folders, "sub", "x", "y")
    directory.chmod(0o555)
    return directory


@pytest.mark.parametrize(
    ("drop", "named"),
    [
        (unreadable, "sub/: passed over: cannot be listed: Permission denied"),
        (listable_only, "sub/: passed over: cannot be listed: Permission denied"),
        (read_only, "sub/*: passed over: its files cannot be moved: Permission denied"),
    ],
)
def test_a_folder_without_permissions_is_named_once_and_the_others_are_done(
    with_good_pairs: Folders, drop: Callable[[Folders], Path], named: str
) -> None:
    folders = with_good_pairs
    directory = drop(folders)
    drop_in(folders, "sub2", "z")

    one_shot = run(folders, "--recursive")
    directory.chmod(0o755)

    done = [name for name in files_below(folders.input / "done") if "/" not in name]
    assert done == sorted(f"{name}{suffix}" for name in GOOD for suffix in (".jpg", ".json"))
    assert names_in(folders.input / "done" / "sub2") == ["z.jpg", "z.json"]
    assert one_shot.returncode == 1
    assert one_shot.stderr.count("passed over: ") == one_shot.stderr.count(named) == 1
    assert "1 passed over" in one_shot.stdout
    assert run(folders, "--recursive").returncode == 0
    assert names_in(folders.output / "sub") == ["x.json", "x.png", "y.json", "y.png"]


def test_a_folder_whose_path_is_too_long_is_named_and_the_others_are_done(with_good_pairs: Folders) -> None:
    folders = with_good_pairs
    before = os.open(".", os.O_RDONLY)
    os.chdir(folders.input)
    try:
        for _ in range(20):
            Path("x" * 250).mkdir()
            os.chdir("x" * 250)
    finally:
        os.fchdir(before)
        os.close(before)

    one_shot = run(folders, "--recursive")
    shutil.rmtree(folders.input / ("x" * 250))

    assert_good_pairs_are_done(folders)
    assert one_shot.returncode == 1
    assert one_shot.stderr.count("passed over: cannot be listed: File name too long") == 1


def test_a_service_goes_on_at_once_and_takes_what_can_be_moved_again(
    folders: Folders, tmp_path: Path
) -> None:
    locked, unwritable = unreadable(folders), drop_in(folders, "other", "z")
    unwritable.chmod(0o555)
    flags = (*folders.flags, *BOXES, "--recursive", "--continuous", "--lease", 2)
    told = (
        "passed over sub/: cannot be listed: Permission denied",
        "passed over other/*: its files cannot be moved: Permission denied",
    )
    with (
        (tmp_path / "log").open("wb") as log,
        running_sampoll("run", *flags, log=log, unprivileged=True) as service,
    ):
        for name in GOOD:
            drop_pair(folders.input, name)
            until((folders.input / "done" / f"{name}.json").exists, name, seconds=10)
        until(
            lambda: all(text in sampoll("status", "-i", folders.input).stdout for text in told),
            "the status tells what is passed over",
        )
        for directory in (locked, unwritable):
            directory.chmod(0o755)
        until((folders.input / "done" / "sub" / "y.json").exists, "the folder that can be read again")
        until((folders.input / "done" / "other" / "z.json").exists, "the folder that can be written again")
        service.terminate()
        assert service.wait(30) == 0

    text = (tmp_path / "log").read_text()
    assert "paused" not in text
    assert text.count("passed over: ") == 2


def taken_by_a_file(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a file")


def unwritable_folder(place: Path) -> None:
    place.mkdir(parents=True)
    place.chmod(0o555)


@pytest.mark.parametrize("spoil", [taken_by_a_file, unwritable_folder])
def test_a_folder_of_the_output_that_cannot_be_used_fails_only_its_pairs(
    with_good_pairs: Folders, spoil: Callable[[Path], None]
) -> None:
    folders = with_good_pairs
    drop_in(folders, "sub", "x")
    drop_in(folders, "sub2", "z")
    spoil(folders.output / "sub")

    one_shot = run(folders, "--recursive")

    assert one_shot.returncode == 1
    assert [name for name in folders.results if name.endswith(".json")] == ["b.json", "c.json", "d.json"]
    assert names_in(folders.output / "sub2") == ["z.json", "z.png"]
    assert files_below(folders.input / "failed") == ["sub/x.error.json", "sub/x.jpg", "sub/x.json"]
    report = json.loads((folders.input / "failed" / "sub" / "x.error.json").read_text())
    assert report["error"]["code"] == "output-failed"
    assert str(folders.output / "sub") in report["error"]["message"]
    assert "4 done, 1 failed" in one_shot.stdout


@pytest.mark.parametrize("spoil", [taken_by_a_file, unwritable_folder])
@pytest.mark.parametrize("kept", ["done", "failed"])
def test_inputs_that_cannot_be_kept_wait_and_hold_up_no_other(
    with_good_pairs: Folders, spoil: Callable[[Path], None], kept: str
) -> None:
    folders = with_good_pairs
    drop_in(folders, "sub", "x")
    if kept == "failed":
        (folders.input / "sub" / "x.json").write_text("{}")
    place = folders.input / kept / "sub"
    spoil(place)

    one_shot = run(folders, "--recursive")

    assert one_shot.returncode == 75
    assert one_shot.stderr.count("sub/x: cannot be moved out of the spool: ") == 1
    assert str(place) in one_shot.stderr
    assert "3 done, 0 failed, 1 to be tried again" in one_shot.stdout

    if place.is_dir():
        place.chmod(0o755)
    else:
        place.unlink()
    [state] = folders.input.glob(".sampoll/deferred/*/.state.jsonl")
    last = json.loads(state.read_bytes().splitlines()[-1])
    state.write_bytes(json.dumps(last | {"not_before": 0.0}).encode())
    again = run(folders, "--recursive")

    assert again.returncode == (1 if kept == "failed" else 0)
    assert [n for n in names_in(place) if not n.endswith("error.json")] == ["x.jpg", "x.json"]


def test_jobs_that_another_user_left_in_the_spool_hold_up_no_other(with_good_pairs: Folders) -> None:
    folders = with_good_pairs
    spool = folders.input / ".sampoll"
    node, job_id = "gone-1-0123abcd", "0123456789abcdef" * 2
    for directory in ("nodes", f"work/{node}/{job_id}", f"deferred/{job_id}"):
        (spool / directory).mkdir(parents=True)
    (spool / "nodes" / node).write_text('{"host": "here", "boot": "b", "pid": 1}')
    unusable = [spool / "nodes" / node, spool / "work" / node, spool / "deferred" / job_id]
    for path in unusable:
        path.chmod(0o000)

    one_shot = run(folders, "--lease", 0.2, "--settle", 0.5)  # so it lasts longer than the lease
    for path in unusable:
        path.chmod(0o700)

    assert_good_pairs_are_done(folders)
    assert one_shot.returncode == 1
    refusal = "passed over: cannot be taken over: Permission denied"
    assert f".sampoll/deferred/{job_id}: {refusal}" in one_shot.stderr
    assert f".sampoll/nodes/{node}: {refusal}" in one_shot.stderr
