"""The digests of checkpoints that were read before: a start need not read hundreds of megabytes again."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import time as now
from typing import Any

from sampoll.core.errors import ModelUnavailable
from sampoll.files.atomic import replace_file
from sampoll.files.files import sha256_of
from sampoll.models.shared.hub_directory import weight_files
from sampoll.models.shared.private_copy import check_size

log = logging.getLogger(__name__)

FOLDER = "digests"
UNSETTLED_SECONDS = 10.0
"""A file that was changed so recently is read again each time: another change could leave its times as they
are, on file systems that count in seconds."""


class KnownDigests:
    """Remembers in `folder` the digest of each checkpoint, by what the system says of its files: path, size,
    times, inode and device. A changed or replaced file has another time of change (ctime), which programs
    cannot set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sha256_of(self, checkpoint: Path) -> str:
        """The SHA-256 of a checkpoint, as `checkpoint_file.read_checkpoint` has it; ModelUnavailable if it
        cannot be read."""
        facts = _facts(checkpoint)
        if (known := self._known(checkpoint, facts)) is not None:
            return known
        for file, size, *_ in facts:
            check_size(file, size)
        try:
            sha256 = combined(sha256_of(file) for file in weight_files(checkpoint))
        except OSError as error:
            raise ModelUnavailable(f"{checkpoint} cannot be read: {error.strerror or error}") from error
        if _facts(checkpoint) == facts and _are_settled(facts):
            self._remember(checkpoint, facts, sha256)
        return sha256

    def _known(self, checkpoint: Path, facts: Sequence[object]) -> str | None:
        try:
            entry = json.loads(self._place(checkpoint).read_bytes())
            return str(entry["sha256"]) if entry["files"] == facts else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, checkpoint: Path, facts: Sequence[object], sha256: str) -> None:
        place = self._place(checkpoint)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, json.dumps({"files": facts, "sha256": sha256}).encode())
        except OSError as error:
            log.debug("cannot remember the digest of %s: %s", checkpoint, error)

    def _place(self, checkpoint: Path) -> Path:
        name = hashlib.sha256(os.fsencode(_absolute(checkpoint))).hexdigest()
        return self._folder / f"{name[:32]}.json"


def combined(digests: Iterable[str]) -> str:
    """The digest of one file, or of several the digest of theirs."""
    several = list(digests)
    return several[0] if len(several) == 1 else hashlib.sha256("".join(several).encode()).hexdigest()


def _facts(checkpoint: Path) -> list[list[Any]]:
    """What identifies the content of each file; ModelUnavailable if one is not there."""
    try:
        return [[_absolute(file), *_stat(file)] for file in weight_files(checkpoint)]
    except OSError as error:
        raise ModelUnavailable(f"{checkpoint} cannot be read: {error.strerror or error}") from error


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  links are not resolved


def _stat(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _are_settled(facts: Sequence[Sequence[Any]]) -> bool:
    newest_ns: int = max(max(changed, written) for _, _, changed, written, _, _ in facts)
    return newest_ns / 1e9 < now() - UNSETTLED_SECONDS
