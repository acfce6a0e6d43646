"""Under systemd: the notifications of a service, and the unit files."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import needed
from support.folders import Folders, drop_pair
from support.images import image_of
from support.process import REPOSITORY, SAMPOLL, running_sampoll, sampoll, until

UNITS = sorted((REPOSITORY / "configs" / "systemd").glob("sampoll*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MOST_EXPOSED = 20
"""In tenths, on systemd's own scale from 0 to 10: systemd calls values below 2 OK."""
COMMAND = "/opt/sampoll/bin/sampoll"


class Heard(list[str]):
    """The messages that a socket has received so far."""

    def __init__(self, notify: socket.socket) -> None:
        super().__init__()
        self._notify = notify

    def look(self) -> "Heard":
        """The same with the messages received since."""
        while True:
            try:
                self.append(self._notify.recv(4096).decode())
            except BlockingIOError:
                return self


@contextmanager
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """The messages to a socket like that of systemd."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield Heard(notify)


@pytest.mark.parametrize("processes", [(), ("--workers", 2)])
def test_a_service_notifies_systemd_of_readiness_state_and_end(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: tuple[object, ...]
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with heard(tmp_path, monkeypatch) as said:
        flags = (*folders.flags, "--continuous", "--model", "support.fakes:boxes", *processes)
        with running_sampoll("run", *flags) as process:
            until(lambda: "READY=1" in said.look(), "READY")
            assert said[0].startswith("STATUS=starting; 0 done")
            drop_pair(folders.input, "a")
            until(lambda: any("working; 1 done" in line for line in said.look()), "the result")
            until(lambda: said.look().count("WATCHDOG=1") > 5, "signs of life")
            process.terminate()
            assert process.wait(30) == 0
        assert said.look().count("READY=1") == said.count("STOPPING=1") == 1
        assert said.index("READY=1") < said.index("STOPPING=1")


def test_a_service_that_hangs_sends_no_more_heartbeats(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: tuple[Path, Path]
) -> None:
    _, go = gate
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    drop_pair(folders.input, "a", image=image_of(height=13))
    flags = (*folders.flags, "--continuous", "--model", "support.fakes:waiting", "--stall", 1)
    with heard(tmp_path, monkeypatch) as said, running_sampoll("run", *flags):
        until(lambda: any("stalled" in line for line in said.look()), "the verdict")
        said.clear()
        until(lambda: sum("stalled" in line for line in said.look()) > 4, "more of it")
        assert "WATCHDOG=1" not in said
        go.touch()
        until(lambda: "WATCHDOG=1" in said.look(), "signs of life again")


def test_without_systemd_nothing_is_sent(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, "--continuous", "--model", "support.fakes:boxes") as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture
def analyze(tmp_path: Path) -> Path:
    """The unit files, for this installation, where systemd-analyze looks at them."""
    needed(shutil.which("systemd-analyze") is not None, "systemd-analyze (apt-get install systemd)")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(COMMAND, str(SAMPOLL)))
    return tmp_path


def analyzed(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_analyze_accepts_every_unit(unit: Path, analyze: Path) -> None:
    name = unit.name.replace("@.", "@0.")
    if name != unit.name:
        (analyze / name).write_text((analyze / unit.name).read_text())

    verified = analyzed("verify", "--man=no", f"./{name}", cwd=analyze)

    complaints = [line for line in verified.stderr.splitlines() if "sampoll" in line]
    assert complaints == []


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_every_unit_has_minimal_permissions(unit: Path, analyze: Path) -> None:
    exposed = analyzed(
        "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", f"./{unit.name}", cwd=analyze
    )

    assert exposed.returncode == 0, exposed.stdout[-2000:]


def written_unit(folders: Folders, tmp_path: Path, *arguments: object) -> Path:
    """A unit that `sampoll init` writes for these folders, in a directory of its own."""
    place = tmp_path / "units"
    place.mkdir()
    written = sampoll("init", "--systemd", "--user", "daemon", *arguments, cwd=place)
    assert written.returncode == 0, written.stderr
    [unit] = place.iterdir()
    return unit


@pytest.mark.parametrize("name", ["in", "in put; 50% $HOME"])
def test_systemd_analyze_accepts_the_unit_of_an_installation(name: str, tmp_path: Path) -> None:
    needed(shutil.which("systemd-analyze") is not None, "systemd-analyze (apt-get install systemd)")
    folders = Folders(tmp_path / name, tmp_path / "out")
    folders.input.mkdir()

    unit = written_unit(folders, tmp_path, "-i", folders.input, "-o", folders.output)

    verified = analyzed("verify", "--man=no", f"./{unit.name}", cwd=unit.parent)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if "sampoll" in line]) == (
        0,
        [],
    )
    # It sees directories for temporary files, and perhaps a home directory with the virtual environment.
    exposed = analyzed("security", "--offline=yes", "--threshold=25", f"./{unit.name}", cwd=unit.parent)
    assert exposed.returncode == 0, exposed.stdout[-2000:]


def test_the_command_of_a_written_unit_starts_this_installation_on_these_folders(
    folders: Folders, tmp_path: Path
) -> None:
    settings = tmp_path / "cells.toml"
    settings.write_text(
        f"[spool]\ninput = '{folders.input}'\noutput = '{folders.output}'\n[model]\nmodel = 'grabcut'"
    )

    unit = written_unit(folders, tmp_path, "--config", settings, "cells.service")

    [line] = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    words = line.split()
    assert words[0] == str(SAMPOLL)
    shown = sampoll(*words[1:], "--print-config", env={"XDG_CONFIG_HOME": "/nonexistent"})
    assert shown.returncode == 0, shown.stderr
    for assignment in (f'input = "{folders.input}"', f'output = "{folders.output}"', 'model = "grabcut"'):
        assert assignment in shown.stdout
    assert "continuous = true" in shown.stdout


def test_a_unit_that_is_there_already_is_left_as_it_is(folders: Folders, tmp_path: Path) -> None:
    unit = tmp_path / "sampoll.service"
    unit.write_text("mine")

    refused = sampoll("init", "--systemd", *folders.flags[:4], "--user", "daemon", cwd=tmp_path)

    assert (refused.returncode, unit.read_text()) == (2, "mine")
    assert "sampoll.service is there already: give the name of a new file" in refused.stderr


def test_the_flags_of_a_unit_are_not_for_a_settings_file(folders: Folders, tmp_path: Path) -> None:
    refused = sampoll("init", *folders.flags[:4], cwd=tmp_path)

    assert (refused.returncode, list(tmp_path.glob("*.toml"))) == (2, [])
    assert "are for --systemd" in refused.stderr


def test_the_examples_are_found(tmp_path: Path) -> None:
    shown = sampoll("init", "--examples")

    for example in (
        "watched-folder.toml",
        "systemd/sampoll.service",
        "compose/one-shot.yaml",
        "cron/sampoll",
    ):
        there = Path(shown.stdout.rstrip("\n")) / example
        assert there.read_text() == (REPOSITORY / "configs" / example).read_text()


def test_systemd_analyze_finds_errors_in_a_unit(analyze: Path) -> None:
    text = (analyze / "sampoll.service").read_text()
    (analyze / "sampoll.service").write_text(text.replace("WatchdogSec", "WatchdogSecs"))
    assert "sampoll" in analyzed("verify", "--man=no", "./sampoll.service", cwd=analyze).stderr
    (analyze / "sampoll.service").write_text(re.sub(r"^(Protect|Restrict|System).*\n", "", text, flags=re.M))
    flags = ("--offline=yes", f"--threshold={MOST_EXPOSED}")
    assert analyzed("security", *flags, "./sampoll.service", cwd=analyze).returncode != 0


def commands() -> list[Any]:
    """Every command line of ours in the unit files and the crontab."""
    files = [*UNITS, REPOSITORY / "configs" / "cron" / "sampoll"]
    found = []
    for file in files:
        text = file.read_text().replace("\\\n", " ").replace("%i", "0")
        found += [
            pytest.param(line, id=file.name) for line in re.findall(rf"^[^#\n]*({COMMAND} .+)$", text, re.M)
        ]
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_names_a_file_in_configs_and_flags_that_exist(line: str) -> None:
    words = line.split()
    at = words.index("--config") + 1
    words[at] = str(REPOSITORY / "configs" / Path(words[at]).name)

    shown = subprocess.run(
        [SAMPOLL, *words[1:], "--print-config"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent"},
    )

    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_every_unit_says_how_it_logs(unit: Path) -> None:
    assert "\nEnvironment=SAMPOLL_LOG_FORMAT=text\n" in unit.read_text()


def test_there_is_a_unit_for_each_way_to_run() -> None:
    assert [unit.name for unit in UNITS] == [
        "sampoll-http.service",
        "sampoll-once.service",
        "sampoll-once.timer",
        "sampoll.service",
        "sampoll@.service",
    ]
    assert len(commands()) == 5
