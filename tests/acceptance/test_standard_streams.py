"""Standard streams that are closed, full, or read by nobody; terminals; and users who are only a number."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.folders import BOX, Folders, drop_pair
from support.process import SAMPOLL, environment, sampoll

BOXES = "--model support.fakes:boxes"
CLOSED_OR_FULL = ["2>&-", ">&-", "<&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full", "2>/dev/full"]


def in_shell(arguments: str, redirection: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code of a command whose standard streams are redirected, and what it wrote to the others."""
    script = f'"$0" {arguments} {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, SAMPOLL],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env=environment(env),
        check=False,
    )
    return done.returncode, done.stdout


def with_paths(folders: Folders) -> str:
    return " ".join(map(str, folders.flags))


@pytest.mark.parametrize("redirection", CLOSED_OR_FULL)
def test_a_run_does_its_work_whatever_its_streams_are(folders: Folders, redirection: str) -> None:
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", prompt={})

    code, _ = in_shell(f"run {with_paths(folders)} {BOXES}", redirection)

    assert code == 1
    assert folders.results == ["good.json", "good.png"]
    assert json.loads((folders.output / "good.json").read_text())["objects"]
    assert (folders.input / "failed" / "bad.error.json").is_file()


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize(
    "arguments",
    ["status --json", "status", "run --print-config", "--version", "--help"],
)
def test_a_result_that_is_lost_is_an_error(arguments: str, redirection: str) -> None:
    code, message = in_shell(arguments, redirection)

    assert code == 74
    assert message.startswith("sampoll: cannot write to standard output: ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("command", ["prompts schema", "--help"])
def test_a_reader_that_has_enough_ends_the_command_in_silence(command: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)

    done = subprocess.run(
        [SAMPOLL, *command.split()],
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=60,
        env=environment(),
        check=False,
    )

    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_run_does_not_need_a_reader(folders: Folders) -> None:
    drop_pair(folders.input, "good")

    code, message = in_shell(f"run {with_paths(folders)} {BOXES}", "| true; exit ${PIPESTATUS[0]}")

    assert code == 0, message
    assert folders.results == ["good.json", "good.png"]


def test_no_text_reaches_a_file_that_is_opened_where_a_stream_was_closed(folders: Folders) -> None:
    drop_pair(folders.input, "bad", prompt={})
    report = folders.output / "report.jsonl"

    in_shell(f"run {with_paths(folders)} {BOXES} --report {report}", "<&- >&- 2>&-")

    assert [json.loads(line)["outcome"] for line in report.read_text().splitlines()] == ["failed"]


EVIL = "\x1b]0;PWNED\x07\r\n2026-01-01 INFO forged\x7f\x9b\u202e"
COMMANDS = [
    "prompts check IN",
    "run -i IN -o OUT --dry-run",
    "run -i IN -o OUT --settle 0 --log-format text",
    "run -i IN -o OUT --settle 0 --log-format json",
    "run -i IN -o OUT --print-config --stop-file EVIL",
    "failed show -i IN EVIL",
    "status -i IN",
    "status -i IN --json",
    "doctor -i IN -o OUT --model EVIL",
    "models pull EVIL",
    "run EVIL",
    "run --EVIL",
    "EVIL",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_controls_a_terminal_or_forges_a_line(folders: Folders, command: str) -> None:
    drop_pair(folders.input, "key", prompt={**BOX, EVIL: 1})
    drop_pair(folders.input, f"{EVIL}\udcff")
    drop_pair(folders.input, f"{EVIL}\udcff2", prompt={"box": EVIL})
    places = {"IN": str(folders.input), "OUT": str(folders.output)}

    done = subprocess.run(
        [SAMPOLL, *(places.get(word, word.replace("EVIL", EVIL)) for word in command.split())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        env=environment({"SAMPOLL_MODEL": "support.fakes:boxes"}),
        check=False,
    )

    shown = done.stdout.decode()
    assert done.returncode != 70
    assert shown
    assert all(line.isprintable() and not line.startswith("2026-01-01") for line in shown.split("\n"))


@pytest.mark.parametrize(
    "command",
    [
        "serve redis --redis-url redis://me:hush/hush@127.0.0.1:9",
        "serve redis --redis-host me:hush@127.0.0.1",
        "serve redis --redis-url redis://me:hush@127.0.0.1:1?timeout=hush",
        "failed list --stream jobs --redis-url redis://me:hush@127.0.0.1:1",
        "doctor --redis-url redis://me:hush@127.0.0.1:1",
        "models pull vit_b --mirror http://me:hush#@127.0.0.1:9",
        "run redis://me:hush@127.0.0.1",
    ],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_login_is_in_no_message(command: str, log_format: str) -> None:
    run = sampoll(*command.split(), env={"SAMPOLL_LOG_FORMAT": log_format, "SAMPOLL_MODEL": "grabcut"})

    assert run.returncode not in (0, 70)
    assert "hush" not in run.stdout + run.stderr


ASKED_FOR_A_NAME = """
import getpass, sys
from sampoll.cli.exit import run_and_exit
run_and_exit(lambda: sys.exit(getpass.getuser() != "uid12345"), "sampoll")
"""
NUMBER = (
    *("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"),
    # What is tested may lie where only root can read.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_a_user_without_a_name_and_a_home_is_enough(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    home = folders.input.parent
    for path in (home, folders.input, *folders.input.iterdir()):
        os.chown(path, 12345, 12345)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": environment()["PYTHONPATH"], "TMPDIR": str(home)}

    def by_number(program: Path | str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NUMBER, program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            env=env,
            check=False,
        )

    run = by_number(SAMPOLL, "run", *folders.flags, "--model", "grabcut")

    assert run.returncode == 0, run.stderr
    assert folders.results == ["a.json", "a.png"]
    assert f"{home}/sampoll-cache-12345/checkpoints" in by_number(SAMPOLL, "models", "list").stdout
    assert by_number(sys.executable, "-c", ASKED_FOR_A_NAME).returncode == 0
