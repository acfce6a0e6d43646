"""Virtual environments of tools, processes beside this one, and the times of clicks."""

import os
import re
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import requests

from sampoll.inputs.photograph import photograph

DEADLINE_SECONDS = 300.0
TOKEN = "a-token-of-benchmarks-0123456789"


def installed(folder: Path, *packages: str) -> Path:
    """The python of an environment that has these packages, which is made if it is not there."""
    python = folder.absolute() / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


@contextmanager
def process(command: Sequence[object], log: Path, env: Mapping[str, str]) -> Iterator[None]:
    """A process beside this one, until the block ends."""
    with log.open("wb") as file:
        running = subprocess.Popen(
            [*map(str, command)], env={**os.environ, **env}, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            running.terminate()
            running.wait()


@contextmanager
def service(flags: Sequence[str], folder: Path, **env: str) -> Iterator[str]:
    """The address of a `sampoll serve http` of its own."""
    log = folder / "sampoll.log"
    command = (sys.executable, "-m", "sampoll", "serve", "http", "--bind", "127.0.0.1:0")
    with process((*command, *flags), log, {"SAMPOLL_HTTP_TOKEN": TOKEN, **env}):
        until(lambda: ": ready" in log.read_text(), "the service")
        [url] = re.findall(r"status page: (http://\S+)", log.read_text())
        yield url


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


def image_in(folder: Path) -> Path:
    """The photograph that ships with sampoll."""
    path = folder / "coffee.jpg"
    path.write_bytes(photograph().content)
    return path


def clicks_row(seconds: Sequence[float]) -> str:
    """The times of clicks, for people."""
    cuts = quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, of {len(seconds)}"
