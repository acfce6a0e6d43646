"""Taking a pair, keeping its state, and giving it back."""

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from sampoll.core.filenames import is_image, publishable, split_name
from sampoll.core.names import base_name, folder_of
from sampoll.files.files import (
    append_line,
    ensure_below,
    move_unless_taken,
    opened_regular,
    read_regular,
    subdirectories,
)
from sampoll.spool.journal import Journal, read_journal
from sampoll.spool.layout import REPORT, STATE, Layout
from sampoll.spool.listing import signature_of
from sampoll.spool.nodes import Node
from sampoll.spool.scan import Group, Signature
from sampoll.spool.state import JobState, is_job_id

OnError: TypeAlias = Callable[[Path, OSError], None]
"""Called with the path that could not be used; raises the error of storage that fails as a whole."""

MAX_DIGESTED_BYTES = 2**30
MAX_STATE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Claim:
    """A job directory that is ours, and its state as it was last saved.

    `is_sound` is False if a file was missing or had changed when it was claimed, or if the state was lost and
    has been guessed from the files inside; also if a file could not be moved, for the reason `refusal`.
    `replaceable` are the suffixes of the names in the output that the job may replace when it publishes:
    those of its own earlier attempts, and of the result that it replaces. The state is in the `journal`, if
    there is one, otherwise in the directory.
    """

    directory: Path
    state: JobState
    is_sound: bool = True
    replaceable: frozenset[str] = frozenset()
    refusal: OSError | None = None
    journal: Journal | None = None

    def saved(self, state: JobState, *, sync: bool) -> "Claim":
        """Writes a new state, and returns the claim with it."""
        if self.journal is None:
            return self.saved_apart(state, sync=sync)
        self.journal.append([state], sync=sync)
        return replace(self, state=state)

    def saved_apart(self, state: JobState, *, sync: bool) -> "Claim":
        """Writes a new state into the directory, so that another node can take the job."""
        append_line(self.directory / STATE, state.to_json(), sync=sync)
        if self.journal is not None:
            self.journal.forget(state.job_id)
        return replace(self, state=state, journal=None)

    def files(self) -> list[str]:
        """The names of the files of the pair that are still in the directory."""
        return [name for name in self.state.files if os.path.lexists(self.path_of(name))]

    def path_of(self, name: str) -> str:
        """The path of a file in the directory."""
        return f"{self.directory}/{name}"

    @property
    def is_complete(self) -> bool:
        return self.is_sound and len(self.files()) == len(self.state.files)


def reloaded(claim: Claim) -> Claim:
    """The claim with the state that was saved last."""
    if claim.journal is None:
        return load(claim.directory)
    return replace(claim, state=claim.journal.latest(claim.state))


def take(layout: Layout, node: Node, group: Group) -> Claim:
    """Claims a group; the claim is not sound if another process was faster, a file has changed, or a file
    cannot be moved."""
    directory = node.directories.make(uuid.uuid4().hex)
    names = tuple(sorted(map(base_name, group.signatures), key=lambda name: (is_image(name), name)))
    folder, stem = folder_of(group.stem), publishable(base_name(group.stem))
    claim = Claim(directory, JobState(directory.name, stem, names, folder), journal=node.journal)
    node.journal.append([claim.state], sync=False)
    home = layout.input / folder
    # The image first, and last when files are given back: an image in the input without its prompt could be
    # taken with the default prompt. In every process: the one that renames the first file gets them all.
    for name in reversed(names):
        try:
            os.rename(f"{home}/{name}", claim.path_of(name))
        except FileNotFoundError:
            return replace(claim, is_sound=False)
        except OSError as error:
            return replace(claim, is_sound=False, refusal=error)
    signatures = {base_name(name): signature for name, signature in group.signatures.items()}
    is_sound = all(_is_unchanged(path_to_read(layout, claim, name), signatures[name]) for name in names)
    return claim if is_sound else replace(claim, is_sound=False)


def path_to_read(layout: Layout, claim: Claim, name: str) -> str:
    """Where the content of a claimed file is."""
    return real_path(layout, claim.path_of(name), claim.state.folder)


