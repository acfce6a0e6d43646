"""Any order of drops, claims, attempts, endings and kills, by up to two processes on one tree.

The real spool works on a real directory. A kill is simulated: at the chosen act on a file, and at every later
one, the process raises, so that not even its clean-up can do anything; its locks end with its open files.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.folders import files_below, names_in

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import BadPrompt, OutOfMemory, OutputExists
from sampoll.core.events import ignore_events
from sampoll.core.jobs import Submission
from sampoll.core.names import result_path, result_suffix
from sampoll.core.results import Artifact, Delivery, ResultSummary
from sampoll.files import files
from sampoll.inputs.common_prompt import CommonPrompt
from sampoll.spool.directories import holds_a_job
from sampoll.spool.failed import FailedPairs
from sampoll.spool.journal import Journal, read_journal
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.reservations import Naming, OnExist
from sampoll.spool.state import JobState
from sampoll.transports.directory.transport import DirectoryOptions, DirectoryTransport, directory_transport

NAMES = ("a", "a.0", "b")
MAX_ATTEMPTS = 2
OPTIONS = DirectoryOptions(
    SpoolSettings(
        settle_seconds=0, rescan_seconds=1, give_up_seconds=0, max_attempts=MAX_ATTEMPTS, durability="off"
    )
)


WITH_DEFAULT = replace(
    OPTIONS,
    spool=OPTIONS.spool.model_copy(update={"default_prompt": "everything"}),
    prompt=CommonPrompt("--default-prompt", b"{}"),
)
"""Those of a process that takes images without a prompt."""


class Killed(BaseException):
    """The process is no more."""


class KillSwitch:
    """Kills at the act that brings `left` to zero, and at all that follow."""

    def __init__(self) -> None:
        self.left: int | None = None

    def act(self) -> None:
        if self.left is not None:
            self.left = max(self.left - 1, 0)
            if self.left == 0:
                raise Killed


@contextmanager
def killable(switch: KillSwitch) -> Iterator[None]:
    """Every act of the spool on a file asks the switch first."""

    def asking(original: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            switch.act()
            return original(*arguments, **options)

        return act

    create = files.create_file

    def create_torn(path: files.StrPath, content: bytes, *, sync: bool) -> None:
        switch.act()
        create(path, content[: len(content) // 2], sync=sync)
        switch.act()
        Path(path).write_bytes(content)

    append = files.append_line

    def append_torn(path: Path, line: bytes, *, sync: bool) -> None:
        switch.act()
        whole = path.read_bytes() if path.exists() else b""
        append(path, line[: len(line) // 2], sync=sync)
        switch.act()
        path.write_bytes(whole)
        append(path, line, sync=sync)

    def write_torn(journal: Journal, lines: Sequence[bytes]) -> None:
        switch.act()
        before = journal._path.stat().st_size
        write(journal, [line[: len(line) // 2] for line in lines[:1]])
        switch.act()
        os.truncate(journal._path, before)
        write(journal, lines)
        switch.act()

    write = Journal._write

    with ExitStack() as stack:
        for act in ("rename", "replace", "unlink", "mkdir", "rmdir", "symlink", "link"):
            stack.enter_context(mock.patch.object(os, act, asking(getattr(os, act))))
        for act in ("touch", "write_text"):
            stack.enter_context(mock.patch.object(Path, act, asking(getattr(Path, act))))
        stack.enter_context(mock.patch.object(files, "create_file", create_torn))
        stack.enter_context(mock.patch("sampoll.spool.claims.append_line", append_torn))
        stack.enter_context(mock.patch.object(Journal, "_write", write_torn))
        moving = asking(files._rename_unless_taken)
        stack.enter_context(mock.patch.object(files, "_rename_unless_taken", moving))
        stack.enter_context(mock.patch("shutil.rmtree", asking(shutil.rmtree)))
        stack.enter_context(mock.patch("sampoll.spool.spool.random.random", return_value=0.0))
        # Beats come by the clock, which no history could repeat.
        stack.enter_context(mock.patch("sampoll.spool.nodes.sending_heartbeats", return_value=nullcontext()))
        yield


class Process:
    """One `sampoll run` as far as the spool sees it."""

    def __init__(
        self, layout: Layout, on_exist: OnExist = OnExist.VERSION, *, has_default: bool = False
    ) -> None:
        self._stack = ExitStack()
        options = replace(WITH_DEFAULT if has_default else OPTIONS, naming=Naming(on_exist, _read_record))
        self.transport: DirectoryTransport = self._stack.enter_context(
            directory_transport(layout, options, ignore_events, set())
        )
        self.claimed: list[Submission] = []
        self.begun: list[Submission] = []

    def claim(self) -> None:
        scan, deferrals = self.transport._look()
        recovered, self.transport._recovered = self.transport._recovered, []
        claims = self.transport._claims(scan, deferrals, recovered, Event())
        self.claimed += self.transport._submissions(claims)

    def end(self) -> None:
        self._stack.close()


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.layout = Layout(self.root / "in", self.root / "out", self.root / "in" / "done")
        self.layout.input.mkdir()
        self.layout.output.mkdir()
        self.processes: list[Process] = []
        self.switch = KillSwitch()
        self.patches = ExitStack()
        self.patches.enter_context(killable(self.switch))
        self.digests: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.dropped = 0
        self.has_default = False
        self.replaces = False

    @initialize(has_default=st.booleans())
    def choose(self, has_default: bool) -> None:
        """Whether images are jobs without a prompt."""
        self.has_default = has_default

    def survives(self, process: Process | None, act: Callable[[], None], kill_at: int | None) -> None:
        """Does something, killed at the given act on a file, if it comes to that."""
        self.switch.left = kill_at
        try:
            act()
        except Killed:
            if process is not None:
                with suppress(Killed):
                    process.end()
                self.processes.remove(process)
        finally:
            self.switch.left = None

    kills = st.none() | st.integers(1, 40)
    some_process = st.integers(0, 1)

    def process(self, index: int) -> Process:
        return self.processes[index % len(self.processes)]

    @rule(name=st.sampled_from(NAMES), halves=st.sampled_from(["both", "image", "prompt"]))
    def drop(self, name: str, halves: str) -> None:
        for suffix, half in ((".jpg", "image"), (".json", "prompt")):
            path = self.layout.input / f"{name}{suffix}"
            if halves in (half, "both") and not path.exists():
                self.dropped += 1
                content = f"{name}{suffix} {self.dropped}".encode()
                path.write_bytes(content)
                self.digests.append(_digest(content))

    @precondition(lambda self: len(self.processes) < 2)
    @rule(kill_at=kills, on_exist=st.sampled_from(OnExist))
    def start(self, kill_at: int | None, on_exist: OnExist) -> None:
        self.replaces |= on_exist in (OnExist.REPLACE, OnExist.OVERWRITE)

        def act() -> None:
            self.processes.append(Process(self.layout, on_exist, has_default=self.has_default))

        self.survives(None, act, kill_at)

    @precondition(lambda self: self.processes)
    @rule(index=some_process, kill_at=kills)
    def claim(self, index: int, kill_at: int | None) -> None:
        process = self.process(index)
        self.survives(process, process.claim, kill_at)

    @precondition(lambda self: any(p.claimed for p in self.processes))
    @rule(index=some_process, kill_at=kills, together=st.booleans())
    def begin(self, index: int, kill_at: int | None, together: bool) -> None:
        process = self.process(index)
        group = process.claimed if together else process.claimed[:1]

        def act() -> None:
            process.transport.begin(group)
            self.attempts.update(submission.id for submission in group)
            process.begun += group
            process.claimed = process.claimed[len(group) :]

        self.survives(process, act, kill_at)

    @precondition(lambda self: any(p.begun for p in self.processes))
    @rule(
        index=some_process,
        kill_at=kills,
        outcome=st.sampled_from(["deliver", "deliver", "refuse", "retry"]),
        masks=st.integers(1, 2),
    )
    def finish(self, index: int, kill_at: int | None, outcome: str, masks: int) -> None:
        process = self.process(index)

        def act() -> None:
            while process.begun:
                submission = process.begun[0]
                if outcome == "deliver":
                    try:
                        _deliver(process.transport, submission, masks)
                    except OutputExists as error:
                        process.transport.reject(submission, error)
                elif outcome == "refuse":
                    process.transport.reject(submission, BadPrompt("is bad"))
                else:
                    process.transport.reject(submission, OutOfMemory("too large"))
                process.begun.pop(0)

        self.survives(process, act, kill_at)

    @precondition(lambda self: self.processes)
    @rule(index=some_process, kill_at=kills, signalled=st.booleans())
    def stop(self, index: int, kill_at: int | None, signalled: bool) -> None:
        process = self.process(index)

        def act() -> None:
            if signalled:
                process.transport.note_stopping()
            process.end()
            self.processes.remove(process)

        self.survives(process, act, kill_at)

    @rule(kill_at=kills)
    def retry(self, kill_at: int | None) -> None:
        def act() -> None:
            failed = FailedPairs(self.layout)
            for pair in failed.jobs():
                failed.retry(pair)

        # What a cut-off return leaves is due at once here, and not after a while.
        with mock.patch("sampoll.spool.failed.RETURN_SECONDS", 0.0):
            self.survives(None, act, kill_at)

    @invariant()
    def each_file_is_somewhere(self) -> None:
        kept = {_digest(path.read_bytes()) for path in self.layout.input.rglob("*") if path.is_file()}
        assert [digest for digest in self.digests if digest not in kept] == []

    @invariant()
    def each_job_has_one_place(self) -> None:
        places = Counter(
            path.name
            for parent in (*self.layout.work.glob("*"), self.layout.deferred)
            for path in parent.glob("*/")
            if holds_a_job(path)
        )
        assert max(places.values(), default=1) == 1

    @invariant()
    def each_record_has_its_masks_and_no_job_has_two(self) -> None:
        jobs: Counter[str] = Counter()
        for path in self.layout.output.glob("*.json"):
            record = json.loads(path.read_text())
            jobs[record["job_id"]] += 1
            for name, digest in record["files"].items():
                assert _digest((self.layout.output / name).read_bytes()) == digest
        assert max(jobs.values(), default=1) == 1

    @invariant()
    def no_attempt_is_forgotten(self) -> None:
        for work in self.layout.work.glob("*"):
            journaled = read_journal(work)
            for directory in work.glob("*/"):
                if directory.name in journaled and not (directory / STATE).exists():
                    assert journaled[directory.name].attempts >= self.attempts[directory.name]
        for path in self.layout.input.rglob(STATE):
            attempts = self.attempts[path.parent.name]
            try:
                state = JobState.from_lines(path.read_bytes())
            except ValueError:  # torn by a kill, before any file has moved; or the state is in the journal
                assert names_in(path.parent) == [] or path.parent.name in read_journal(path.parent.parent)
            else:
                assert state.attempts >= attempts

    def teardown(self) -> None:
        """After the last process has ended, one more finds everything, and nothing remains."""
        try:
            for process in list(self.processes):
                process.end()
            for _ in range(MAX_ATTEMPTS + 2):
                process = Process(self.layout, has_default=self.has_default)
                process.claim()
                for submission in list(process.claimed):
                    process.transport.begin([submission])
                    _deliver(process.transport, submission, 1)
                process.end()
            self.each_file_is_somewhere()
            self.each_record_has_its_masks_and_no_job_has_two()
            records = [json.loads(path.read_text()) for path in self.layout.output.glob("*.json")]
            listed = sorted(name for record in records for name in record["files"])
            published = [name for name in files_below(self.layout.output) if name.endswith(".png")]
            # What an attempt that was killed has left of the result that it was replacing is not removed.
            assert listed == published or (self.replaces and set(listed) < set(published))
            for report in self.layout.failed.glob("*.error.json"):
                name = report.name.removesuffix(".error.json")
                assert list(self.layout.failed.glob(f"{name}.j*")), "a report without its pair"
            waiting = {p.rpartition(".")[0] for p in names_in(self.layout.input) if "." in p}
            for name in waiting:  # halves only
                assert len(list(self.layout.input.glob(f"{name}.j*"))) == 1
            for private in (self.layout.work, self.layout.deferred, self.layout.stage):
                assert names_in(private) == []
            assert files_below(self.layout.names) == []
            assert [p.name for p in self.layout.input.rglob(STATE)] == []
        finally:
            self.patches.close()
            shutil.rmtree(self.root)


def _deliver(transport: DirectoryTransport, submission: Submission, masks: int) -> None:
    # One of two masks of "a" would be called like the only one of "a.0".
    suffixes = [".0.png", ".1.png"] if masks == 2 else [".png", "png8/.png"]
    name = transport.reserve(submission, [*suffixes, ".json"])
    artifacts = [Artifact(suffix, f"{submission.id}{suffix}".encode()) for suffix in suffixes]
    record = {
        "job_id": submission.id,
        "files": {result_path(name, artifact.suffix): artifact.sha256 for artifact in artifacts},
    }
    artifacts.append(Artifact(".json", json.dumps(record).encode()))
    transport.deliver([Delivery(submission, tuple(artifacts))])


def _read_record(record: bytes, name: str) -> ResultSummary:
    suffixes = (result_suffix(path, name) for path in json.loads(record)["files"])
    return ResultSummary(tuple(suffix for suffix in suffixes if suffix is not None))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("halves", ["both", "image"])
@pytest.mark.parametrize(
    ("outcome", "is_retried"), [("deliver", False), ("refuse", False), ("refuse", True), ("retry", False)]
)
def test_a_kill_at_each_act_of_an_ending(outcome: str, is_retried: bool, halves: str) -> None:
    acts = 0
    was_killed = True
    while was_killed:
        acts += 1
        machine = SpoolMachine()
        with machine.patches:
            machine.choose(has_default=halves == "image")
            machine.drop(name="a", halves=halves)
            machine.start(kill_at=None, on_exist=OnExist.VERSION)
            machine.claim(index=0, kill_at=None)
            machine.begin(index=0, kill_at=None, together=True)
            machine.finish(index=0, kill_at=acts, outcome=outcome, masks=1)
            was_killed = not machine.processes
            if is_retried:
                machine.retry(kill_at=None)
            machine.each_file_is_somewhere()
            machine.each_job_has_one_place()
            machine.each_record_has_its_masks_and_no_job_has_two()
            machine.no_attempt_is_forgotten()
            machine.teardown()
    assert acts > 3


def test_a_job_that_crashes_while_it_publishes_and_then_fails_leaves_no_masks() -> None:
    acts = 0
    was_killed = True
    while was_killed:
        acts += 1
        machine = SpoolMachine()
        with machine.patches:
            machine.drop(name="a", halves="both")
            for kill_at in (acts, 1):  # twice alone: it fails with the next process
                machine.start(kill_at=None, on_exist=OnExist.VERSION)
                machine.claim(index=0, kill_at=None)
                if machine.processes[0].claimed:
                    machine.begin(index=0, kill_at=None, together=True)
                    machine.finish(index=0, kill_at=kill_at, outcome="deliver", masks=2)
                was_killed = not machine.processes
            machine.teardown()
    assert acts > 3


TestSpool = SpoolMachine.TestCase
# Without an explanation, which traces every line: that of a failure took longer than a test may.
TestSpool.settings = settings(
    max_examples=150, stateful_step_count=30, phases=(Phase.explicit, Phase.generate, Phase.shrink)
)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_many_more_histories() -> None:
    run_state_machine_as_test(
        SpoolMachine, settings=settings(max_examples=5000, stateful_step_count=40, derandomize=False)
    )
