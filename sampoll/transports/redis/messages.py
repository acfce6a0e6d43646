"""What goes over Redis: requests as clients publish them, and the replies that they get. Pure."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadRequest, JobError, OutputFailed
from sampoll.core.filenames import is_image
from sampoll.core.jobs import SkippedPrompt
from sampoll.core.results import Artifact
from sampoll.inputs.prompt_file import UTF8_BOM, excess_of_values
from sampoll.inputs.sent import image_in, prompt_in

MAX_VALUE_BYTES = 500 * 2**20
"""Servers close the connection on a value of more than 512 MiB (proto-max-bulk-len)."""
MAX_ID_CHARACTERS = 1000
MAX_CHANNEL_CHARACTERS = 500
ENVELOPE_BYTES = 64 * 1024
"""What a request has besides its image and its prompt, at most."""
MAX_ECHO_BYTES = 2**20
"""An error reply holds the prompt up to this size: what is longer may be made to be expensive to parse."""

_REPLY_TO = re.compile(rb'"reply_to"\s*:\s*("(?:[^"\\]|\\.){1,%d}")' % MAX_CHANNEL_CHARACTERS)
_REPLY_KEYS = {"contours", "mask", "meta"}


@dataclass(frozen=True)
class Request:
    """One message, as far as it could be understood; `error` says what is wrong with the rest.

    `prompt` is what the client sent, JSON or not, `id` its own name for the request, `reply_to` the channel
    for the reply if it is not the common one. `wants_files`: the reply is to hold the result as files too.
    `image_path` is where the client keeps the image, for the record; it is not opened.
    """

    image: bytes = b""
    prompt: bytes = b"null"
    id: str | int | None = None
    reply_to: str | None = None
    wants_files: bool = False
    error: JobError | None = None
    image_path: str = ""


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


def parse_request(
    message: bytes, limits: LimitSettings, *, is_old: bool = False, default_prompt: bytes | None = None
) -> Request | None:
    """The request in a message: JSON with an "image" in base64 and a "prompt", which may be missing or null
    if there is a `default_prompt`. Unknown keys are ignored, as they have always been. None for a reply,
    which must never be answered: a client may have its reply sent to a channel of requests, and services
    would answer each other without an end.

    `is_old`: it may be for `sam_predict_redis`, which knew no other keys, and passed over characters that are
    no base64. Values of our own keys that we do not take are then ignored too.
    """
    try:
        _check_cost(message, limits)
        document = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return _unparsed(message, BadRequest(f"the request is not JSON in UTF-8: {error}"))
    except JobError as error:
        return _unparsed(message, error)
    if not isinstance(document, dict):
        return Request(error=BadRequest('the request must be a JSON object with "image" and "prompt"'))
    if "image" not in document and document.keys() >= _REPLY_KEYS:
        return None
    request = Request(
        wants_files=document.get("files") is True, image_path=image_path_in(document.get("image_path"))
    )
    try:
        # `reply_to` is read first: it is needed to report errors in the other fields.
        request = replace(request, reply_to=_reply_to(document, is_old=is_old))
        request = replace(request, id=_id(document, is_old=is_old))
        if default_prompt is not None and document.get("prompt") is None:
            document = {**document, "prompt": orjson.Fragment(default_prompt)}
        request = replace(request, prompt=prompt_in(document.get("prompt"), limits.max_prompt_bytes))
        image = image_in(document.get("image"), limits.max_image_bytes, passes_over_others=is_old)
        if "prompt" not in document:
            raise BadRequest("is missing", field="prompt")
        return replace(request, image=image)
    except JobError as error:
        return replace(request, error=error)


def _check_cost(message: bytes, limits: LimitSettings) -> None:
    """Refuses what is expensive to parse, by its length and by the number of values in it; an image has
    neither commas nor brackets."""
    max_image_text = limits.max_image_bytes * 3 // 2  # in base64, with line breaks
    if len(message) > max_image_text + limits.max_prompt_bytes + ENVELOPE_BYTES:
        raise BadRequest(
            f"the request has {len(message)} bytes, more than an image (--max-image-bytes) and a prompt "
            "(--max-prompt-bytes) have together"
        )
    if excess := excess_of_values(message, limits):
        raise BadRequest(f"the request {excess}")


def _unparsed(message: bytes, error: JobError) -> Request:
    """A request that cannot be read, or will not be. The error goes to its sender alone, if possible."""
    found = _REPLY_TO.search(message)
    try:
        return Request(reply_to=_reply_to({"reply_to": orjson.loads(found[1])} if found else {}), error=error)
    except (orjson.JSONDecodeError, BadRequest):
        return Request(error=error)


def _reply_to(document: Mapping[str, Any], *, is_old: bool = False) -> str | None:
    channel = document.get("reply_to")
    if isinstance(channel, str) and 0 < len(channel) <= MAX_CHANNEL_CHARACTERS:
        return channel
    if channel is None or is_old:
        return None
    raise BadRequest(
        f"must be a channel's name of 1 to {MAX_CHANNEL_CHARACTERS} characters", field="reply_to"
    )


def _id(document: Mapping[str, Any], *, is_old: bool) -> str | int | None:
    identity = document.get("id")
    if isinstance(identity, str) and 0 < len(identity) <= MAX_ID_CHARACTERS:
        return identity
    if isinstance(identity, int) and not isinstance(identity, bool):
        return identity
    if identity is None or is_old:
        return None
    raise BadRequest(f"must be a string of 1 to {MAX_ID_CHARACTERS} characters, or an integer", field="id")


def image_path_in(value: object) -> str:
    """Where an image is, if the value says it: the path of an image file below some folder; otherwise ""."""
    if not isinstance(value, str) or not is_image(value) or len(value) > MAX_ID_CHARACTERS:
        return ""
    is_below = all(part not in ("", ".", "..") for part in value.split("/"))
    return value if is_below else ""


def request_message(
    image: bytes,
    prompt: Any,
    *,
    id: str | None = None,
    reply_to: str | None = None,
    files: bool = False,
    image_path: str | None = None,
) -> bytes:
    """The message for a request; without keyword arguments, it is that of the oldest clients."""
    more = {"id": id, "reply_to": reply_to, "files": files or None, "image_path": image_path}
    document = {"image": base64.b64encode(image).decode("ascii"), "prompt": prompt}
    return orjson.dumps({**document, **{key: value for key, value in more.items() if value is not None}})


def reply_message(
    request: Request, answer: Answer, segmenter: Mapping[str, Any], skipped: Sequence[SkippedPrompt] = ()
) -> bytes:
    """The reply with a result. `contours` are point lists, `opex` is the whole object; `segmenter` is what
    "meta" says about the model, and `skipped` what it says about bad prompts. OutputFailed if no server would
    take it."""
    left_out = [each.document() for each in skipped]
    reply: dict[str, Any] = {
        "contours": orjson.Fragment(answer.contours),
        "mask": _base64_lines(answer.mask),
        "meta": {
            "segmenter": segmenter,
            "prompt": _echo(request.prompt),
            **({"skipped_prompts": left_out} if left_out else {}),
        },
        "opex": orjson.Fragment(answer.opex),
    }
    if request.wants_files:
        reply["files"] = {name: base64.b64encode(file).decode("ascii") for name, file in answer.files.items()}
    message = _finished(reply, request)
    if len(message) > MAX_VALUE_BYTES:
        raise OutputFailed(
            f"its reply has {len(message)} bytes, more than {MAX_VALUE_BYTES}, which servers take: "
            "send fewer prompts at a time"
        )
    return message


def error_message(
    request: Request, error: JobError, black_mask: bytes, segmenter: Mapping[str, Any]
) -> bytes:
    """The reply with an error; a client that does not know about errors draws nothing."""
    meta = {
        "segmenter": segmenter,
        "prompt": _echo(request.prompt) if len(request.prompt) <= MAX_ECHO_BYTES else None,
        "error": str(error),
        "error_code": error.code,
    }
    return _finished({"contours": [], "mask": _base64_lines(black_mask), "meta": meta}, request)


def _echo(prompt: bytes) -> orjson.Fragment:
    """The prompt as JSON that is written here, so that no sender writes a part of a reply; null if it is
    not JSON, or too deeply nested for clients to write it again inside a reply."""
    try:
        nested = [[[[[[[[orjson.loads(prompt.removeprefix(UTF8_BOM))]]]]]]]]
        return orjson.Fragment(orjson.dumps(nested)[8:-8])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return orjson.Fragment(b"null")


def _finished(reply: dict[str, Any], request: Request) -> bytes:
    echoed = {"id": request.id, "reply_to": request.reply_to}
    return orjson.dumps({**reply, **{key: value for key, value in echoed.items() if value is not None}})


def _base64_lines(content: bytes) -> str:
    """Base64 with a newline after every 76 characters, as clients have always got it."""
    return base64.encodebytes(content).decode("ascii")
