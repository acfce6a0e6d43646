"""Scans an input without opening a spool, for commands that only read."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sampoll.config.settings import SpoolSettings
from sampoll.core.errors import InputUnavailable
from sampoll.spool.listing import listing
from sampoll.spool.scan import Readiness, Scan, observe, scan


def survey(directory: Path, settings: SpoolSettings, suffixes: Collection[str]) -> Scan:
    """The pairs and halves there, all treated as settled; InputUnavailable if the input cannot be read."""
    readiness = replace(Readiness.of(settings), settle_seconds=0.0)
    try:
        files = listing(
            directory,
            recursive=settings.recursive,
            suffixes=suffixes,
            ready_suffix=settings.ready_suffix,
        )
        return scan(observe(files, {}, 0.0), 0.0, readiness)
    except OSError as error:
        raise InputUnavailable(f"the input {directory}: {error.strerror}") from error
