import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

AT_THE_END = """
import atexit, builtins, threading

def wait_for_the_main_thread():
    threading.main_thread().join()
    print("the thread has ended", flush=True)

class Freed:
    def __del__(self):
        print("memory is freed", flush=True)

atexit.register(lambda: print("all was called"))
threading.Thread(target=wait_for_the_main_thread).start()
builtins.freed = Freed()
"""
TELLING = """
import atexit, gc

def tell():
    from sampoll.app import process_end
    print(gc.get_threshold()[0], process_end._keeps.is_set())

atexit.register(tell)
"""
MODULE = ("-m", "sampoll")
PROGRAM = ("-c", "from sampoll.cli.main import main; main()")


def ended(
    directory: Path, start: Sequence[str], *arguments: str, at_the_end: str = AT_THE_END
) -> subprocess.CompletedProcess[str]:
    """A command whose process has something to do when it ends."""
    (directory / "sitecustomize.py").write_text(at_the_end)
    path = os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize(("arguments", "exit_code"), [(("--version",), 0), (("rum",), 2)])
def test_a_command_ends_as_any_program_but_for_its_memory(
    arguments: Sequence[str], exit_code: int, tmp_path: Path
) -> None:
    run = ended(tmp_path, MODULE, *arguments)

    assert run.returncode == exit_code
    assert run.stdout.splitlines()[-2:] == ["the thread has ended", "all was called"]
    assert ("rum" in run.stderr) == (exit_code == 2)


@pytest.mark.parametrize(
    ("start", "last_line"), [(MODULE, "10000 True"), (PROGRAM, f"{gc.get_threshold()[0]} False")]
)
def test_only_a_process_of_its_own_collects_less_garbage_and_keeps_what_it_loads(
    start: Sequence[str], last_line: str, tmp_path: Path
) -> None:
    run = ended(tmp_path, start, "--version", at_the_end=TELLING)

    assert run.stdout.splitlines()[-1] == last_line


def test_a_program_that_calls_a_command_ends_as_it_always_does(tmp_path: Path) -> None:
    run = ended(tmp_path, PROGRAM, "--version")

    assert run.returncode == 0
    assert run.stdout.splitlines()[-3:] == ["the thread has ended", "all was called", "memory is freed"]
