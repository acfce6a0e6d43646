"""What a command logs: text for people, and JSON lines for programs that ask for them."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.folders import Folders, drop_pair
from support.images import image_of
from support.process import REPOSITORY, environment, running_sampoll, sampoll, until
from support.terminal import on_a_terminal

import sampoll as sampoll_package

BOXES = ("--model", "support.fakes:boxes")
NOT_SET = {"SAMPOLL_LOG_FORMAT": ""}
JSON = ("--log-format", "json")
SCHEMA = json.loads((REPOSITORY / "docs" / "log.schema.json").read_text())
ODD = "a\nb\x1b[31m\u202e"


def lines(stderr: str) -> list[Mapping[str, Any]]:
    """The lines of a log, each as the schema says."""
    found: list[Mapping[str, Any]] = [json.loads(line) for line in stderr.splitlines()]
    for line in found:
        Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(line)
    return found


def with_event(event: str, stderr: str) -> Mapping[str, Any]:
    """The only line about this event."""
    [line] = [line for line in lines(stderr) if line.get("event") == event]
    return line


def test_a_program_reads_a_line_of_json_for_each_job_and_a_summary(folders: Folders) -> None:
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", prompt={})

    run = sampoll("run", *folders.flags, *BOXES, *JSON)

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
    assert (said[-1]["event"], run.stdout) == ("summary", "")
    assert said[-1]["message"].startswith("1 done, 1 failed in ")


def test_the_facts_of_a_line_are_its_fields(folders: Folders) -> None:
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", prompt={"box": {"x0": "a"}})
    (folders.input / "half.jpg").write_bytes(b"")

    said = sampoll("run", *folders.flags, *BOXES, *JSON).stderr

    done, failed, summary = (with_event(event, said) for event in ("done", "failed", "summary"))
    record = json.loads((folders.output / "good.json").read_text())
    assert (done["pair"], done["masks"], done["scores"]) == ("good", 1, [[0.5]])
    assert done["job"] == record["meta"]["job_id"]
    assert set(done["seconds"]) == {"image_decoding", "embedding", "mask_decoding", "rendering", "publishing"}
    assert (failed["code"], failed["file"]) == ("bad-prompt", "bad.json")
    assert failed["field"].startswith("box")
    assert failed["message"] == f"bad: failed: {failed['error']}"
    counts = {key: summary[key] for key in ("done", "skipped", "failed", "deferred", "passed_over", "half")}
    assert counts == {"done": 1, "skipped": 0, "failed": 1, "deferred": 0, "passed_over": 0, "half": 1}
    assert summary["exit_code"] == 1
    assert (with_event("left", said)["path"], with_event("left", said)["reason"]) == ("half.jpg", "empty")
    assert summary["seconds"] > 0
    loaded = with_event("loaded", said)
    assert (loaded["model"], loaded["device"]) == ("boxes", "cpu")


def test_the_memory_of_the_stages_is_in_the_debug_log_and_in_the_metrics(
    folders: Folders, tmp_path: Path
) -> None:
    drop_pair(folders.input, "a")
    metrics = tmp_path / "sampoll.prom"

    said = sampoll("run", *folders.flags, *BOXES, *JSON, "--log-level", "debug", "--metrics-file", metrics)

    line = with_event("memory", said.stderr)
    measured = re.findall(r'^sampoll_memory_budget_bytes\{stage="(\w+)"\} (\S+)$', metrics.read_text(), re.M)
    assert line["bytes"] == {stage: float(value) for stage, value in measured}
    assert {"model", "files", "images", "masks", "outcomes", "rendering"} <= set(line["bytes"])
    assert "masks 512.0 MiB (--max-mask-bytes)" in line["message"]


def test_files_that_are_left_are_counted_by_their_reasons(folders: Folders) -> None:
    for number in range(14):
        drop_pair(folders.input, f"a{number}")
        (folders.input / f"a{number}.json").unlink()

    said = lines(sampoll("run", *folders.flags, *BOXES, *JSON).stderr)

    *named, counted = [line for line in said if line.get("event") == "left"]
    assert {line["reason"] for line in named} == {"no-prompt"}
    assert counted["counts"] == {"no-prompt": 4}


def test_every_outcome_of_a_job_is_in_the_schema(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    sampoll("run", *folders.flags, *BOXES)
    drop_pair(folders.input, "a")
    drop_pair(folders.input, "b")
    (folders.input / "c").mkdir(mode=0)

    flags = (*folders.flags, "--recursive", "--model", "support.fakes:forgetful", *JSON)
    said = sampoll("run", *flags, "--skip-done", unprivileged=True).stderr

    assert with_event("skipped", said)["result"] == "a"
    assert with_event("deferred", said)["code"] == "out-of-memory"
    assert with_event("deferred", said)["delay_seconds"] > 0
    assert with_event("passed-over", said)["pair"] == "c/"


@pytest.mark.parametrize("command", ["embed", "export", "report"])
def test_the_summary_of_each_command_is_a_line_of_the_log(
    folders: Folders, tmp_path: Path, command: str
) -> None:
    drop_pair(folders.input, "a")
    if command == "embed":
        cache = ("--embedding-cache", tmp_path / "cache", "--model", "support.fakes:kept")
        ran = sampoll("embed", folders.input, *cache, *JSON)
    else:
        sampoll("run", *folders.flags, *BOXES)
        ran = sampoll(command, folders.output, *JSON)

    assert ran.stdout == ""
    figures = {"embed": ("embedded", 1), "export": ("exported", 1), "report": ("results", 1)}
    key, count = figures[command]
    assert with_event("summary", ran.stderr)[key] == count


def test_the_schema_has_every_field_that_is_documented() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text().partition("## Logs")[2].partition("\n## ")[0]

    events = [below["properties"] for below in SCHEMA["anyOf"] if "properties" in below]
    documented = set(re.findall(r"`([a-z_-]+)`", page))
    assert {below["event"]["const"] for below in events} <= documented
    assert {key for below in (SCHEMA["properties"], *events) for key in below} <= documented


def test_the_schema_has_every_event_that_the_code_logs() -> None:
    package = Path(sampoll_package.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py"))
    events = [below["properties"]["event"]["const"] for below in SCHEMA["anyOf"] if "properties" in below]

    logged = re.findall(r'"event": "([a-z-]+)"', code) + re.findall(r'_about\("([a-z-]+)"', code)
    assert set(logged) == set(events)
    assert len(events) == len(set(events))


def test_logs_are_text_if_nothing_else_is_said(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, *BOXES, env=NOT_SET)

    [job] = {json.loads((folders.output / "a.json").read_text())["meta"]["job_id"]}
    assert re.search(
        rf"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO a: done \[{job}\]$", run.stderr, re.MULTILINE
    )
    assert run.stdout.startswith("1 done, 0 failed in ")
    assert "1 done" not in run.stderr


@pytest.mark.parametrize("chosen", ["flag", "variable", "file"])
def test_json_is_chosen_by_a_flag_a_variable_or_a_file(folders: Folders, tmp_path: Path, chosen: str) -> None:
    drop_pair(folders.input, "a")
    (tmp_path / "json.toml").write_text('[operations]\nlog-format = "json"\n')
    flags = {"flag": JSON, "variable": (), "file": ("--config", tmp_path / "json.toml")}[chosen]
    env = {"SAMPOLL_LOG_FORMAT": "json" if chosen == "variable" else ""}

    elsewhere = sampoll("run", *folders.flags, *BOXES, *flags, env=env)
    drop_pair(folders.input, "b")
    on_terminal = on_a_terminal("run", *folders.flags, *BOXES, *flags, env=env)

    assert {line["pair"] for line in lines(elsewhere.stderr) if "pair" in line} == {"a"}
    assert {line["pair"] for line in lines(on_terminal.text) if "pair" in line} == {"b"}


@pytest.mark.parametrize("chosen", ["text", "auto"])
def test_auto_means_text(folders: Folders, chosen: str) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, *BOXES, env={"SAMPOLL_LOG_FORMAT": chosen})

    assert " INFO a: done [" in run.stderr


def test_a_warning_about_the_settings_has_the_format_that_they_choose(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, *BOXES, *JSON, env={"SAMPOLL_NONSENSE": "1"})

    assert lines(run.stderr)[0]["message"] == "SAMPOLL_NONSENSE is no setting of sampoll and is ignored"


def test_quiet_writes_nothing_if_nothing_is_wrong(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    (folders.input / "half.jpg").write_bytes(b"")

    run = sampoll("run", *folders.flags, *BOXES, "--quiet", env={**NOT_SET, "SAMPOLL_NONSENSE": "1"})

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert folders.results == ["a.json", "a.png"]


def test_quiet_writes_each_failed_pair_and_nothing_else(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    drop_pair(folders.input, "bad", prompt={})

    run = sampoll("run", *folders.flags, *BOXES, "-q", "--log-level", "debug", env=NOT_SET)

    assert (run.returncode, run.stdout) == (1, "")
    [line] = run.stderr.splitlines()
    assert " ERROR bad: failed: " in line


def test_quiet_says_why_a_command_cannot_work(folders: Folders) -> None:
    run = sampoll("run", "-i", folders.input / "none", "-o", folders.output, *BOXES, "--quiet")

    assert (run.returncode, run.stdout) == (66, "")
    [line] = run.stderr.splitlines()
    assert line.startswith("sampoll: no input directory ")


def test_quiet_does_not_mind_a_run_that_is_still_at_work(folders: Folders, gate: tuple[Path, Path]) -> None:
    started, go = gate
    drop_pair(folders.input, "a", image=image_of(height=13))
    with running_sampoll("run", *folders.flags, "--model", "support.fakes:waiting", "--exclusive") as first:
        until(started.exists, "the first run")
        second = sampoll("run", *folders.flags, *BOXES, "--exclusive", "--quiet")
        third = sampoll("run", *folders.flags, *BOXES, "--exclusive")
        go.touch()
        assert first.wait(30) == 0

    assert (second.returncode, second.stdout, second.stderr) == (75, "", "")
    assert "is in use" in third.stderr


def test_a_service_logs_a_summary_when_it_is_stopped(folders: Folders) -> None:
    log = folders.input.parent / "log"
    with (
        log.open("wb") as file,
        running_sampoll("run", *folders.flags, *BOXES, "--continuous", *JSON, log=file) as process,
    ):
        until(lambda: "ready" in log.read_text(), "the service")
        process.terminate()
        assert process.wait(30) == 0

    events = [line.get("event") for line in lines(log.read_text())]
    assert events[-2:] == ["stopping", "summary"]


def test_the_reason_of_an_end_is_json_too(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, "--model", "vit_b", "--dry-run", "--skip-done", *JSON)

    assert run.returncode == 69
    end = with_event("end", run.stderr)
    assert (end["exit_code"], end["error"]) == (69, "ModelUnavailable")
    assert "sampoll models pull vit_b" in end["message"]


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

    [line] = [line for line in run.stderr.split("\n") if ": done" in line]
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
