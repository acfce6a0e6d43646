import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from support.folders import Folders
from support.redis_servers import Server, running_server

# Workers share the processors, and threads of torch that wait for each other spin: with two threads a worker,
# tests of models took twice the processor time. Set before torch is imported, and for processes of tests too.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadlines: machines are shared. On CI every run tries the same examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept between runs, and the states of services, are in directories of these tests only."""
    cache = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = os.fspath(cache)
    os.environ["XDG_RUNTIME_DIR"] = os.fspath(cache / "runtime")
    yield
    shutil.rmtree(cache)


@pytest.fixture(scope="session", autouse=True)
def signals_that_stop() -> None:
    """What a shell starts in the background ignores these, and so would all commands that are tested."""
    usual: dict[signal.Signals, Any] = {
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,  # so that a stray one is reported
        signal.SIGQUIT: signal.SIG_DFL,
    }
    for number, handler in usual.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def own_log_levels() -> Iterator[None]:
    """A command that runs in the process of the tests sets levels; the next test has those from before."""
    loggers = [logging.getLogger(name) for name in ("sampoll", "watchdog")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "in", tmp_path / "out")
    folders.input.mkdir()
    return folders


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two files: support.fakes:waiting creates the first when it works, and waits for the second."""
    started, go = tmp_path / "started", tmp_path / "go"
    monkeypatch.setenv("FAKES_STARTED", str(started))
    monkeypatch.setenv("FAKES_GO", str(go))
    return started, go


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A bundled server that the tests of a module share."""
    with running_server() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client of that server, which is empty."""
    with server.client() as client:
        client.flushall()
        yield client


def needed(is_there: bool, what: str) -> None:
    """Skips a test that needs something of the machine; on CI, which must have it, fails."""
    if not is_there:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


@pytest.fixture(scope="session")
def strace() -> str:
    """The program that traces system calls and makes them fail."""
    found = shutil.which("strace")
    needed(found is not None, "strace (apt-get install strace)")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def namespaces() -> None:
    """The right to make mounts that only the test sees."""
    works = (
        shutil.which("unshare") and subprocess.run(["unshare", "-Urm", "true"], check=False).returncode == 0
    )
    needed(bool(works), "unprivileged user namespaces (unshare -Urm)")
