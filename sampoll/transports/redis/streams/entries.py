"""Turns the fields of a stream entry into a request."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, BadRequest, JobError, UnreadableInput
from sampoll.core.names import printable
from sampoll.files.files import opened_regular
from sampoll.inputs.sent import check_image_size, check_prompt_size
from sampoll.transports.redis.messages import (
    MAX_ID_CHARACTERS,
    Request,
    image_path_in,
)

Fields = Mapping[bytes, bytes]

INPUT_KEYS = ("image", "path", "prompt", "image_path")
"""The fields of an entry that are kept when its job fails."""
MAX_PATH_BYTES = 4096
_PERMANENT = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP)
"""What opening a file fails with, however often it is tried."""


@dataclass(frozen=True)
class Content:
    """The content of an entry. `path` is the path of its image, if the entry gives one."""

    request: Request
    path: str | None = None


def content_of(
    entry: str,
    fields: Fields,
    root: Path | None,
    limits: LimitSettings,
    default_prompt: bytes | None = None,
) -> Content:
    """The request in an entry: "prompt", "image" or "path", and perhaps "image_path" and "id"; without one,
    its own ID is taken, and the `default_prompt`, if there is one, without a prompt. Its `error` says what is
    wrong. No field is parsed here.

    Paths are relative to `root`; without one they are refused.
    """
    content = Content(Request(id=entry, wants_files=True))
    try:
        content = replace(content, path=_path(fields))
        content = _with(content, id=_id(fields) or entry)
        named = os.fsdecode(fields.get(b"image_path", b""))
        content = _with(content, image_path=image_path_in(content.path or named))
        content = _with(content, prompt=_prompt(fields, limits.max_prompt_bytes, default_prompt))
        return _with(content, image=_image(fields, content.path, root, limits.max_image_bytes))
    except JobError as error:
        return _with(content, error=error)


def _with(content: Content, **changes: object) -> Content:
    return replace(content, request=replace(content.request, **changes))  # type: ignore[arg-type]


def _path(fields: Fields) -> str | None:
    path = fields.get(b"path")
    if path is None:
        return None
    if len(path) > MAX_PATH_BYTES:
        raise BadRequest(f"has {len(path)} bytes, more than {MAX_PATH_BYTES}", field="path")
    if b"\0" in path:
        raise BadRequest(f"{printable(os.fsdecode(path))} has a NUL, which no path can have", field="path")
    return os.fsdecode(path)  # any other bytes are the path of a file


def _id(fields: Fields) -> str:
    try:
        identity = fields.get(b"id", b"").decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"is not UTF-8: {error.reason}", field="id") from error
    if len(identity) > MAX_ID_CHARACTERS:
        raise BadRequest(f"has {len(identity)} characters, more than {MAX_ID_CHARACTERS}", field="id")
    return identity


def _prompt(fields: Fields, max_bytes: int, default: bytes | None) -> bytes:
    prompt = fields.get(b"prompt")
    if not prompt and default is not None:
        return default
    if prompt is None:
        raise BadRequest("is missing", field="prompt")
    check_prompt_size(prompt, max_bytes)
    return prompt


def _image(fields: Fields, path: str | None, root: Path | None, max_bytes: int) -> bytes:
    image = fields.get(b"image") if path is None else _image_at(path, root, max_bytes)
    if image is None:
        raise BadRequest("is missing, and so is path", field="image")
    check_image_size(len(image), max_bytes)
    return image


def _image_at(path: str, root: Path | None, max_bytes: int) -> bytes:
    if root is None:
        raise BadRequest("this worker takes no paths: start it with --root, or send the image", field="path")
    try:
        full = (root / path).resolve()
        if not full.is_relative_to(root.resolve()):
            raise BadRequest(f"{printable(path)} is outside --root", field="path")
        with opened_regular(full) as file:
            check_image_size(os.fstat(file.fileno()).st_size, max_bytes)
            return file.readall()
    except FileNotFoundError as error:
        raise BadImage("is not there", file=path) from error
    except RuntimeError as error:  # resolve, of links in a circle
        raise BadImage("cannot be read: its links lead in a circle", file=path) from error
    except OSError as error:
        kind = BadImage if error.errno in _PERMANENT else UnreadableInput
        raise kind(f"cannot be read: {error.strerror or error}", file=path) from error
