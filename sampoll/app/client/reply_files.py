"""Replies as files: under which names they are written."""

import itertools
import logging
from datetime import datetime
from pathlib import Path

from sampoll.app.client.reply_record import ReplyFiles
from sampoll.core.filenames import MAX_STEM_BYTES, PRIVATE, versioned
from sampoll.core.names import printable
from sampoll.files.atomic import temporary_name
from sampoll.files.files import (
    create_anew,
    create_file,
    ensure_directory,
    move_all_unless_taken,
    read_if_regular,
)
from sampoll.transports.redis.messages import MAX_ID_CHARACTERS, RECORD
from sampoll.transports.redis.replies import Reply

log = logging.getLogger(__name__)


def name_for(reply: Reply) -> str:
    """The reply's id, if it can be the path of a file below a directory; otherwise the time."""
    name = "" if reply.id is None else str(reply.id)
    parts = name.split("/")
    is_path = name.isprintable() and not any(part in ("", ".", "..", PRIVATE) for part in parts)
    is_short = len(name) <= MAX_ID_CHARACTERS and all(len(p.encode()) <= MAX_STEM_BYTES for p in parts)
    return name if is_path and is_short else time_name()


def log_skipped_prompts(name: str, reply: Reply) -> int:
    """Logs the prompts that the service has skipped; returns how many."""
    for message in reply.skipped_prompts:
        log.warning("%s: skipped: %s", printable(name), message)
    return len(reply.skipped_prompts)


def time_name() -> str:
    """A name for a reply that brings none."""
    return datetime.now().strftime("%Y%m%d_%H%M%S.%f")


def write_files(directory: Path, name: str, files: ReplyFiles) -> str:
    """Writes the files as `name`, or as an unused version of it, the record last; returns the name.

    A result that is received several times is written once. Nothing that exists is replaced.
    """
    target = directory / name
    ensure_directory(target.parent)
    written = {suffix: temporary_name(target) for suffix in (*files.content, RECORD)}
    try:
        for suffix, content in files.content.items():
            create_file(written[suffix], content, sync=False)
        for version in itertools.count(1):
            stem = versioned(name, version)
            record = files.record(stem)
            if read_if_regular(directory / f"{stem}{RECORD}") == record:
                return stem
            create_anew(written[RECORD], record, sync=False)
            if move_all_unless_taken([(written[s], directory / f"{stem}{s}") for s in written]):
                return stem
        raise AssertionError("there are infinitely many versions")
    finally:
        for path in written.values():
            path.unlink(missing_ok=True)
