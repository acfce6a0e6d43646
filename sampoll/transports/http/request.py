"""What clients send, as an image and a prompt: in a form with files, or in JSON."""

import logging
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadRequest
from sampoll.core.filenames import is_image
from sampoll.core.names import base_name
from sampoll.core.suggestions import did_you_mean
from sampoll.inputs.prompt_errors import cut
from sampoll.inputs.prompt_file import excess_of_values, key_that_is_there_twice
from sampoll.inputs.sent import check_image_size, check_prompt_size, image_in, prompt_in
from sampoll.transports.http.refusals import Refusal

FORM, JSON = "multipart/form-data", "application/json"
IMAGE, DIGEST, PROMPT = "image", "image_sha256", "prompt"
KEYS = (IMAGE, DIGEST, PROMPT)
ENVELOPE_BYTES = 64 * 1024
"""What a request has besides its image and its prompt, at most."""
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings are about what clients send
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Question:
    """`image` is empty if the client expects the image to be known; `image_sha256` is its digest then, and ""
    otherwise. `image_file` is the name of the file, if the client tells it."""

    image: bytes = field(repr=False)
    image_sha256: str
    prompt: bytes = field(repr=False)
    image_file: str = ""


def max_body_bytes(kind: str, limits: LimitSettings) -> int:
    """The largest body that can hold an image and a prompt within the limits."""
    image = limits.max_image_bytes * 3 // 2 if kind == JSON else limits.max_image_bytes  # base64, line breaks
    return image + limits.max_prompt_bytes + ENVELOPE_BYTES


def kind_of(headers: Mapping[str, str]) -> str:
    """FORM or JSON; a Refusal for any other content."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (FORM, JSON):
        raise Refusal(415, f"the Content-Type must be {FORM} or {JSON}")
    return kind


def object_in(body: bytes, excess: str, described: str = "") -> dict[str, Any]:
    """The JSON object that a body is. BadRequest if it is none, which `described` goes on to describe, or if
    it would be expensive to parse: then `excess` says why."""
    if excess:
        raise BadRequest(f"the request {excess}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the request is not JSON in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest(f"the request must be a JSON object{described}")
    return document


def question_in_json(body: bytes, limits: LimitSettings, default_prompt: bytes | None) -> Question:
    """The question in a JSON object; a JobError names the key at fault."""
    document = object_in(body, excess_of_values(body, limits), ' with "image" and "prompt"')
    if key := key_that_is_there_twice(body, document):
        raise BadRequest("is there twice in one object", field=cut(key))
    _check_keys(document)
    given = document.get(PROMPT)
    prompt = None if given is None else prompt_in(given, limits.max_prompt_bytes)
    image = image_in(document[IMAGE], limits.max_image_bytes) if IMAGE in document else b""
    return _question(image, document.get(DIGEST, ""), prompt or default_prompt)


async def question_in_form(
    content_type: str, body: bytes, limits: LimitSettings, default_prompt: bytes | None
) -> Question:
    """The question in a form, whose `image` is a file, and whose `prompt` is a file or text."""

    async def content() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(
        Headers({"content-type": _with_boundary_only(content_type)}),
        content(),
        max_files=2,
        max_fields=len(KEYS),
        max_part_size=len(body),  # how large each part may be is checked afterwards, and said with its name
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"the form cannot be read: {error.message}") from error
    return await _question_in(form, limits, default_prompt)


def _with_boundary_only(content_type: str) -> str:
    """The Content-Type of a form without a charset: forms are in UTF-8, and other codecs of Python, which a
    client could name, make what is no Unicode, or take long."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"").decode("latin-1").replace('"', "")
    return f'{kind.decode("latin-1")}; boundary="{boundary}"' if boundary else kind.decode("latin-1")


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # the body is in memory already, and bounded


async def _question_in(form: FormData, limits: LimitSettings, default_prompt: bytes | None) -> Question:
    _check_keys(form)
    if len(form.multi_items()) > len(form):
        raise BadRequest("a part of the form occurs twice")
    image, prompt, digest = form.get(IMAGE), form.get(PROMPT), form.get(DIGEST, "")
    if isinstance(image, str):
        raise BadRequest("must be a file: give it a filename", field=IMAGE)
    content = b"" if image is None else await image.read()
    check_image_size(len(content), limits.max_image_bytes)
    text = await prompt.read() if isinstance(prompt, UploadFile) else (prompt or "").encode()
    check_prompt_size(text, limits.max_prompt_bytes)
    name = base_name(image.filename or "") if image is not None else ""
    return _question(content, digest, text or default_prompt, name if is_image(name) else "")


def _check_keys(given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in KEYS:
            advice = did_you_mean(key, KEYS)
            raise BadRequest(f"is not known: there are {', '.join(KEYS)}{advice}", field=cut(key))


def _question(image: bytes, digest: object, prompt: bytes | None, image_file: str = "") -> Question:
    if prompt is None:
        raise BadRequest("is missing", field=PROMPT)
    if bool(image) == bool(digest):
        raise BadRequest(f'needs "{IMAGE}", or "{DIGEST}" of an image that was sent before, and not both')
    if digest and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise BadRequest("must be a SHA-256 in 64 lower-case hexadecimal digits", field=DIGEST)
    return Question(image, str(digest), prompt, image_file)
