"""What is sent of a pair: a name and two files, which JSON and Redis can carry."""

from contextlib import suppress

import orjson

from sampoll.core.errors import BadPrompt, BadRequest, UnreadableInput
from sampoll.inputs.discovery import Pair
from sampoll.inputs.prompt_file import UTF8_BOM
from sampoll.transports.redis.messages import MAX_ID_CHARACTERS, MAX_VALUE_BYTES

MAX_VALUE_BYTES_BASE64 = MAX_VALUE_BYTES * 3 // 4


def content_of(pair: Pair, max_bytes: int) -> tuple[bytes, bytes]:
    """The image file and the prompt, which is JSON without a byte order mark; a JobError names the file at
    fault, such as one of more than `max_bytes`."""
    _check_name(pair)
    content = {}
    _check_size(pair, max_bytes)
    for path in (pair.image, pair.prompt):
        try:
            content[path] = path.read_bytes()
        except OSError as error:
            raise UnreadableInput(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    prompt = content[pair.prompt].removeprefix(UTF8_BOM)
    try:
        orjson.loads(prompt)
    except orjson.JSONDecodeError as error:
        raise BadPrompt(f"is not JSON in UTF-8: {error}", file=str(pair.prompt)) from error
    return content[pair.image], prompt


def _check_size(pair: Pair, max_bytes: int) -> None:
    for path in (pair.image, pair.prompt):
        with suppress(OSError):  # reading it says what is wrong
            if path.stat().st_size > max_bytes:
                raise BadRequest(f"has more than {max_bytes} bytes, and cannot be sent", file=str(path))


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
