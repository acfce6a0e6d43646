"""Replies as files: those that `sampoll run` would have written, or those that a reply has data for."""

import itertools
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson

from sampoll.core.filenames import MAX_STEM_BYTES, PRIVATE, versioned
from sampoll.core.names import printable
from sampoll.files.atomic import temporary_name
from sampoll.files.files import create_file, ensure_directory, move_all_unless_taken, read_if_regular
from sampoll.inputs.image_files import png
from sampoll.transports.redis.messages import MAX_ID_CHARACTERS, RECORD
from sampoll.transports.redis.replies import NoReply, Reply

log = logging.getLogger(__name__)

UNKNOWN_SCORE = 1.0
"""Score for replies that contain none: readers of OPEX need a number."""
MAX_SUFFIX_CHARACTERS = 24


def files_of(reply: Reply, name: str) -> dict[str, bytes]:
    """The files of a reply by suffix, the record last; NoReply if it has neither files nor a mask."""
    if reply.error is None and RECORD in reply.files and all(map(_is_suffix, reply.files)):
        files = dict(reply.files)
        return {**files, RECORD: files.pop(RECORD)}
    if not reply.mask.startswith(png.SIGNATURE):
        raise NoReply("mask: is no PNG", reply.id)
    return {".png": reply.mask, RECORD: opex_of(reply, name)}


def opex_of(reply: Reply, name: str) -> bytes:
    """The OPEX of a reply, with the id `name`; made from the contours if the reply contains no OPEX."""
    opex = reply.opex
    if opex is None:
        opex = {
            "timestamp": datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f"),
            "objects": [_object(contour) for contour in reply.contours if len(contour) >= 3],
            "meta": {key: _text(value) for key, value in reply.meta.items()},
        }
    return orjson.dumps({**opex, "id": name}, option=orjson.OPT_INDENT_2)


def _object(contour: list[list[int]]) -> dict[str, Any]:
    left, top, width, height = cv2.boundingRect(np.asarray(contour, np.int32))
    return {
        "score": UNKNOWN_SCORE,
        "label": "object",
        "bbox": {"left": left, "top": top, "right": left + width - 1, "bottom": top + height - 1},
        "polygon": {"points": contour},
        "meta": {},
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


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


def write_files(directory: Path, name: str, files: Mapping[str, bytes]) -> str:
    """Writes the files as `name`, or as an unused version of it, the record last; returns the name.

    A result that is received several times is written once. Nothing that exists is replaced.
    """
    target = directory / name
    ensure_directory(target.parent)
    written = {suffix: temporary_name(target) for suffix in files}
    try:
        for suffix, content in files.items():
            create_file(written[suffix], content, sync=False)
        for version in itertools.count(1):
            stem = versioned(name, version)
            moves = [(written[suffix], directory / f"{stem}{suffix}") for suffix in files]
            record = read_if_regular(directory / f"{stem}{RECORD}")
            if record == files[RECORD] or move_all_unless_taken(moves):
                return stem
        raise AssertionError("there are infinitely many versions")
    finally:
        for path in written.values():
            path.unlink(missing_ok=True)


def _is_suffix(suffix: str) -> bool:
    return len(suffix) <= MAX_SUFFIX_CHARACTERS and re.fullmatch(r"(\.[A-Za-z0-9]+)+", suffix) is not None
