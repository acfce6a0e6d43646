"""What a command writes to standard error: text for people, JSON lines for programs."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from support.folders import Folders, drop_pair
from support.process import SAMPOLL, environment, running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")
NOT_SET = {"SAMPOLL_LOG_FORMAT": ""}
ODD = "a\nb\x1b[31m\u202e"


def lines(stderr: str) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def on_a_terminal(*arguments: object) -> str:
    """What the command writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [SAMPOLL, *map(str, arguments)],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env=environment(NOT_SET),
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
        process.wait()
    os.close(ours)
    return seen.decode()


def test_a_program_reads_a_line_of_json_for_each_job_and_a_summary(folders: Folders) -> None:
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", prompt={})

    run = sampoll("run", *folders.flags, *BOXES, env=NOT_SET)

    said = lines(run.stderr)
    by_pair = {line["pair"]: line for line in said if "pair" in line}
    assert set(by_pair) == {"good", "bad"}
    assert (by_pair["good"]["event"], by_pair["good"]["level"], by_pair["good"]["result"]) == (
        "done",
        "INFO",
        "good",
    )
    assert (by_pair["bad"]["event"], by_pair["bad"]["level"], by_pair["bad"]["code"]) == (
        "failed",
        "ERROR",
        "bad-prompt",
    )
    record = json.loads((folders.output / "good.json").read_text())
    assert by_pair["good"]["job"] == record["meta"]["job_id"]
    assert all(line["timestamp"].endswith("+00:00") for line in said)
    assert said[-1]["event"] == "summary"
    assert said[-1]["message"] == run.stdout.strip()


def test_a_service_logs_a_summary_when_it_is_stopped(folders: Folders) -> None:
    log = folders.input.parent / "log"
    with (
        log.open("wb") as file,
        running_sampoll("run", *folders.flags, *BOXES, "--continuous", log=file, env=NOT_SET) as process,
    ):
        until(lambda: "ready" in log.read_text(), "the service")
        process.terminate()
        assert process.wait(30) == 0

    last = [line for line in log.read_text().splitlines() if line.startswith("{")][-1]
    assert json.loads(last)["event"] == "summary"


def test_the_reason_of_an_end_is_json_too(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, "--model", "vit_b", "--dry-run", "--skip-done", env=NOT_SET)

    assert run.returncode == 69
    assert lines(run.stderr)[-1]["event"] == "end"
    assert "sampoll models pull vit_b" in lines(run.stderr)[-1]["message"]


BUG = """
from sampoll.cli.exit import run_and_exit
from sampoll.cli.logs import set_up_logging
from sampoll.config.resolve import resolve
set_up_logging(resolve({"log-format": %r}, {}), show_progress=False)
run_and_exit(lambda: {}["missing"], "sampoll")
"""


def buggy(chosen: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BUG % chosen], capture_output=True, text=True, check=False, env=environment()
    )


def test_a_bug_is_logged_with_its_traceback() -> None:
    as_json, as_text = buggy("json"), buggy("text")

    assert as_json.returncode == as_text.returncode == 70
    [line] = lines(as_json.stderr)
    assert "this is a bug in sampoll" in line["message"]
    assert "KeyError: 'missing'" in line["exc_info"]
    assert "KeyError: 'missing'" in as_text.stderr
    assert as_text.stderr.splitlines()[-1].startswith("sampoll: this is a bug in sampoll")


BUG_IN_A_THREAD = """
import threading
from sampoll.cli.exit import run_and_exit

def broken():
    raise RuntimeError("a\\x1b]0;t\\x07 of redis://me:hush@host")

def command():
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    return 0

run_and_exit(command, "sampoll")
"""


def test_a_bug_in_a_thread_is_reported_without_control_characters_and_logins() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUG_IN_A_THREAD],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )

    assert done.stderr.startswith("a thread ended because of a bug")
    assert r"RuntimeError: a\x1b]0;t\x07 of redis://***@host" in done.stderr


def test_on_a_terminal_the_log_is_text(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    seen = on_a_terminal("run", *folders.flags, *BOXES, "--log-level", "info")

    assert "INFO a: done [" in seen
    assert '"message"' not in seen


@pytest.mark.parametrize(("chosen", "begins"), [("json", "{"), ("text", "20")])
def test_log_format_sets_the_format_everywhere(folders: Folders, chosen: str, begins: str) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, *BOXES, "--log-format", chosen, env=NOT_SET)

    assert run.stderr.splitlines()
    assert all(line.startswith(begins) for line in run.stderr.splitlines())


@pytest.mark.parametrize("chosen", ["json", "text"])
def test_a_job_is_one_line_whatever_its_name_contains(folders: Folders, chosen: str) -> None:
    drop_pair(folders.input, ODD)
    folders.output.mkdir()

    run = sampoll("run", *folders.flags, *BOXES, "--log-format", chosen)

    [line] = [line for line in run.stderr.split("\n") if "done" in line and "summary" not in line]
    assert not any(character in run.stderr for character in "\x1b\u202e")
    if chosen == "json":
        assert json.loads(line)["pair"] == "a\\nb\\x1b[31m\\u202e"


def test_paths_are_escaped_everywhere_in_text_logs(folders: Folders) -> None:
    odd = folders.input / ODD
    odd.mkdir()

    drop_pair(odd, "a")
    run = sampoll("run", "-i", odd, "-o", folders.output, "--settle", 0.1, *BOXES)

    assert "ready" in run.stderr
    assert "\x1b" not in run.stderr


def test_version_prints_the_versions_of_the_model_libraries() -> None:
    told = sampoll("--version").stdout.splitlines()

    assert [line.split()[0] for line in told] == [
        "sampoll",
        "Python",
        "torch",
        "segment-anything",
        "torchvision",
        "openvino",
    ]
    assert "CUDA" in told[2]
