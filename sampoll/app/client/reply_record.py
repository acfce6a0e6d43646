"""The files that a reply makes, with a record that names those that are really written."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

import cv2
import numpy as np
import orjson

from sampoll.core.names import base_name, printable, result_path
from sampoll.formats.json_document import json_document
from sampoll.inputs.image_files import png
from sampoll.transports.redis.messages import RECORD
from sampoll.transports.redis.replies import NoReply, Reply

UNKNOWN_SCORE = 1.0
"""Score for replies that contain none: readers of OPEX need a number."""
MAX_SUFFIX_CHARACTERS = 24


@dataclass(frozen=True)
class ReplyFiles:
    """The files of a reply by suffix, without their record: it is made of `opex` once their name is known."""

    content: Mapping[str, bytes] = field(repr=False)
    opex: Mapping[str, Any] = field(repr=False)

    def record(self, name: str) -> bytes:
        """The record of the files as `name`: its id is that name, and it lists them under it."""
        listed = {
            result_path(printable(name), suffix): hashlib.sha256(content).hexdigest()
            for suffix, content in self.content.items()
        }
        meta = {**self.opex["meta"], "files": orjson.dumps(listed).decode()}
        return json_document({**self.opex, "id": printable(name), "meta": meta}, len(self.opex["objects"]))

    def of_image(self, path: str) -> Self:
        """The same files with a record that says where their image is: `path`, as its sender calls it."""
        meta = {**self.opex["meta"], "image_file": printable(base_name(path)), "image_path": printable(path)}
        return replace(self, opex={**self.opex, "meta": meta})

    def with_meta(self, more: Mapping[str, str]) -> Self:
        """The same files with a record that has further entries."""
        return replace(self, opex={**self.opex, "meta": {**self.opex["meta"], **more}})


def files_of(reply: Reply) -> ReplyFiles:
    """The files that the reply contains, or its mask; NoReply if it has neither."""
    if reply.error is None and RECORD in reply.files and all(map(_is_suffix, reply.files)):
        content = dict(reply.files)
        return ReplyFiles(content=content, opex=_opex_in(content.pop(RECORD), reply))
    if not reply.mask.startswith(png.SIGNATURE):
        raise NoReply("mask: is no PNG", reply.id)
    return mask_of(reply)


def mask_of(reply: Reply) -> ReplyFiles:
    """The mask of a reply, whatever else it contains."""
    return ReplyFiles({".png": reply.mask}, _complete(reply.opex or _from_contours(reply)))


def _opex_in(record: bytes, reply: Reply) -> Mapping[str, Any]:
    try:
        opex = orjson.loads(record)
        orjson.dumps(opex)  # JSON that can be read may be too deeply nested to be written
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise NoReply(f"files: {RECORD}: cannot be read: {error}", reply.id) from error
    if not isinstance(opex, dict):
        raise NoReply(f"files: {RECORD}: must be a JSON object", reply.id)
    return _complete(opex)


def _complete(opex: Mapping[str, Any]) -> Mapping[str, Any]:
    """OPEX with objects and meta data, though perhaps without any."""
    objects, meta = opex.get("objects"), opex.get("meta")
    return {
        **opex,
        "objects": objects if isinstance(objects, list) else [],
        "meta": meta if isinstance(meta, dict) else {},
    }


def _from_contours(reply: Reply) -> Mapping[str, Any]:
    return {
        "id": "",
        "timestamp": datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f"),
        "objects": [_object(contour) for contour in reply.contours if len(contour) >= 3],
        "meta": {key: _text(value) for key, value in reply.meta.items()},
    }


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


def _is_suffix(suffix: str) -> bool:
    return len(suffix) <= MAX_SUFFIX_CHARACTERS and re.fullmatch(r"(\.[A-Za-z0-9]+)+", suffix) is not None
