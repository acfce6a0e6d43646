"""What a run shows at its end, and which commands lead on."""

import re
import shlex
import signal
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair
from support.images import image_of
from support.process import running_sampoll, sampoll, until
from support.terminal import on_a_terminal

BOXES = ("--model", "support.fakes:boxes")


def commands_in(text: str) -> list[list[str]]:
    """The sampoll commands that lines end with."""
    lines = [line for line in text.splitlines() if ": sampoll " in line]
    return [shlex.split(line.partition(": sampoll ")[2]) for line in lines]


def test_the_end_of_a_run_names_the_results_and_the_commands_that_lead_on(folders: Folders) -> None:
    drop_pair(folders.input, "good")
    for number in range(7):
        drop_pair(folders.input, f"bad{number}", prompt={})

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.stdout.startswith("1 done, 7 failed in ")
    report, listed, retry = commands_in(run.stderr)
    assert sampoll(*report).returncode == 0
    assert "1 result, 7 failed pairs" in (folders.output / "report.html").read_text()
    assert len(sampoll(*listed).stdout.splitlines()) == 7
    assert sampoll(*retry).stdout.startswith("7 to be tried again")


def test_on_a_terminal_the_first_five_failures_stand_in_a_table(folders: Folders) -> None:
    for number in range(7):
        drop_pair(folders.input, f"bad{number}", prompt={})

    seen = on_a_terminal("run", *folders.flags, *BOXES, env={"NO_COLOR": "1"})

    assert seen.exit_code == 1
    rows = [line for line in seen.lines if re.match(r"bad\d +bad-prompt: bad\d\.json: needs", line)]
    assert len(rows) == 5
    assert "and 2 more" in seen.lines


def test_a_run_without_failures_and_results_leads_nowhere(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, *BOXES)

    assert len(run.stdout.splitlines()) == len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--quiet", "--log-format=json"])
def test_quiet_and_json_runs_show_no_commands(folders: Folders, flag: str) -> None:
    drop_pair(folders.input, "good")

    run = sampoll("run", *folders.flags, *BOXES, flag)

    assert (run.stdout, commands_in(run.stderr)) == ("", [])


def test_a_stopped_run_says_at_once_what_it_does_and_at_the_end_what_is_left(
    folders: Folders, gate: tuple[Path, Path], tmp_path: Path
) -> None:
    started, go = gate
    for name in "abc":
        prompt = {"points": [{"x": 1, "y": 1, "label": 1}]}
        drop_pair(folders.input, name, prompt, image=image_of(13, 32))
    flags = [*folders.flags, "--model", "support.fakes:waiting", "--batch-size", 1]
    log = tmp_path / "log"
    with log.open("wb") as file, running_sampoll("run", *flags, log=file) as process:
        until(started.exists, "the first batch")
        process.send_signal(signal.SIGINT)
        until(lambda: "stopping: the running batch is finished first" in log.read_text(), "the message")
        assert process.poll() is None
        go.touch()
        assert process.wait(60) == 75

    assert f"2 pairs are left in {folders.input}; the same command goes on" in log.read_text()
