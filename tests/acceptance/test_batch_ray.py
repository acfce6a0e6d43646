"""`sampoll batch --ray-actors`, on a cluster of this machine's own."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from support.batches import FAILED, batch
from support.fakes import POISON_HEIGHT
from support.folders import BOX, drop_pair, files_below
from support.images import image_of
from support.process import environment, is_running, running_sampoll, until
from support.ray_running import LOOPBACK, actors_of, descendants, listening

IMAGES = 60
SECONDS_OF_ABORT = 3.5
"""Ray's own handler of SIGTERM ends the process after three."""
ACTORS = ("--ray-actors", "2")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "photographs"
    (directory / "sub").mkdir(parents=True)
    for number in range(IMAGES):
        drop_pair(directory / ("sub" if number % 2 else ""), f"p{number:02}", image=image_of(seed=number))
    return directory


def lasting(output: Path) -> dict[str, Any]:
    """The files of results, without the times in records."""
    found: dict[str, Any] = {}
    for name in files_below(output):
        content = (output / name).read_bytes()
        if name.endswith(".json"):
            found[name] = json.loads(content)
            del found[name]["timestamp"], found[name]["meta"]["seconds"]
        else:
            found[name] = content
    return found


def run_directories() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("sampoll-ray-*")}


def test_actors_survive_a_kill_and_an_image_that_kills_and_write_what_one_process_writes(
    source: Path, tmp_path: Path
) -> None:
    plain, output, report = tmp_path / "plain", tmp_path / "masks", tmp_path / "report.jsonl"
    assert batch(source, plain, model="support.fakes:killing").exit_code == 0
    drop_pair(source, "p30-poison", image=image_of(POISON_HEIGHT, 20))
    drop_pair(source, "p40-bad", {"prompts": [{**BOX, "data": {"x": 1}}]})
    home, before = tmp_path / "home", run_directories()
    home.mkdir()
    flags = ("-o", output, "--model", "support.fakes:killing", "--report", report, *ACTORS)
    env = {"HOME": str(home), "TMPDIR": tempfile.gettempdir()}

    with (
        (tmp_path / "log").open("wb") as log,
        running_sampoll("batch", source, *flags, log=log, env=env) as process,
    ):
        until(lambda: list(output.glob("**/*.json")), "the first result")
        [victim, *_] = actors_of(process.pid)
        of_ray = descendants(process.pid)
        addresses = list(listening([process.pid, *of_ray]))
        os.kill(victim, signal.SIGKILL)
        exit_code = process.wait(120)
    said = (tmp_path / "log").read_text()

    assert exit_code == 1, said
    counts = re.search(r"^(\d+) done, (?:(\d+) done before, )?2 failed", said, re.MULTILINE)
    assert counts is not None
    done, before_it = map(int, counts.groups("0"))
    assert done + before_it == IMAGES
    assert lasting(output) == lasting(plain)
    assert [path.name for path in (output / FAILED).iterdir()] == [
        "p30-poison.error.json",
        "p40-bad.error.json",
    ]
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    ended = sorted(line["name"] for line in lines if line["outcome"] != "deferred")
    assert ended == sorted(
        {path.with_suffix("").relative_to(source).as_posix() for path in source.rglob("*.jpg")}
    )
    codes = {line["name"]: line["code"] for line in lines if line["outcome"] == "failed"}
    assert codes == {"p30-poison": "crashed-repeatedly", "p40-bad": "bad-prompt"}
    assert addresses
    assert {address for _, address in addresses} <= LOOPBACK
    assert list(home.iterdir()) == []
    assert run_directories() == before
    until(lambda: not any(map(is_running, of_ray)), "no process of Ray is left", 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order_and_the_next_one_does_the_rest(
    source: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "masks"
    drop_pair(source, "p00-slow", image=image_of(POISON_HEIGHT, 20))
    started, go = tmp_path / "started", tmp_path / "go"
    env = {"FAKES_STARTED": str(started), "FAKES_GO": str(go)}
    flags = ("-o", output, "--model", "support.fakes:waiting", "--ray-actors", 1)

    with (
        (tmp_path / "log").open("wb") as log,
        running_sampoll("batch", source, *flags, log=log, env=env) as process,
    ):
        until(started.exists, "the slow image is segmented")
        of_ray = descendants(process.pid)
        process.send_signal(number)
        until(lambda: b"stopping" in (tmp_path / "log").read_bytes(), "the stop is noticed")
        time.sleep(SECONDS_OF_ABORT)
        go.touch()
        exit_code = process.wait(60)
    done = sum(name.endswith(".json") for name in files_below(output))

    assert exit_code == 75, (tmp_path / "log").read_text()
    assert "SIGTERM received" not in (tmp_path / "log").read_text()
    assert (output / "p00-slow.json").exists()
    assert done < IMAGES + 1
    until(lambda: not any(map(is_running, of_ray)), "no process of Ray is left", 20)
    rest = batch(source, output, model="support.fakes:waiting")
    assert (len(rest.done), rest.exit_code) == (IMAGES + 1 - done, 0)


def test_without_anything_left_to_do_ray_is_not_imported(source: Path, tmp_path: Path) -> None:
    batch(source, tmp_path / "masks")

    code = "import sys; from support.batches import batch; from pathlib import Path; " + (
        f"found = batch(Path({str(source)!r}), Path({str(tmp_path / 'masks')!r}), ray_actors=2); "
        "sys.exit('ray' in sys.modules or found.line)"
    )
    checked = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )

    assert checked.stderr.startswith(f"0 done, {IMAGES} done before, 0 failed")
