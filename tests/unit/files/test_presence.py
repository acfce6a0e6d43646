"""Which processes are alive, as other processes see it."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from support.process import until

from sampoll.files.presence import (
    Machine,
    announced,
    heartbeat_file,
    presences,
    sending_heartbeats,
    with_liveness,
)
from sampoll.monitoring import local_services as services


@contextmanager
def present(directory: Path, **said: Any) -> Iterator[Path]:
    path = directory / "n"
    with announced(path, Machine.this()), sending_heartbeats(path, 0.05, lambda: said):
        until(lambda: heartbeat_file(path).exists(), "a beat")
        yield path


def elsewhere(directory: Path) -> Path:
    """The file of a process on another machine, which has sent one heartbeat."""
    path = directory / "n"
    path.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 1}))
    heartbeat_file(path).write_text(json.dumps({"beat": 1, "interval_seconds": 0.3, "state": "working"}))
    return path


def test_a_process_is_alive_while_it_holds_its_file_and_shares_its_state(tmp_path: Path) -> None:
    with present(tmp_path, state="working") as path:
        [alive] = presences(tmp_path)
    [dead] = presences(tmp_path)

    assert alive.name == path.name == "n"
    assert alive.is_alive
    assert alive.details["state"] == "working"
    assert not dead.is_alive
    assert dead.details == {}


def test_an_observer_needs_no_right_to_write(tmp_path: Path) -> None:
    with present(tmp_path) as path:
        path.chmod(stat.S_IRUSR)

        assert [presence.is_alive for presence in presences(tmp_path)] == [True]


def test_a_process_on_another_machine_is_alive_while_its_heartbeats_continue(tmp_path: Path) -> None:
    path, stop = elsewhere(tmp_path), Event()

    def beat() -> None:
        count = 1
        while not stop.wait(0.05):
            count += 1
            said = {"beat": count, "interval_seconds": 0.3, "state": "paused"}
            heartbeat_file(path).with_suffix(".new").write_text(json.dumps(said))
            heartbeat_file(path).with_suffix(".new").rename(heartbeat_file(path))

    thread = Thread(target=beat)
    [presence] = presences(tmp_path)
    assert presence.is_alive is None
    thread.start()
    try:
        found = with_liveness(presence)
    finally:
        stop.set()
        thread.join()

    assert found.is_alive
    assert found.details["state"] == "paused"


def test_a_process_on_another_machine_without_heartbeats_is_taken_for_dead(tmp_path: Path) -> None:
    elsewhere(tmp_path)

    assert with_liveness(*presences(tmp_path)).is_alive is False


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_heartbeat_that_cannot_be_parsed_is_ignored(tmp_path: Path, content: bytes) -> None:
    heartbeat_file(elsewhere(tmp_path)).write_bytes(content)

    assert presences(tmp_path)[0].details == {}


def test_without_a_directory_there_are_no_processes(tmp_path: Path) -> None:
    assert presences(tmp_path / "none") == []


def test_services_are_listed_until_they_end_and_files_of_dead_ones_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with services.registered(lambda: {"state": "working"}):
        until(lambda: [s.details.get("state") for s in services.services()] == ["working"], "the service")
        # As a kill leaves it.
        left = services.directory() / "left"
        left.write_text(json.dumps({"host": "here", "boot": Machine.this().boot, "pid": 1}))
        assert [service.name == "left" for service in services.services()] == [False]
        with services.registered(dict):
            assert not left.exists()
    assert list(services.directory().iterdir()) == []


def test_a_service_that_cannot_write_its_state_raises_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))

    with services.registered(dict):
        pass


def test_no_state_is_written_in_a_directory_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    with services.registered(dict):
        assert list(services.directory().iterdir()) == []


def test_without_a_runtime_directory_each_user_has_one_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")

    assert services.directory().name == f"sampoll-{os.geteuid()}"