def real_path(layout: Layout, path: str, folder: str) -> str:
    """Where the content of a file is: elsewhere only if it is a link, and the layout takes links. It leads to
    where it led in its `folder` of the input."""
    if not (layout.takes_links_and_hidden and os.path.islink(path)):
        return path
    return os.path.realpath(layout.input / folder / os.readlink(path))


def _is_unchanged(path: str, seen: Signature) -> bool:
    try:
        now = signature_of(os.lstat(path))
    except FileNotFoundError:  # what a link led to has gone
        return False
    # The inode is not compared: some filesystems change it when a file is renamed.
    return (seen.size, seen.mtime_ns) == (now.size, now.mtime_ns)


def take_deferred(node: Node, deferred: Path) -> Claim | None:
    """Claims a deferred job; None if another process was faster."""
    directory = node.work / deferred.name
    try:
        deferred.rename(directory)
    except FileNotFoundError:
        return None
    return load(directory)


def load(directory: Path, journaled: Mapping[str, JobState] = MappingProxyType({})) -> Claim:
    """The claim of a job directory, whose state is inside, or `journaled` by its node; if the state is lost,
    a claim of the files inside that is not sound. OSError if the state is not a regular file."""
    try:
        state = JobState.from_lines(read_regular(directory / STATE, at_most=MAX_STATE_BYTES))
        if state.job_id != directory.name:
            raise ValueError(f"is the state of {state.job_id}")
    except (FileNotFoundError, ValueError):
        if directory.name in journaled:
            return Claim(directory, journaled[directory.name])
        names = tuple(sorted(p.name for p in directory.iterdir() if p.name not in (STATE, REPORT)))
        stem = split_name(names[0])[0] if names else directory.name
        return Claim(directory, JobState(directory.name, publishable(stem), names), is_sound=False)
    return Claim(directory, state)


def is_spare(claim: Claim) -> bool:
    """Whether it is a directory that its process kept for a next job: empty, and without a state."""
    return not (claim.is_sound or claim.state.files)


def load_each(parent: Path, on_error: OnError) -> list[Claim]:
    """The claims of the job directories in `parent`, except those whose state cannot be read: `on_error` is
    called for each of these."""
    claims = []
    journaled = read_journal(parent)
    for directory in subdirectories(parent):
        if not is_job_id(directory.name):
            continue
        try:
            claims.append(load(directory, journaled))
        except FileNotFoundError:  # another process takes it just now
            continue
        except OSError as error:
            on_error(directory, error)
    return claims


def is_name_taken(layout: Layout, claim: Claim) -> bool:
    """Whether a new file has taken the former path of one of the claim's files in the input."""
    return any(os.path.lexists(layout.input / claim.state.folder / name) for name in claim.files())


def digests(claim: Claim) -> dict[str, str]:
    """The SHA-256 of a claim's files by name, without unreadable ones and those over MAX_DIGESTED_BYTES."""
    found = {}
    for name in claim.files():
        path = claim.directory / name
        with suppress(OSError):
            if path.lstat().st_size <= MAX_DIGESTED_BYTES:
                found[name] = digest_of(path)
    return found


def digest_of(path: Path) -> str:
    """The SHA-256 of a regular file; OSError for a link, as of `opened_regular`."""
    with opened_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def give_back(layout: Layout, claim: Claim) -> bool:
    """Moves the files back into the input, as if they had never been claimed; returns False if a name is
    taken there by now, in which case that file stays in the claim."""
    folder = layout.input / claim.state.folder
    ensure_below(layout.input, folder)  # never the input itself: it may be away for a while
    returned = [move_unless_taken(claim.path_of(name), folder / name) for name in claim.files()]
    if not all(returned):
        return False
    discard(claim)
    return True


def discard(claim: Claim) -> None:
    """Removes the directory of a claim that contains no file of the pair any more. If it contains a file that
    sampoll did not put there, the next process moves that into the input."""
    for name in (STATE, REPORT):
        (claim.directory / name).unlink(missing_ok=True)
    try:
        claim.directory.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def park(layout: Layout, claim: Claim) -> None:
    """Moves a job to deferred/, where any process can claim it once it is due."""
    claim.directory.rename(layout.deferred / claim.directory.name)
