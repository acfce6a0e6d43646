"""What lies in an input, without a spool: for those who only look."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sampoll.core.errors import InputUnavailable
from sampoll.spool.listing import listing
from sampoll.spool.scan import Readiness, Scan, observe, scan


def survey(directory: Path, readiness: Readiness, *, recursive: bool, suffixes: Collection[str]) -> Scan:
    """The pairs and halves there, as if all of them had settled; InputUnavailable if that cannot be seen."""
    try:
        files = listing(
            directory, recursive=recursive, suffixes=suffixes, ready_suffix=readiness.ready_suffix
        )
        return scan(observe(files, {}, 0.0), 0.0, replace(readiness, settle_seconds=0.0))
    except OSError as error:
        raise InputUnavailable(f"the input {directory}: {error.strerror}") from error
