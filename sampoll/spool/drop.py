"""Pairs that a service puts into an input under names of its own, and what has become of them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sampoll.core.errors import translated_os_errors
from sampoll.core.names import RECORD_SUFFIX
from sampoll.files.atomic import temporary_name
from sampoll.files.files import (
    create_file,
    move_unless_taken,
    read_if_regular,
    subdirectories,
    sync_directory,
)
from sampoll.formats.opex_record import read_record
from sampoll.spool.layout import Layout
from sampoll.spool.reports import ERROR_SUFFIX, MAX_REPORT_BYTES

PROMPT_SUFFIX = ".json"
LOOKS = 3
"""A pair that moves from one place to another during a look may be seen in neither."""


class Place(StrEnum):
    """Where a pair is; the first four as `sampoll status` counts them."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    DEFERRED = "deferred"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class Found:
    """`document` is the record of a result, or the report of a failure."""

    place: Place
    document: bytes = b""


def drop(layout: Layout, name: str, image_suffix: str, image: bytes, prompt: bytes) -> None:
    """Puts a pair into the input; it is on disk afterwards. Half of it that is there already is completed."""
    with translated_os_errors("write into", layout.input):
        # The prompt first: an image without a prompt could be taken with the default prompt.
        for suffix, content in ((PROMPT_SUFFIX, prompt), (image_suffix, image)):
            target = layout.input / f"{name}{suffix}"
            new = temporary_name(target)
            try:
                create_file(new, content, sync=True)
                move_unless_taken(new, target)
            finally:
                new.unlink(missing_ok=True)
        sync_directory(layout.input)


def find(layout: Layout, name: str, image_suffixes: tuple[str, ...]) -> Found | None:
    """Where the pair that was dropped under this name is; None if it is nowhere."""
    with translated_os_errors("look into", layout.input):
        for _ in range(LOOKS):
            if (found := _look(layout, name, image_suffixes)) is not None:
                return found
    return None


def _look(layout: Layout, name: str, image_suffixes: tuple[str, ...]) -> Found | None:
    """In the order in which a pair moves, so that it is not missed."""
    images = (layout.input / f"{name}{suffix}" for suffix in image_suffixes)
    if (layout.input / f"{name}{PROMPT_SUFFIX}").exists() and any(image.exists() for image in images):
        return Found(Place.WAITING)
    # A claim takes the image first, and the prompt may still be in the input.
    files = [f"{name}{suffix}" for suffix in (PROMPT_SUFFIX, *image_suffixes)]
    for place, jobs in ((Place.DEFERRED, subdirectories(layout.deferred)), (Place.CLAIMED, _claimed(layout))):
        if any((job / file).exists() for job in jobs for file in files):
            return Found(place)
    report = read_if_regular(layout.failed / f"{name}{ERROR_SUFFIX}", at_most=MAX_REPORT_BYTES)
    if report is not None:
        return Found(Place.FAILED, report)
    record = read_if_regular(layout.output / f"{name}{RECORD_SUFFIX}")
    if record is not None and read_record(record, name) is not None:
        return Found(Place.DONE, record)
    return None


def _claimed(layout: Layout) -> list[Path]:
    return [job for node in subdirectories(layout.work) for job in subdirectories(node)]
