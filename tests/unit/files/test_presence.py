"""Which processes are alive, as other processes see it."""

import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from support.process import until

from sampoll.files import presence
from sampoll.files.presence import (
    Machine,
    announced,
    heartbeat_file,
    presences,
    remove,
    sending_heartbeats,
    with_liveness,
)
from sampoll.monitoring import local_services as services

NAME = "host-1-0123abcd"


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@contextmanager
def present(directory: Path, **said: Any) -> Iterator[Path]:
    path = directory / NAME
    with announced(path, Machine.this()), sending_heartbeats(path, 0.05, lambda: said):
        until(lambda: heartbeat_file(path).exists(), "a beat")
        yield path


def elsewhere(directory: Path) -> Path:
    """The file of a process on another machine, which has sent one heartbeat."""
    path = directory / NAME
    path.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 1}))
    heartbeat_file(path).write_text(json.dumps({"beat": 1, "interval_seconds": 0.3, "state": "working"}))
    return path


def test_a_process_is_alive_while_it_holds_its_file_and_shares_its_state(tmp_path: Path) -> None:
    with present(tmp_path, state="working") as path:
        [alive] = presences(tmp_path)
    [dead] = presences(tmp_path)

    assert alive.name == path.name == NAME
    assert alive.is_alive
    assert alive.details["state"] == "working"
    assert not dead.is_alive
    assert dead.details == {}


def test_an_observer_needs_no_right_to_write(tmp_path: Path) -> None:
    with present(tmp_path) as path:
        path.chmod(stat.S_IRUSR)

        assert [seen.is_alive for seen in presences(tmp_path)] == [True]


def test_only_those_who_may_write_can_lock_the_file_of_a_process(tmp_path: Path) -> None:
    modes = {}
    for umask in (0o022, 0o002, 0o000):
        before = os.umask(umask)
        try:
            with present(tmp_path) as path:
                modes[umask] = stat.S_IMODE(path.stat().st_mode)
        finally:
            os.umask(before)

    assert modes == {0o022: 0o600, 0o002: 0o660, 0o000: 0o666}


def test_a_process_whose_file_we_may_not_open_is_alive_while_its_heartbeats_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.open

    def opening(path: Path, *arguments: int) -> int:
        if path == tmp_path / NAME:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(path, *arguments)

    with present(tmp_path, state="working"):
        monkeypatch.setattr("sampoll.files.files.os.open", opening)

        [seen] = with_liveness(presences(tmp_path))

    assert (seen.is_alive, seen.details["state"]) == (True, "working")


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
    [seen] = presences(tmp_path)
    assert seen.is_alive is None
    thread.start()
    try:
        [found] = with_liveness([seen])
    finally:
        stop.set()
        thread.join()

    assert found.is_alive
    assert found.details["state"] == "paused"


def test_a_process_on_another_machine_without_heartbeats_is_taken_for_dead(tmp_path: Path) -> None:
    elsewhere(tmp_path)

    [silent] = with_liveness(presences(tmp_path))
    assert silent.is_alive is False


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 50_000, b"{}" + b" " * 2**20])
def test_a_heartbeat_that_cannot_be_parsed_is_ignored(tmp_path: Path, content: bytes) -> None:
    heartbeat_file(elsewhere(tmp_path)).write_bytes(content)

    assert presences(tmp_path)[0].details == {}


def test_no_interval_of_a_heartbeat_makes_the_observer_wait_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "MAX_WAIT_SECONDS", 0.2)
    beat = heartbeat_file(elsewhere(tmp_path))
    began = time.monotonic()
    for interval in ("1e9", "Infinity", "NaN", '"9"', "9" * 400):
        beat.write_text(f'{{"beat": 1, "interval_seconds": {interval}}}')

        assert [seen.is_alive for seen in with_liveness(presences(tmp_path))] == [False]
    assert time.monotonic() - began < 10


KINDS = ("text", "document", "pipe", "link", "link to nothing", "directory", "socket")


def put_foreign(path: Path, kind: str) -> None:
    """Something that no sampoll has written."""
    match kind:
        case "text":
            path.write_text("my thesis")
        case "document":
            path.write_text('{"host": 1, "boot": null}')
        case "pipe":
            os.mkfifo(path)
        case "link":
            target = path.with_name(".target")
            target.write_text(json.dumps({"host": "here", "boot": Machine.this().boot, "pid": 1}))
            path.symlink_to(target)
        case "link to nothing":
            path.symlink_to(path.with_name("nothing"))
        case "directory":
            path.mkdir()
            (path / "x").touch()
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_process_wrote_is_neither_believed_nor_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    registry = services.directory()
    registry.mkdir(mode=0o700)
    foreign = ["thesis.txt", NAME]
    for name in foreign:
        put_foreign(registry / name, kind)
    put_foreign(heartbeat_file(registry / NAME), kind)
    before = names_in(registry)

    with services.registered(dict):
        assert [service.name in foreign for service in services.services()] == [False]
        remove(registry / NAME)

    assert names_in(registry) == before


@pytest.mark.parametrize("how", ["link", "open to others", "a file"])
def test_a_registry_that_is_not_only_this_users_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "elsewhere"
    place.mkdir(mode=0o700)
    match how:
        case "link":
            services.directory().symlink_to(place)
        case "open to others":
            place = services.directory()
            place.mkdir()
            place.chmod(0o755)
        case "a file":
            services.directory().touch()
    dead = place / NAME
    dead.write_text(json.dumps({"host": "here", "boot": Machine.this().boot, "pid": 1}))

    with services.registered(dict):
        assert services.services() == []

    assert names_in(place) == [NAME]
    assert "services of this machine are not shown" in caplog.text


def test_without_a_directory_there_are_no_processes(tmp_path: Path) -> None:
    assert presences(tmp_path / "none") == []


def test_services_are_listed_until_they_end_and_files_of_dead_ones_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with services.registered(lambda: {"state": "working"}):
        until(lambda: [s.details.get("state") for s in services.services()] == ["working"], "the service")
        # As a kill leaves it.
        left = services.directory() / NAME
        left.write_text(json.dumps({"host": "here", "boot": Machine.this().boot, "pid": 1}))
        assert [service.name == NAME for service in services.services()] == [False]
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
        assert services.services() == []


def test_without_a_runtime_directory_each_user_has_one_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")

    assert services.directory().name == f"sampoll-{os.geteuid()}"
