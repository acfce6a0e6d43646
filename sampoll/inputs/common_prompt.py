"""Prompts that come from the settings: one for all images, or one for those that have none of their own."""

from dataclasses import dataclass, field
from pathlib import Path

import orjson

from sampoll.core.errors import BadPrompt, ConfigurationError
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_errors import cut
from sampoll.inputs.usable_prompts import usable_prompts

DEFAULT = "--default-prompt"
EVERYTHING, WORDS = "everything", "text:"
"""What --default-prompt may be besides a file; what follows the second are words."""


@dataclass(frozen=True)
class CommonPrompt:
    """The prompt for images that have none of their own; `name` is for messages."""

    name: str
    content: bytes = field(repr=False)


def prompt_for_all(path: Path, options: DecodingOptions) -> CommonPrompt:
    """What --prompt names; ConfigurationError if it cannot be read or is invalid."""
    return _from_file(path, "--prompt", options)


def default_prompt(value: str, options: DecodingOptions) -> CommonPrompt:
    """What --default-prompt means; ConfigurationError if it cannot be read or is invalid."""
    if value == EVERYTHING:
        return _from_value(value, b'{"everything": {}}', options)
    if not value.startswith(WORDS):
        or_else = f", and is neither {EVERYTHING} nor {WORDS}WORDS"
        return _from_file(Path(value), DEFAULT, options, or_else=or_else)
    if not (words := value.removeprefix(WORDS)).strip():
        raise ConfigurationError(
            f"{DEFAULT} '{cut(value)}' has no words: write what to look for, as {WORDS}cat"
        )
    try:
        content = orjson.dumps({"text": words})
    except orjson.JSONEncodeError as error:
        raise ConfigurationError(f"{DEFAULT} must be text in UTF-8: {error}") from error
    return _from_value(value, content, options)


def _from_value(value: str, content: bytes, options: DecodingOptions) -> CommonPrompt:
    """A prompt that the flag itself holds; messages about it name no field, as it has only one."""
    try:
        usable_prompts(content, "", options)
    except BadPrompt as error:
        reason = str(error).removeprefix(f"{error.field}: ")
        raise ConfigurationError(f"{DEFAULT} '{cut(value)}' {reason}") from error
    return CommonPrompt(DEFAULT, content)


def _from_file(path: Path, flag: str, options: DecodingOptions, *, or_else: str = "") -> CommonPrompt:
    """A prompt file; `or_else` is what is added to the message if there is none."""
    try:
        prompt = CommonPrompt(path.name, path.read_bytes())
        usable_prompts(prompt.content, str(path), options)
    except OSError as error:
        missing = or_else if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"{flag} {path} cannot be read: {error.strerror}{missing}") from error
    except BadPrompt as error:
        raise ConfigurationError(f"{flag} {error}") from error
    return prompt
