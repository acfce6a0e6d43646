"""Scans an input without opening a spool, for commands that only read."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import InputUnavailable
from sampoll.spool.listing import listing
from sampoll.spool.obstacles import Obstacle, Obstacles
from sampoll.spool.scan import Readiness, Scan, observe, scan
from sampoll.spool.unpaired import Leftovers, leftovers


@dataclass(frozen=True)
class Survey:
    """The pairs and halves of an input, all treated as settled, what of it cannot be read, and all files that
    no run takes."""

    scan: Scan
    obstacles: Sequence[Obstacle]
    leftovers: Leftovers


def survey(directory: Path, settings: SpoolSettings, suffixes: Collection[str]) -> Survey:
    """What is there; InputUnavailable if the input itself cannot be read."""
    readiness = Readiness.of(settings, time.time() - time.monotonic()).as_settled()
    now = time.monotonic()
    obstacles = Obstacles(retries=False)
    try:
        files = listing(
            directory,
            recursive=settings.recursive,
            suffixes=suffixes,
            ready_suffix=settings.ready_suffix,
            obstacles=obstacles,
            now=now,
        )
        found = scan(observe(files, {}, now), now, readiness)
    except OSError as error:
        raise InputUnavailable(f"the input {directory}: {error.strerror}") from error
    return Survey(found, obstacles.unreported(), leftovers(directory, settings, suffixes, found.halves))
