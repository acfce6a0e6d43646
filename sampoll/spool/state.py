""".state.jsonl and the journal: the saved states of jobs, and how they change. Pure.

Two counters: `attempts` is how often the job was ever begun; `strikes` is how many of those count against
it. A crash counts only if no other job was in flight. Each job in flight becomes a suspect, and a suspect
runs alone, so that the next crash shows which job causes it.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import orjson

from sampoll.core.failures import Failure
from sampoll.core.filenames import is_plain
from sampoll.core.names import result_path

CRASHED = "crashed"
"""The code of an attempt that ended with its process."""
FIRST_DELAY_SECONDS = 2.0
MAX_DELAY_SECONDS = 600.0
LAST_SECOND = 253402214400.0
"""The last day that dates can express, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class JobState:
    """`folder` is where the files lay, relative to the input, "" for the input itself; `files` are names in
    it. `in_flight` is how many jobs, this one included, were in flight when it was begun; 0: not begun.

    `stem` and `suffixes` make the names of the results; no other job can use them once they are `reserved`.
    `replaces`: the job replaces an earlier result of these names.
    `kept_as` is the stem of the inputs in done/ or failed/.
    `not_before` is wall time in seconds since the epoch. `rejected`: the last failure is final.
    """

    job_id: str
    name: str
    files: tuple[str, ...]
    folder: str = ""
    attempts: int = 0
    strikes: int = 0
    suspect: bool = False
    in_flight: int = 0
    not_before: float = 0.0
    stem: str | None = None
    suffixes: tuple[str, ...] = ()
    reserved: bool = False
    replaces: bool = False
    kept_as: str | None = None
    rejected: bool = False
    failures: tuple[Failure, ...] = ()

    @property
    def path(self) -> str:
        """The name with its folder, as people know it."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def published_path(self) -> str:
        """The name of the results with its folder."""
        stem = self.stem or self.name
        return f"{self.folder}/{stem}" if self.folder else stem

    def result(self, suffix: str) -> str:
        """The path of the result's file with this suffix, relative to the output."""
        return result_path(self.published_path, suffix)

    def begun(self, in_flight: int) -> Self:
        """About to be tried, as one of `in_flight` jobs."""
        return replace(self, attempts=self.attempts + 1, in_flight=in_flight)

    def stopped(self) -> Self:
        """Given back before it succeeded or failed: no strike is counted."""
        return replace(self, in_flight=0)

    def crashed(self, alone: bool, at: float) -> Self:
        """The process died while this job was in flight; it gets a strike only if it was `alone`."""
        message = "the process died while this job was in flight" + (", alone" if alone else "")
        return replace(
            self._with(Failure(CRASHED, message, at)),
            strikes=self.strikes + alone,
            suspect=True,
            in_flight=0,
        )

    def deferred(self, failure: Failure, delay_seconds: float) -> Self:
        """A transient failure: it counts as a strike, and the job waits for its next try."""
        return replace(
            self._with(failure),
            strikes=self.strikes + 1,
            in_flight=0,
            not_before=failure.at + delay_seconds,
        )

    def held_up(self, until: float) -> Self:
        """Its files could not be moved to where they belong; it waits until this wall time."""
        return replace(self, in_flight=0, not_before=until)

    def refused(self, failure: Failure) -> Self:
        """A final failure: the job goes to failed/."""
        return replace(self._with(failure), in_flight=0, rejected=True)

    def unnamed(self) -> Self:
        """Without names for its results, of which none is published."""
        return replace(self, stem=None, suffixes=(), reserved=False, replaces=False)

    def retried(self) -> Self:
        """Retried by hand from failed/: its strikes are reset, and its history is kept."""
        return replace(self, strikes=0, not_before=0.0, kept_as=None, rejected=False)

    def due_in(self, now: float) -> float:
        """Seconds of wall time until the next try. A wait longer than the longest delay means that the clock
        was set back meanwhile, and ends at once."""
        wait = max(self.not_before - now, 0.0)
        return wait if wait <= MAX_DELAY_SECONDS else 0.0

    @property
    def has_history(self) -> bool:
        """Whether something would be lost if the job began anew under another id."""
        return bool(self.strikes or self.failures or self.stem)

    @property
    def was_interrupted(self) -> bool:
        """Whether a process died during one of its attempts, which may have published a part of its files."""
        return any(failure.code == CRASHED for failure in self.failures)

    def _with(self, failure: Failure) -> Self:
        return replace(self, failures=(*self.failures, failure))

    def to_json(self) -> bytes:
        try:
            return orjson.dumps(self)
        except TypeError:  # a name that is no Unicode
            return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_lines(cls, content: bytes) -> Self:
        """The last state that was written whole; ValueError if there is none."""
        for line in reversed(content.split(b"\n")):
            with suppress(ValueError):
                return cls.from_json(line)
        raise ValueError("no job state")

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """ValueError for anything that `to_json` cannot have written: above all for a path that leads out of
        the directories of the job."""
        try:
            document: dict[str, Any] = json.loads(content)
            failures = tuple(Failure(**failure) for failure in document.pop("failures"))
            files, suffixes = tuple(document.pop("files")), tuple(document.pop("suffixes"))
            state = cls(files=files, suffixes=suffixes, failures=failures, **document)
            is_valid = _is_valid(state) and all(map(_is_valid_failure, failures))
        except (TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(f"no job state: {error}") from error
        if not is_valid:
            raise ValueError("no job state: a value is not valid")
        return state


def end_line(job_id: str) -> bytes:
    """The line of a journal that says that nothing is left to be done for a job."""
    return b'{"ended": "%s"}' % job_id.encode("ascii")


def journaled_states(content: bytes) -> dict[str, JobState]:
    """The last states in a journal that were written whole, by job id, without the jobs that have ended."""
    states: dict[str, JobState] = {}
    for line in content.split(b"\n"):
        if ended := re.fullmatch(rb'{"ended": "([0-9a-f]{32})"}', line):
            states.pop(ended[1].decode("ascii"), None)
            continue
        with suppress(ValueError):
            state = JobState.from_json(line)
            states[state.job_id] = state
    return states


def is_job_id(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def _is_valid(state: JobState) -> bool:
    """Whether the types are right, and every name leads to a place of this job; TypeError if not."""
    stems = [state.name, *(stem for stem in (state.stem, state.kept_as) if stem is not None)]
    folders = state.folder.split("/") if state.folder else []
    for suffix in state.suffixes:
        *folders_of_format, ending = suffix.split("/")
        folders += folders_of_format
        if not (ending.startswith(".") and is_plain(f"x{ending}")):
            return False
    counts = (state.attempts, state.strikes, state.in_flight)
    flags = (state.suspect, state.reserved, state.replaces, state.rejected)
    return (
        is_job_id(state.job_id)
        and all(isinstance(name, str) and is_plain(name) for name in (*stems, *folders, *state.files))
        and all(type(count) is int and count >= 0 for count in counts)
        and all(type(flag) is bool for flag in flags)
        and math.isfinite(state.not_before)
        and bool(state.failures or not state.rejected)
    )


def _is_valid_failure(failure: Failure) -> bool:
    texts = (failure.code, failure.message, failure.file or "", failure.field or "")
    return (
        all(isinstance(text, str) for text in texts)
        and 0 <= failure.at < LAST_SECOND
        and isinstance(failure.sha256, Mapping)
        and all(isinstance(text, str) for text in failure.sha256.values())
    )


def retry_delay_seconds(strikes: int, random: float) -> float:
    """How long to wait after the given number of strikes: 2 s doubling to 10 min, with full jitter.

    `random` is uniform in 0..1. Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random * min(FIRST_DELAY_SECONDS * 2.0 ** max(strikes - 1, 0), MAX_DELAY_SECONDS)


def was_only_job(state: JobState, node: Sequence[JobState]) -> bool:
    """Whether `state`'s job was the only one in flight when the process that held `node` died.

    It must have begun alone, and nothing else may have begun since.
    """
    return state.in_flight == 1 and sum(other.in_flight > 0 for other in node) == 1
