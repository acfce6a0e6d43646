"""Files that are still being written are not taken, however they are written."""

import fcntl
import json
import mmap
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.folders import BOX, Folders, drop_pair
from support.images import encoded, image_of
from support.process import running_sampoll, sampoll, until

from sampoll.files.open_files import is_being_written

IMAGE = encoded(image_of(64, 64), "JPEG")
WATCH = ("--continuous", "--model", "support.fakes:boxes")


def test_a_file_is_not_taken_while_its_writer_pauses_for_longer_than_the_settle_time(
    folders: Folders,
) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--settle", 0.1) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        (folders.input / "a.json").write_text(json.dumps(BOX))
        with (folders.input / "a.jpg").open("wb") as writer:
            writer.write(IMAGE[:1000])
            writer.flush()
            drop_pair(folders.input, "after")
            until(lambda: "after.json" in folders.results, "a pair that came later and is complete")
            time.sleep(1.5)  # many settle times
            assert "a.json" not in folders.results
            assert folders.waiting == ["a.jpg", "a.json"]
            writer.write(IMAGE[1000:])
        until(lambda: "a.json" in folders.results, "the result, once the writer has closed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (folders.input / "done" / "a.jpg").read_bytes() == IMAGE


def test_a_file_is_not_taken_while_its_writer_closes_pauses_and_appends(
    folders: Folders,
) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--settle", 1.5) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        (folders.input / "a.json").write_text(json.dumps(BOX))
        for start in range(0, len(IMAGE), 1000):
            with (folders.input / "a.jpg").open("ab") as writer:
                writer.write(IMAGE[start : start + 1000])
            time.sleep(0.3)
        until(lambda: "a.json" in folders.results, "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (folders.input / "done" / "a.jpg").read_bytes() == IMAGE


def test_a_file_that_is_replaced_is_taken_as_it_is_in_the_end(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--settle", 1.0) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        drop_pair(folders.input, "a", image=image_of(8, 8))
        time.sleep(0.3)
        (folders.input / ".upload").write_bytes(IMAGE)
        (folders.input / ".upload").rename(folders.input / "a.jpg")
        (folders.input / "a.json").write_text(json.dumps(BOX))
        until(lambda: "a.json" in folders.results, "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (folders.input / "done" / "a.jpg").read_bytes() == IMAGE


def test_with_a_ready_suffix_nothing_is_taken_before_its_marker(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    drop_pair(folders.input, "b")
    (folders.input / "b.ready").touch()

    run = sampoll(
        "run", *folders.flags, "--settle", 60, "--ready-suffix", ".ready", "--model", "support.fakes:boxes"
    )

    assert run.returncode == 0
    assert folders.results == ["b.json", "b.png"]
    assert folders.done == ["b.jpg", "b.json", "b.ready"]
    assert folders.waiting == ["a.jpg", "a.json"]


def test_a_half_pair_fails_after_pair_timeout(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--pair-timeout", 1) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        (folders.input / "a.jpg").write_bytes(IMAGE)
        (folders.input / "b.prompt").write_text("{}")
        until(lambda: len(folders.failed) == 4, "both failures")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    messages = [
        json.loads((folders.input / "failed" / f"{name}.error.json").read_text())["error"]["message"]
        for name in "ab"
    ]
    assert messages == [
        "no prompt came for a.jpg in time (--pair-timeout)",
        "no image came for b.prompt in time (--pair-timeout)",
    ]


# What the operating system can tell


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 5000)
    return path


def test_a_file_that_is_only_open_for_reading_is_not_being_written(file: Path) -> None:
    assert is_being_written(file) is False
    with file.open("rb"):
        assert is_being_written(file) is False


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_that_is_open_for_writing_is_being_written(file: Path, mode: str) -> None:
    with file.open(mode):
        assert is_being_written(file) is True
    assert is_being_written(file) is False


def test_a_file_that_is_mapped_for_writing_is_being_written(file: Path) -> None:
    with file.open("r+b") as opened:
        mapping = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_WRITE)
    assert is_being_written(file) is True
    mapping.close()
    assert is_being_written(file) is False


WRITER_COMES = """
import fcntl, os, subprocess, sys
from pathlib import Path
from sampoll.files.open_files import is_being_written

lease, path = fcntl.fcntl, sys.argv[1]
write = f"import os; os.open({path!r}, os.O_WRONLY | os.O_NONBLOCK)"

def interrupted(descriptor, command, *more):
    result = lease(descriptor, command, *more)
    if command == fcntl.F_SETLEASE and more == (fcntl.F_RDLCK,):
        subprocess.run([sys.executable, "-c", write], stderr=subprocess.DEVNULL)
    return result

fcntl.fcntl = interrupted
print(is_being_written(Path(path)))
"""


def test_a_writer_that_comes_while_the_system_is_asked_does_not_end_the_process(file: Path) -> None:
    asked = subprocess.run([sys.executable, "-c", WRITER_COMES, file], capture_output=True, text=True)

    assert (asked.returncode, asked.stdout) == (0, "False\n"), asked.stderr


def test_whether_a_file_is_being_written_is_unknown_where_the_system_cannot_tell(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_being_written(file.with_name("nowhere")) is None
    file.with_name("link").symlink_to(file)
    assert is_being_written(file.with_name("link")) is None

    def refuse(*_: object) -> int:
        raise PermissionError(13, "not the owner")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    assert is_being_written(file) is None
