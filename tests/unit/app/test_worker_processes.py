"""Workers that cannot begin."""

import sys
from typing import Any

import pytest

from sampoll.app.workers import processes
from sampoll.app.workers.messages import Order
from sampoll.app.workers.processes import Workers, WorkersFailed
from sampoll.config.settings import Settings


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.things: list[tuple[str, Any]] = []

    def note_start(self, worker: int, pid: int) -> None:
        self.things.append(("start", worker))

    def take(self, worker: int, message: object) -> None:
        self.things.append(("message", message))

    def note_end(self, worker: int, *, is_final: bool) -> None:
        self.things.append(("end", is_final))


def one_worker(told: Told) -> Workers:
    return Workers({1: Order("run", Settings(), frozenset({0}), 20, "id")}, told)


def test_a_process_of_which_nothing_comes_has_failed_whatever_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "ENTRY", "import a_module_that_is_not_there")
    told = Told()
    with pytest.raises(WorkersFailed, match="worker 1 has ended with exit code 70"):
        one_worker(told).run(lambda: None)
    assert told.things == [("start", 1), ("end", True)]


def test_without_a_program_to_start_all_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkersFailed, match=r"worker 1 cannot be started: .*/nowhere/python"):
        one_worker(Told()).run(lambda: None)
