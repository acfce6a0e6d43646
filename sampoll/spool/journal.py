"""The states of the jobs that a node holds, in one file: a line for each change, several written at once.

A job that leaves its node, or that fails, has its state in a file in its own directory.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from threading import Lock

from sampoll.core.turns import apart
from sampoll.files.atomic import replaced_file
from sampoll.files.files import opened_regular, read_if_regular, subdirectories, sync_descriptor, write_all
from sampoll.spool.state import JobState, end_line, journaled_states

JOURNAL = ".journal.jsonl"
"""In the work directory of a node."""
MAX_BYTES = 4 * 2**20
"""A larger journal, if it is twice as large as needed, is replaced by one with the last state of each job."""
MAX_READ_BYTES = 256 * 2**20


class Journal:
    """The journal of this process's own node. Calls may come from different threads."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path = path
        self._file = file
        self._states: dict[str, JobState] = {}
        self._max_bytes = MAX_BYTES
        self._bytes = 0
        self._lock = Lock()
        # Held for as long as the disk takes, so others write meanwhile; taken before the other one.
        self._syncing = Lock()

    def append(self, states: Sequence[JobState], *, sync: bool) -> None:
        """Saves new states, which are on disk afterwards if `sync`; FileNotFoundError if another process has
        taken over the node."""
        with self._lock:
            self._write([state.to_json() for state in states])
            self._states.update((state.job_id, state) for state in states)
            is_long = self._bytes > self._max_bytes
        if is_long or sync:
            # Who holds a lock here waits for no turn: whoever has that may wait for the lock.
            with apart(), self._syncing:
                if is_long:
                    self._shorten()
                else:
                    sync_descriptor(self._file.fileno())

    def end(self, job_ids: Iterable[str]) -> None:
        """Notes that nothing is left to be done for these jobs here."""
        with self._lock:
            self._write([end_line(job_id) for job_id in job_ids])

    def forget(self, job_id: str) -> None:
        """Lets go of a job that has ended, or whose state is in its own directory by now."""
        with self._lock:
            self._states.pop(job_id, None)

    def latest(self, state: JobState) -> JobState:
        """The state of the same job that was saved last; `state` itself if none was."""
        return self._states.get(state.job_id, state)

    def close(self) -> None:
        self._file.close()

    def _write(self, lines: Sequence[bytes]) -> None:
        content = b"".join(b"\n" + line for line in lines)
        self._path.lstat()  # what is written to a file that was removed is lost without an error
        write_all(self._file.fileno(), content)
        self._bytes += len(content)

    def _shorten(self) -> None:
        """Replaces the file by one with the last states, which are on disk afterwards; unless another thread
        has done so meanwhile."""
        with self._lock:
            if self._bytes <= self._max_bytes:
                return
            content = b"".join(b"\n" + state.to_json() for state in self._states.values())
            with replaced_file(self._path, sync=True, is_sole_writer=True) as file:
                file.write(content)
            self._file.close()
            self._file = opened_regular(self._path, "a")
            self._bytes = len(content)
            self._max_bytes = max(MAX_BYTES, 2 * self._bytes)


@contextmanager
def opened_journal(work: Path) -> Iterator[Journal]:
    """A new journal in the work directory of a new node."""
    journal = Journal(work / JOURNAL, opened_regular(work / JOURNAL, "a"))
    try:
        yield journal
    finally:
        journal.close()


def read_journal(work: Path) -> Mapping[str, JobState]:
    """The last states of the jobs in the work directory of a node that have not ended. Empty if there is no
    journal; then each job has a state in its own directory."""
    return journaled_states(read_if_regular(work / JOURNAL, at_most=MAX_READ_BYTES) or b"")


def remove_work(work: Path) -> None:
    """Removes the work directory of a node that holds no jobs any more; OSError if it holds any."""
    if not (work.is_symlink() or subdirectories(work)):
        for name in (JOURNAL, f"{JOURNAL}.new"):
            (work / name).unlink(missing_ok=True)
    work.rmdir()
