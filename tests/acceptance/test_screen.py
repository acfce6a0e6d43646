"""What people see on a terminal: bars, errors, tables, colours."""

import json
import re
from pathlib import Path

import pytest
from support.folders import BOX, Folders, drop_pair
from support.process import sampoll
from support.terminal import on_a_terminal

BOXES = ("--model", "support.fakes:boxes")
FORGETFUL = ("--model", "support.fakes:forgetful")
ERROR = re.compile(r"\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m \x1b\[1;31mERROR  \x1b\[0m (\w+): failed: ")
PLAIN_ERROR = re.compile(r"\d\d:\d\d:\d\d ERROR   bad: failed: ")


def test_errors_stand_above_the_bar_which_counts_failures_and_retries(folders: Folders) -> None:
    for name in ("a", "b", "c"):
        drop_pair(folders.input, f"good-{name}")
        drop_pair(folders.input, f"bad{name}", prompt={})

    seen = on_a_terminal("run", *folders.flags, *FORGETFUL)

    assert seen.exit_code == 1
    assert sorted(ERROR.findall(seen.text)) == ["bada", "badb", "badc"]
    assert all(ERROR.match(line) for line in seen.lines if "failed: " in line)
    [bar] = [line for line in seen.lines if "pair/s" in line]
    assert bar.startswith("boxes on cpu: 100%|")
    assert "6/6" in bar
    assert "3 failed, 1 tried again" in bar
    assert any(line.startswith("3 done, 3 failed in ") for line in seen.lines)


def test_the_bar_says_which_model_is_loaded(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    seen = on_a_terminal("run", *folders.flags, *BOXES)

    assert "loading support.fakes:boxes:   0%|" in seen.text


def test_a_run_without_work_shows_no_bar(folders: Folders) -> None:
    seen = on_a_terminal("run", *folders.flags, *BOXES)

    assert "pair/s" not in seen.text
    assert seen.lines[-2].startswith("0 done, 0 failed in ")


def test_an_error_that_ends_the_run_stands_below_the_bar(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    seen = on_a_terminal("run", *folders.flags, "--model", "vit_b", env={"NO_COLOR": "1"})

    assert seen.exit_code == 69
    assert "loading vit_b:   0%|" in seen.text
    assert seen.lines[-2].startswith("sampoll: vit_b needs its weights: ")


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        (["--no-progress"], {}),
        ([], {"SAMPOLL_PROGRESS": "false"}),
        ([], {"TERM": "dumb"}),
        (["--log-format", "json"], {}),
        (["--quiet"], {}),
    ],
)
def test_there_is_no_bar_where_it_is_not_wanted(
    folders: Folders, flags: list[str], env: dict[str, str]
) -> None:
    drop_pair(folders.input, "a")

    seen = on_a_terminal("run", *folders.flags, *BOXES, *flags, env=env)

    assert seen.exit_code == 0
    assert folders.results == ["a.json", "a.png"]
    assert "%|" not in seen.text


def test_without_a_bar_a_terminal_shows_a_line_for_each_job(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    seen = on_a_terminal("run", *folders.flags, *BOXES, "--no-progress", env={"NO_COLOR": "1"})

    assert any(re.fullmatch(r"\d\d:\d\d:\d\d INFO    a: done", line) for line in seen.lines)


@pytest.mark.parametrize("command", ["export", "prompts import", "send"])
def test_errors_of_other_commands_stand_above_their_bars(
    folders: Folders, tmp_path: Path, command: str
) -> None:
    drop_pair(folders.input, "a")
    if command == "export":
        sampoll("run", *folders.flags, *BOXES)
        (folders.output / "labelme").mkdir()
        (folders.output / "labelme" / "a.json").write_text("mine")
        seen = on_a_terminal("export", folders.output, "--format", "labelme")
    elif command == "prompts import":
        (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nnot-there.jpg,1,1,5,5\na.jpg,1,1,5,5\n")
        flags = ("--images", folders.input, "--to", tmp_path / "pairs")
        seen = on_a_terminal("prompts", "import", "--from", "csv", tmp_path / "boxes.csv", *flags)
    else:
        (folders.input / "a.json").unlink()  # such a pair fails before a server is needed
        seen = on_a_terminal("send", folders.input / "a.jpg", "--redis-url", "redis://127.0.0.1:1")

    told = [line for line in seen.lines if re.search(r"a\.j|not-there", line)]
    assert told
    for line in (*told, seen.lines[-2]):
        assert "[00:" not in line, "behind a bar"
    assert any("1 failed" in line for line in seen.lines if "[00:" in line)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_there_is_no_colour_where_it_is_not_wanted(folders: Folders, env: dict[str, str]) -> None:
    drop_pair(folders.input, "bad", prompt={})

    run = on_a_terminal("run", *folders.flags, *BOXES, env=env)
    listed = on_a_terminal("failed", "list", "-i", folders.input, env=env)
    refused = on_a_terminal("failed", "list", "-i", folders.output / "none", env=env)

    assert any(PLAIN_ERROR.match(line) for line in run.lines)
    assert refused.lines[0].startswith("sampoll: ")
    assert "\x1b" not in run.text + listed.text + refused.text


def test_the_name_of_the_command_is_red_before_an_error(folders: Folders) -> None:
    seen = on_a_terminal("failed", "list", "-i", folders.output / "none")

    assert seen.lines[0].startswith("\x1b[1;31msampoll\x1b[0m: no input directory ")


def test_colour_can_be_forced_where_there_is_no_terminal(folders: Folders) -> None:
    run = sampoll("failed", "list", "-i", folders.output / "none", env={"FORCE_COLOR": "1", "NO_COLOR": ""})

    assert run.stderr.startswith("\x1b[1;31msampoll\x1b[0m: ")


def test_ids_of_jobs_are_shown_on_a_terminal_at_debug_only(folders: Folders) -> None:
    texts = {}
    for level in ("info", "debug"):
        drop_pair(folders.input, level)
        texts[level] = on_a_terminal("run", *folders.flags, *BOXES, "--log-level", level).text
        [job] = {json.loads((folders.output / f"{level}.json").read_text())["meta"]["job_id"]}
        assert (f"{level}: done [{job}]" in texts[level]) == (level == "debug")
        assert f"{level}: done" in texts[level]


def test_a_table_shows_every_name_and_reason_whole_and_as_they_are(folders: Folders) -> None:
    name = "[red]a[bold] :smile: [link=x]" + "long" * 30
    drop_pair(folders.input, name, prompt={**BOX, "[bold]key[/bold]": 1})
    sampoll("run", *folders.flags, *BOXES)

    seen = on_a_terminal("failed", "list", "-i", folders.input)
    piped = sampoll("failed", "list", "-i", folders.input)

    cells = re.sub(r"\x1b\[\d+m", "", seen.text)
    assert cells.split()[:4] == ["pair", "failed", "at", "after"]
    assert all(len(line.rstrip("\r")) <= 120 for line in cells.split("\n"))
    first_column = "".join(line[:50] for line in cells.split("\n")[1:-2])
    assert "[red]a[bold] :smile:" in first_column
    assert first_column.replace(" ", "").count("long") == 30
    assert "[bold]key[/bold]" in re.sub(r"\s", "", cells)
    assert piped.stdout.startswith(f"{name}  2")
    assert "because" not in piped.stdout
    assert len(piped.stdout.splitlines()) == 1
