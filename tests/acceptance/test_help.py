"""What the command line says before anything runs: help, versions, completion, and suggestions."""

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from support.folders import Folders, drop_pair
from support.process import SAMPOLL, environment, sampoll

from sampoll.cli.main import app
from sampoll.config.fields import all_settings

BOXES = ("--model", "support.fakes:boxes")
COLUMNS = {"COLUMNS": "80"}
WITH_MANY_SETTINGS = ["run", "doctor", "embed", "serve redis", "serve stream"]


def one_line(framed: str) -> str:
    """The text of an error of the command line, without its frame."""
    return " ".join(framed.replace("│", " ").split())


def helped(command: str, flag: str = "--help") -> str:
    shown = sampoll(*command.split(), flag, env=COLUMNS)
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout


def options(text: str) -> set[str]:
    """The options that a help text has rows for."""
    return set(re.findall(r"^  (?:-\w, |    )--(?:\[no-\])?([a-z-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("command", WITH_MANY_SETTINGS)
def test_the_help_fits_on_two_screens_and_begins_with_examples(command: str) -> None:
    lines = helped(command).splitlines()

    assert len(lines) <= 100
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"Usage: sampoll {command} [OPTIONS]")
    first_option = next(index for index, line in enumerate(lines) if line.startswith("      --"))
    assert f"  sampoll {command} " in "\n".join(lines[:first_option])


def test_the_help_of_run_has_about_twenty_everyday_options() -> None:
    everyday = {setting.key for setting in all_settings() if setting.is_everyday}

    shown = options(helped("run"))

    assert 18 <= len(shown) <= 30
    assert {"input", "output", "model", "format", "skip-done", "dry-run", "help-all"} < shown
    assert shown - everyday == {"force", "dry-run", "json", "config", "print-config", "help", "help-all"}


@pytest.mark.parametrize("command", WITH_MANY_SETTINGS)
def test_help_all_shows_every_option(command: str) -> None:
    below: Any = typer.main.get_command(app)
    for word in command.split():
        below = below.commands[word]
    every = {flag.removeprefix("--") for p in below.params for flag in p.opts if flag.startswith("--")}

    shown = options(helped(command, "--help-all"))

    assert shown == every | {"help"}
    assert options(helped(command)) < shown
    assert f"sampoll {command} --help-all shows {len(shown) - len(options(helped(command)))} more" in helped(
        command
    )


def test_settings_that_a_command_names_are_in_its_help_however_rare() -> None:
    assert {"lease", "max-attempts"} < options(helped("serve stream"))
    assert "home" in options(helped("models list"))
    assert "--help-all" not in helped("models list")


def test_the_help_shows_units_where_they_can_be_used() -> None:
    units = "SECONDS can have a unit, as in 90s, 10m or 2h. BYTES can have a unit, as in 64M or 2G."

    assert units in one_line(helped("run", "--help-all"))
    assert "SECONDS can have a unit" in one_line(helped("recv"))
    assert "can have a unit" not in helped("models list")


def test_the_help_says_that_any_format_replaces_png() -> None:
    assert "Any replaces png: name png too to keep it." in one_line(helped("run"))


def commands(command: Any) -> Iterator[Any]:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from commands(below)


EXAMPLES = [
    line.strip().partition("  ")[0]
    for command in commands(typer.main.get_command(app))
    for line in inspect.cleandoc(command.help or "").splitlines()
    if line.startswith("    ")
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_command_line_takes_every_example(example: str) -> None:
    command: Any = typer.main.get_command(app)
    name, *words = shlex.split(example)
    assert name == "sampoll"
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]

    command.make_context(name, words, resilient_parsing=False)


def test_the_short_forms_are_the_long_ones() -> None:
    assert helped("run", "-h") == helped("run")
    assert helped("failed list", "-h") == helped("failed list")
    assert sampoll("-V").stdout == sampoll("--version").stdout != ""


def test_help_has_no_colours_in_a_file() -> None:
    assert "\x1b" not in helped("run") + helped("run", "--help-all") + sampoll().stdout


def test_the_version_is_told_without_an_import_of_what_is_large() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", SAMPOLL, "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )

    imported = set(re.findall(r"\| +([\w.]+)$", told.stderr, re.MULTILINE))
    assert "typer" in imported
    assert imported.isdisjoint({"torch", "numpy", "cv2", "openvino", "redis", "requests", "rich", "PIL"})


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["run", "--resc"], ["--rescan"]),
        (["ser"], ["serve"]),
        (["run", "--model", "vit_"], ["vit_b", "vit_h", "vit_l"]),
        (["run", "--done", "k"], ["keep"]),
        (["prompts", "import", "--from", "lab"], ["labelme"]),
        (["run", "--checkpoint", "w"], []),  # the shell offers names of files then
    ],
)
def test_bash_completes_commands_options_and_values(
    words: list[str], offered: list[str], tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "PATH": f"{SAMPOLL.parent}:/usr/bin:/bin"}
    installed = sampoll("--install-completion", "bash", env=home)
    assert installed.returncode == 0, installed.stderr
    script = f"""
        source {tmp_path}/.bashrc
        COMP_WORDS=(sampoll {shlex.join(words)}); COMP_CWORD={len(words)}
        _sampoll_completion sampoll
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """

    completed = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment(home)
    )

    assert completed.stdout.split() == offered, completed.stderr


