"""`sampoll status`, beside services and without them."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.folders import Folders, drop_pair
from support.images import encoded, image_of
from support.process import running_sampoll, sampoll, until
from support.redis_servers import free_port

WATCH = ("--continuous", "--model", "support.fakes:boxes")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of this test only."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


pytestmark = pytest.mark.usefixtures("runtime")


def json_status(*arguments: object) -> tuple[int, Mapping[str, Any]]:
    status = sampoll("status", "--json", *arguments)
    assert status.stdout, status.stderr
    return status.returncode, json.loads(status.stdout)


def test_the_state_of_a_running_service_is_shown(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    (folders.input / "half.jpg").write_bytes(encoded(image_of(), "JPEG"))
    with running_sampoll("run", *folders.flags, *WATCH) as process:

        def has_done_one() -> bool:
            _, document = json_status()
            return any(service["done"] == 1 for service in document["services"])

        until(has_done_one, "the pair")
        code, here = json_status("-i", folders.input)
        people = sampoll("status", "-i", folders.input)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert code == people.returncode == 0
    [service] = here["services"]
    assert service["state"] == "working"
    assert (service["service"], service["pid"], service["model"]) == ("run", process.pid, "boxes")
    assert here["waiting"] == {"pairs": 0, "halves": 1, "claimed": 0, "deferred": 0, "failed": 0}
    assert here["left"]["counts"] == {"no-prompt": 1}
    assert [file["path"] for file in here["left"]["files"]] == ["half.jpg"]
    assert "1 half pair" in people.stdout
    assert "half.jpg has no prompt" in people.stdout
    assert f"process {process.pid}: working; up for" in people.stdout
    code, after = json_status("-i", folders.input)
    assert (code, after["services"], after["dead"]) == (3, [], [])


def test_a_killed_service_is_dead_and_its_jobs_wait(folders: Folders, gate: tuple[Path, Path]) -> None:
    started, _ = gate
    drop_pair(folders.input, "a", image=image_of(height=13))
    with running_sampoll(
        "run", *folders.flags, "--continuous", "--model", "support.fakes:waiting"
    ) as process:
        until(started.exists, "the model to work")
        process.kill()
        process.wait()

    code, document = json_status("-i", folders.input)

    assert code == 3
    assert (len(document["dead"]), document["waiting"]["claimed"]) == (1, 1)
    assert "has died" in sampoll("status", "-i", folders.input).stdout
    assert json_status()[0] == 3


def test_a_paused_service_is_healthy_and_shows_the_reason(folders: Folders, tmp_path: Path) -> None:
    with running_sampoll("run", *folders.flags, *WATCH):
        until(lambda: json_status()[1]["services"], "the service")
        until(lambda: (folders.input / "done").exists(), "the spool")
        folders.input.rename(tmp_path / "away")

        def is_paused() -> bool:
            return any(service["state"] == "paused" for service in json_status()[1]["services"])

        until(is_paused, "a pause")
        people = sampoll("status")

    assert people.returncode == 0
    assert "paused (the input" in people.stdout
    assert sampoll("status", "-i", folders.input).returncode == 66


def test_a_service_whose_model_hangs_should_be_restarted(folders: Folders, gate: tuple[Path, Path]) -> None:
    drop_pair(folders.input, "a", image=image_of(height=13))
    hangs = ("--continuous", "--model", "support.fakes:waiting", "--stall", 3)
    with running_sampoll("run", *folders.flags, *hangs):
        until(lambda: json_status("-i", folders.input)[0] == 1, "the verdict")
        people = sampoll("status")

    assert people.returncode == 1
    assert "stalled: no progress for" in people.stdout
    assert "restart it" in people.stdout


def test_a_service_over_redis_is_listed_too() -> None:
    port = free_port()
    with running_sampoll(
        "serve", "redis", "--embedded", "--redis-port", port, "--model", "support.fakes:boxes"
    ):

        def works() -> bool:
            return any(service["state"] == "working" for service in json_status()[1]["services"])

        until(works, "the service")
        people = sampoll("status")

    assert f"serve redis redis://localhost:{port}/0" in people.stdout


def test_waiting_pairs_are_counted_as_a_run_counts_them(folders: Folders) -> None:
    below = folders.input / "deeper"
    below.mkdir()
    for directory in (folders.input, below):
        drop_pair(directory, "a")

    assert json_status("-i", folders.input)[1]["waiting"]["pairs"] == 1
    assert json_status("-i", folders.input, "--recursive")[1]["waiting"]["pairs"] == 2
    assert json_status("-i", folders.input, "--ready-suffix", ".ready")[1]["waiting"]["pairs"] == 0


def test_names_are_escaped_on_a_terminal(tmp_path: Path) -> None:
    odd = tmp_path / "in\x1b[31m"
    odd.mkdir()

    status = sampoll("status", "-i", odd)

    assert status.returncode == 3
    assert "\x1b" not in status.stdout
    assert "in\\x1b[31m" in status.stdout


def test_a_folder_that_cannot_be_read_is_told_and_the_rest_is_counted(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    (folders.input / "sub").mkdir()
    (folders.input / "sub").chmod(0o000)

    env = {"SAMPOLL_RECURSIVE": "true"}
    lines = sampoll("status", "-i", folders.input, env=env, unprivileged=True).stdout
    document = json.loads(sampoll("status", "-i", folders.input, "--json", env=env, unprivileged=True).stdout)

    assert "1 pair waits" in lines
    assert "sub/ cannot be listed: Permission denied; it is passed over" in lines
    assert document["unreadable"] == {"sub/": "cannot be listed: Permission denied"}
