"""Images and prompts as programs send them: how large they may be, and images as text."""

import base64
import re

import orjson

from sampoll.core.base64_text import without_whitespace
from sampoll.core.errors import BadImage, BadPrompt, BadRequest

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,")


def check_prompt_size(prompt: bytes, max_bytes: int) -> None:
    if len(prompt) > max_bytes:
        raise BadPrompt(
            f"has {len(prompt)} bytes, more than {max_bytes} (--max-prompt-bytes)", field="prompt"
        )


def check_image_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise BadImage(f"has {size_bytes} bytes, more than {max_bytes} (--max-image-bytes)", field="image")


def prompt_in(value: object, max_bytes: int) -> bytes:
    """A prompt that was part of a JSON document, as a file."""
    try:
        prompt = orjson.dumps(value)
    except orjson.JSONEncodeError as error:  # JSON that can be read may be too deeply nested to be written
        raise BadRequest(f"cannot be understood: {error}", field="prompt") from error
    check_prompt_size(prompt, max_bytes)
    return prompt


def image_in(value: object, max_bytes: int, *, passes_over_others: bool = False) -> bytes:
    """The image file in a text of base64, or in a data URL; `passes_over_others`: characters that are no
    base64 are ignored."""
    if not isinstance(value, str):
        raise BadRequest("must be an image file in base64", field="image")
    prefix = _DATA_URL.match(value)
    try:
        text = without_whitespace(value[prefix.end() :] if prefix else value)
        check_image_size(len(text) * 3 // 4 - text[-2:].count(b"="), max_bytes)
        return base64.b64decode(text, validate=not passes_over_others)
    except ValueError as error:
        raise BadRequest(f"is not base64: {error}", field="image") from error