@pytest.mark.parametrize("flags", [("-i", "IN"), ("-o", "OUT"), ("--input", "x", "--output", "y")])
def test_the_directories_are_arguments_or_options_and_not_both(
    folders: Folders, flags: tuple[str, ...]
) -> None:
    drop_pair(folders.input, "a")

    refused = sampoll("run", folders.input, folders.output, *flags, *BOXES)
    done = sampoll("run", folders.input, folders.output, *BOXES)

    assert (refused.returncode, "give them as INPUT and OUTPUT, or by" in refused.stderr) == (2, True)
    assert done.returncode == 0, done.stderr
    assert folders.results == ["a.json", "a.png"]


def test_directories_as_arguments_override_variables(folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a")
    elsewhere = {"SAMPOLL_INPUT": str(tmp_path / "nowhere"), "SAMPOLL_OUTPUT": str(folders.output)}

    both = sampoll("run", folders.input, folders.output, *BOXES, "--dry-run", env=elsewhere)
    one = sampoll("run", folders.input, *BOXES, env=elsewhere)
    doctor = sampoll("doctor", folders.input, folders.output, *BOXES, env=elsewhere)
    three = sampoll("run", folders.input, folders.output, tmp_path, *BOXES)

    assert [both.returncode, one.returncode, doctor.returncode, three.returncode] == [0, 0, 0, 2]
    assert folders.results == ["a.json", "a.png"]


A_FILE = "must be a directory, but file is a file"


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("run file out", 66),
        ("run in file", 73),
        ("run in file/below", 73),
        ("run in out --done file", 73),
        ("run in out --embedding-cache file", 2),
        ("run in out --home file", 2),
        ("status --input file", 66),
        ("failed list --input file", 66),
        ("report file", 66),
        ("report out --input file", 66),
        ("export file --format coco", 66),
        ("export out --format labelme --images file", 2),
        ("demo file", 2),
        ("prompts import in --from labelme --to file", 2),
        ("send in --output file", 2),
        ("recv --output file", 2),
        ("serve stream --root file", 2),
        ("models list --home file", 2),
    ],
)
def test_a_file_that_is_given_for_a_directory_is_told_as_that(
    command: str, exit_code: int, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "in").mkdir()

    refused = sampoll(*command.split(), cwd=tmp_path)

    assert (refused.returncode, A_FILE in one_line(refused.stderr)) == (exit_code, True), refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in"]


@pytest.mark.parametrize(
    ("command", "suggestion"),
    [
        (["run", "--stetle", "3"], "No such option: --stetle; did you mean --settle?"),
        (["run", "--batch_size", "3"], "No such option: --batch_size; did you mean --batch-size?"),
        (["runn"], "No such command 'runn'. Did you mean 'run'?"),
        (["prompts", "import", ".", "--from", "yollo", "--to", "."], "did you mean yolo?"),
        (["run", "-i", ".", "-o", "../out", "--model", "grabcut", "--format", "pgn"], "did you mean png?"),
        (["models", "path", "vit-l"], "did you mean vit_l?"),
    ],
)
def test_a_misspelled_name_is_answered_with_the_nearest_one(
    command: list[str], suggestion: str, tmp_path: Path
) -> None:
    refused = sampoll(*command, cwd=tmp_path)

    assert (refused.returncode, suggestion in one_line(refused.stderr)) == (2, True), refused.stderr


def test_times_of_the_clients_have_units_too(tmp_path: Path) -> None:
    ended = sampoll("recv", "-o", tmp_path / "out", "--redis-port", 1, "--timeout", "200ms")
    refused = sampoll("recv", "-o", tmp_path / "out", "--timeout", "soon")
    purged = sampoll("failed", "purge", "--all", "--older-than", "12h", "-i", tmp_path)

    assert (refused.returncode, "must be a number, or a time such as" in one_line(refused.stderr)) == (
        2,
        True,
    )
    assert "Invalid value" not in ended.stderr
    assert (purged.returncode, purged.stdout) == (0, "0 deleted, 0 bytes freed\n")
