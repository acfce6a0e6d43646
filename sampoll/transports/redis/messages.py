"""What goes over Redis: requests as clients publish them, and the replies to them. Pure."""

import base64
import binascii
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sampoll.config.settings import LimitSettings
from sampoll.core.errors import BadImage, BadRequest, JobError
from sampoll.core.results import Artifact
from sampoll.inputs.prompt_file import excess_of_values

MAX_ID_CHARACTERS = 1000
MAX_CHANNEL_CHARACTERS = 500


@dataclass(frozen=True)
class Request:
    """One message, as far as it could be understood; `error` says what is wrong with the rest.

    `prompt` is the JSON that the client sent, `id` its own name for the request, `reply_to` the channel for
    the reply if it is not the common one. `wants_files`: the reply is to hold the result as files too.
    """

    image: bytes = b""
    prompt: bytes = b"null"
    id: str | int | None = None
    reply_to: str | None = None
    wants_files: bool = False
    error: JobError | None = None


@dataclass(frozen=True)
class Answer:
    """A finished result: the contours as JSON, one mask for all prompts, OPEX, and the result's files."""

    contours: bytes
    mask: bytes
    opex: bytes
    files: Mapping[str, bytes]


CONTOURS, UNION, RECORD = ".contours.json", ".union.png", ".json"
"""The artifacts that every reply is made of; all others are files of the result."""


def wire_answer(artifacts: Sequence[Artifact]) -> Answer:
    """The answer that the artifacts of a delivery make."""
    files = {artifact.suffix: artifact.content for artifact in artifacts}
    contours, mask = files.pop(CONTOURS), files.pop(UNION)
    return Answer(contours, mask, files[RECORD], files)


def parse_request(message: bytes, limits: LimitSettings) -> Request:
    """The request in a message: JSON with an "image" in base64 and a "prompt". Unknown keys are
    ignored, as they have always been. A message with more values than its prompts can need is not parsed."""
    if excess := excess_of_values(message, limits):
        return Request(error=BadRequest(f"the request {excess}"))
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return Request(error=BadRequest(f"the request is not JSON in UTF-8: {error}"))
    if not isinstance(document, dict):
        return Request(error=BadRequest('the request must be a JSON object with "image" and "prompt"'))
    request = Request(wants_files=document.get("files") is True)
    try:
        # `reply_to` is read first: it is needed to report errors in the other fields.
        request = replace(request, reply_to=_reply_to(document))
        request = replace(request, id=_id(document))
        request = replace(request, prompt=_prompt(document))
        return replace(request, image=_image(document, limits.max_image_bytes))
    except JobError as error:
        return replace(request, error=error)


def _reply_to(document: Mapping[str, Any]) -> str | None:
    channel = document.get("reply_to")
    if channel is None or (isinstance(channel, str) and 0 < len(channel) <= MAX_CHANNEL_CHARACTERS):
        return channel
    raise BadRequest(
        f"must be a channel's name of 1 to {MAX_CHANNEL_CHARACTERS} characters", field="reply_to"
    )


def _id(document: Mapping[str, Any]) -> str | int | None:
    identity = document.get("id")
    is_name = isinstance(identity, str) and 0 < len(identity) <= MAX_ID_CHARACTERS
    if identity is None or is_name or type(identity) is int:
        return identity
    raise BadRequest(f"must be a string of 1 to {MAX_ID_CHARACTERS} characters, or an integer", field="id")


def _prompt(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document.get("prompt"))
    except orjson.JSONEncodeError as error:  # JSON that can be read may be too deeply nested to be written
        raise BadRequest(f"cannot be understood: {error}", field="prompt") from error


def _image(document: Mapping[str, Any], max_image_bytes: int) -> bytes:
    image = document.get("image")
    if not isinstance(image, str):
        raise BadRequest("must be an image file in base64", field="image")
    if "prompt" not in document:
        raise BadRequest("is missing", field="prompt")
    try:
        text = image.encode("ascii").translate(None, string.whitespace.encode())
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadRequest(f"is not base64: {error}", field="image") from error
    if len(content) > max_image_bytes:
        raise BadImage(f"has {len(content)} bytes, more than {max_image_bytes} (--max-image-bytes)")
    return content


def request_message(
    image: bytes, prompt: Any, *, id: str | None = None, reply_to: str | None = None, files: bool = False
) -> bytes:
    """The message for a request; without keyword arguments, it is that of the oldest clients."""
    more = {"id": id, "reply_to": reply_to, "files": files or None}
    document = {"image": base64.b64encode(image).decode("ascii"), "prompt": prompt}
    return orjson.dumps({**document, **{key: value for key, value in more.items() if value is not None}})


def reply_message(request: Request, answer: Answer, segmenter: Mapping[str, Any]) -> bytes:
    """The reply with a result. `contours` are point lists, `opex` is the whole object; `segmenter` is what
    "meta" says about the model."""
    reply: dict[str, Any] = {
        "contours": orjson.Fragment(answer.contours),
        "mask": _base64_lines(answer.mask),
        "meta": {"segmenter": segmenter, "prompt": orjson.Fragment(request.prompt)},
        "opex": orjson.Fragment(answer.opex),
    }
    if request.wants_files:
        reply["files"] = {name: base64.b64encode(file).decode("ascii") for name, file in answer.files.items()}
    return _finished(reply, request)


def error_message(
    request: Request, error: JobError, black_mask: bytes, segmenter: Mapping[str, Any]
) -> bytes:
    """The reply with an error; a client that does not know about errors draws nothing."""
    meta = {
        "segmenter": segmenter,
        "prompt": orjson.Fragment(request.prompt),
        "error": str(error),
        "error_code": error.code,
    }
    return _finished({"contours": [], "mask": _base64_lines(black_mask), "meta": meta}, request)


def _finished(reply: dict[str, Any], request: Request) -> bytes:
    echoed = {"id": request.id, "reply_to": request.reply_to}
    return orjson.dumps({**reply, **{key: value for key, value in echoed.items() if value is not None}})


def _base64_lines(content: bytes) -> str:
    """Base64 with a newline after every 76 characters, as clients have always got it."""
    return base64.encodebytes(content).decode("ascii")


@dataclass(frozen=True)
class Reply:
    """One reply as a client sees it. `opex` and `files` are missing in replies of other programs."""

    id: str | int | None
    contours: list[list[list[int]]]
    mask: bytes
    opex: dict[str, Any] | None
    files: Mapping[str, bytes]
    meta: Mapping[str, Any]

    @property
    def error(self) -> str | None:
        error = self.meta.get("error")
        return None if error is None else str(error)


def parse_reply(message: bytes) -> Reply:
    """The reply in a message; ValueError if the message is no reply."""
    try:
        document = orjson.loads(message)
        files = document.get("files") or {}
        return Reply(
            id=document.get("id"),
            contours=document["contours"],
            mask=base64.b64decode(document["mask"]),
            opex=document.get("opex"),
            files={str(suffix): base64.b64decode(content) for suffix, content in files.items()},
            meta=document.get("meta") or {},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a message that is no reply: {error}") from error
