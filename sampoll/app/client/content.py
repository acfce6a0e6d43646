"""What is sent of a pair: a name and two files, which JSON and Redis can carry."""

from pathlib import Path

import orjson

from sampoll.core.errors import BadPrompt, BadRequest, UnreadableInput
from sampoll.inputs.discovery import Pair
from sampoll.inputs.prompt_file import UTF8_BOM
from sampoll.transports.redis.messages import MAX_ID_CHARACTERS, MAX_VALUE_BYTES

MAX_VALUE_BYTES_BASE64 = MAX_VALUE_BYTES * 3 // 4


def content_of(pair: Pair, max_bytes: int) -> tuple[bytes, bytes]:
    """The image file and the prompt, which is JSON without a byte order mark, or empty if there is none; a
    JobError names the file at fault, such as one of more than `max_bytes`."""
    _check_name(pair)
    image = _read(pair.image, max_bytes)
    if pair.prompt is None:
        return image, b""
    prompt = _read(pair.prompt, max_bytes).removeprefix(UTF8_BOM)
    try:
        orjson.loads(prompt)
    except orjson.JSONDecodeError as error:
        raise BadPrompt(f"is not JSON in UTF-8: {error}", file=str(pair.prompt)) from error
    return image, prompt


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if path.stat().st_size > max_bytes:
            raise BadRequest(f"has more than {max_bytes} bytes, and cannot be sent", file=str(path))
        return path.read_bytes()
    except OSError as error:
        raise UnreadableInput(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def _check_name(pair: Pair) -> None:
    """The name is the id of the request, and so a string of JSON."""
    try:
        pair.name.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("its name is not UTF-8: rename the file to send it", file=str(pair.image)) from error
    if len(pair.name) > MAX_ID_CHARACTERS:
        raise BadRequest(
            f"its name has {len(pair.name)} characters, more than {MAX_ID_CHARACTERS}: send a folder below",
            file=str(pair.image),
        )
