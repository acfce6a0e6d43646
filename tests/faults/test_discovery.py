"""Pairs are found without events too, and after the input was moved, replaced or unmounted."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair, names_in
from support.oracle import BAD, GOOD, Dropped
from support.process import SAMPOLL, environment, running_sampoll, until

WATCH = ("--continuous", "--model", "support.fakes:boxes")


@contextmanager
def stopped_in_order(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The service still ends in order after the test."""
    yield
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def until_it_serves(folders: Folders) -> None:
    """Waits until the service has started, and leaves no visible file."""
    drop_pair(folders.input, "first")
    until(lambda: folders.done == ["first.jpg", "first.json"], "the service")
    for path in (*folders.output.glob("first.*"), *(folders.input / "done").iterdir()):
        path.unlink()


def test_without_any_events_a_scan_finds_the_pairs(folders: Folders) -> None:
    with (
        running_sampoll("run", *folders.flags, *WATCH, "--watch", "polling") as process,
        stopped_in_order(process),
    ):
        until_it_serves(folders)
        drop_pair(folders.input, "a")
        until(lambda: folders.results == ["a.json", "a.png"], "the result")


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_where_the_system_allows_no_events_scans_find_the_pairs(
    folders: Folders, limit: str, tmp_path: Path
) -> None:
    script = f'echo 0 > /proc/sys/user/{limit}; exec "$@"'
    arguments = [str(a) for a in (SAMPOLL, "run", *folders.flags, *WATCH)]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["unshare", "-Ur", "sh", "-c", script, "sh", *arguments], env=environment(), stderr=file
        )
    try:
        until_it_serves(folders)
        drop_pair(folders.input, "a")
        until(lambda: folders.results == ["a.json", "a.png"], "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert b"found by scans, not by events" in log.read_bytes()


def test_an_input_that_is_moved_away_is_waited_for_and_everything_in_it_is_done(folders: Folders) -> None:
    away = folders.input.with_name("away")
    dropped = Dropped(folders)
    with running_sampoll("run", *folders.flags, *WATCH) as process, stopped_in_order(process):
        until_it_serves(folders)
        dropped.pair("before", GOOD)
        until(lambda: "before.json" in folders.results, "the first result")
        until(lambda: len(folders.done) == 2, "the end of the first job")
        folders.input.rename(away)
        drop_pair(away, "meanwhile")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        assert folders.results == ["before.json", "before.png"]
        away.rename(folders.input)
        until(lambda: "meanwhile.json" in folders.results, "the result after the return")
        until(lambda: len(folders.done) == 4, "the end of the second job")
    dropped.assert_nothing_is_lost_or_torn()


def test_an_input_that_is_replaced_by_a_new_directory_is_served_at_once(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH) as process, stopped_in_order(process):
        until_it_serves(folders)
        folders.input.rename(folders.input.with_name("old"))
        folders.input.mkdir()
        drop_pair(folders.input, "a")
        until(lambda: folders.results == ["a.json", "a.png"], "the result")
        drop_pair(folders.input, "b")
        until(lambda: "b.json" in folders.results, "the result that events announce")


REMOUNT = """
set -e
mount -t tmpfs tmpfs "$IN"
"$@" &
pid=$!
cp "$PAIR"/first.* "$IN"
while [ ! -e "$IN/done/first.json" ]; do sleep 0.05; done
umount -l "$IN"
cp "$PAIR"/a.* "$IN"                  # into the empty directory below the mount
sleep 2
[ ! -e "$OUT/a.json" ] || exit 21     # an outage is not an input
[ ! -e "$IN/.sampoll" ] || exit 22
mount -t tmpfs tmpfs "$IN"
cp "$PAIR"/b.* "$IN"
for i in $(seq 400); do [ -e "$IN/done/b.json" ] && break; sleep 0.05; done
kill -TERM $pid
wait $pid
cp -r "$IN"/done "$KEPT"
"""


@pytest.mark.usefixtures("namespaces")
def test_a_mount_that_goes_away_is_an_outage_and_not_an_empty_input(folders: Folders, tmp_path: Path) -> None:
    pair = tmp_path / "pair"
    pair.mkdir()
    for name in ("first", "a", "b"):
        drop_pair(pair, name)
    folders.output.mkdir()
    places = {"IN": folders.input, "OUT": folders.output, "PAIR": pair, "KEPT": tmp_path / "kept"}
    arguments = [str(a) for a in (SAMPOLL, "run", *folders.flags, *WATCH)]

    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", REMOUNT, "sh", *arguments],
        env=environment({name: str(path) for name, path in places.items()}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert folders.results == ["b.json", "b.png", "first.json", "first.png"]
    assert names_in(tmp_path / "kept") == ["b.jpg", "b.json"]


def test_folders_are_mirrored_in_results_done_and_failed(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--recursive") as process, stopped_in_order(process):
        until_it_serves(folders)
        for folder in ("", "x", "x/y.d", "done/z", ".hidden", "@eaDir"):
            (folders.input / folder).mkdir(parents=True, exist_ok=True)
            drop_pair(folders.input / folder, "a")
        (folders.input / "x" / "bad.jpg").write_bytes(b"no image")
        (folders.input / "x" / "bad.json").write_text(str(BAD).replace("'", '"'))
        until(lambda: (folders.output / "x" / "y.d" / "a.json").exists(), "the deepest result")
        until(lambda: (folders.input / "failed" / "x" / "bad.error.json").exists(), "the failure")
        until(lambda: (folders.output / "a.json").exists(), "the result in the input itself")
        until(lambda: (folders.output / "x" / "a.json").exists(), "the result in a folder")

    results = sorted(str(p.relative_to(folders.output)) for p in folders.output.rglob("a.*"))
    assert results == ["a.json", "a.png", "x/a.json", "x/a.png", "x/y.d/a.json", "x/y.d/a.png"]
    done = sorted(str(p.relative_to(folders.input / "done")) for p in (folders.input / "done").rglob("a.jpg"))
    assert done == ["a.jpg", "x/a.jpg", "x/y.d/a.jpg", "z/a.jpg"]  # the last one lay there before
    assert (folders.input / "@eaDir" / "a.jpg").exists()


def test_a_whole_tree_that_appears_at_once_is_found(folders: Folders, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in ("p/q/r", "p/s"):
        (tree / folder).mkdir(parents=True)
        drop_pair(tree / folder, "a")
    with running_sampoll("run", *folders.flags, *WATCH, "--recursive") as process, stopped_in_order(process):
        until_it_serves(folders)
        (tree / "p").rename(folders.input / "p")
        until(lambda: (folders.output / "p/q/r/a.json").exists(), "the result")
        until(lambda: (folders.output / "p/s/a.json").exists(), "the other result")


def test_one_name_in_two_folders_is_two_jobs_and_crashes_keep_them_apart(folders: Folders) -> None:
    for folder in ("x", "y"):
        (folders.input / folder).mkdir()
        drop_pair(folders.input / folder, "a")
    with running_sampoll(
        "run", *folders.flags, "--continuous", "--recursive", "--model", "support.fakes:boxes"
    ) as process:
        until((folders.output / "y" / "a.json").exists, "the results")
        process.kill()

    with running_sampoll("run", *folders.flags, "--recursive", "--model", "support.fakes:boxes") as process:
        assert process.wait(60) == 0
    for folder in ("x", "y"):
        assert names_in(folders.output / folder) == ["a.json", "a.png"]
        assert names_in(folders.input / "done" / folder) == ["a.jpg", "a.json"]
