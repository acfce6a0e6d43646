"""Turns the fields of a stream entry into a request."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sampoll.core.errors import BadImage, BadRequest, JobError, UnreadableInput
from sampoll.core.names import printable
from sampoll.files.files import opened_regular
from sampoll.transports.redis.messages import Request

Fields = Mapping[bytes, bytes]


@dataclass(frozen=True)
class Content:
    """The content of an entry. `path` is the path of its image, if the entry gives one."""

    request: Request
    path: str | None


def content_of(fields: Fields, root: Path | None, max_image_bytes: int) -> Content:
    """The request in an entry: "prompt", "image" or "path", and perhaps "id". Its `error` says what is wrong.

    Paths are relative to `root`; without one they are refused.
    """
    identity = fields.get(b"id", b"").decode("utf-8", "replace") or None
    path = fields[b"path"].decode("utf-8", "surrogateescape") if b"path" in fields else None
    prompt = fields.get(b"prompt", b"null")
    try:
        if b"prompt" not in fields:
            raise BadRequest("is missing", field="prompt")
        image = _image_at(path, root, max_image_bytes) if path is not None else fields.get(b"image")
        if image is None:
            raise BadRequest("is missing, and so is path", field="image")
        if len(image) > max_image_bytes:
            raise BadImage(f"has {len(image)} bytes, more than {max_image_bytes} (--max-image-bytes)")
    except JobError as error:
        return Content(Request(id=identity, wants_files=True, error=error), path)
    return Content(Request(image, prompt, identity, wants_files=True), path)


def _image_at(path: str, root: Path | None, max_image_bytes: int) -> bytes:
    if root is None:
        raise BadRequest("this worker takes no paths: start it with --root, or send the image", field="path")
    full = (root / path).resolve()
    if not full.is_relative_to(root.resolve()):
        raise BadRequest(f"{printable(path)} is outside --root", field="path")
    try:
        with opened_regular(full) as file:
            if os.fstat(file.fileno()).st_size > max_image_bytes:
                raise BadImage(f"has more than {max_image_bytes} bytes (--max-image-bytes)", file=path)
            return file.readall()
    except FileNotFoundError as error:
        raise BadImage("is not there", file=path) from error
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"cannot be read: {error}", file=path) from error
