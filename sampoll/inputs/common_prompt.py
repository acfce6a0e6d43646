"""Prompts that come from the settings: one for all images, or one for those that have none of their own."""

from dataclasses import dataclass, field
from pathlib import Path

import orjson

from sampoll.core.errors import BadPrompt, ConfigurationError
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.usable_prompts import usable_prompts

EVERYTHING, WORDS = "everything", "text:"
"""What --default-prompt may be besides a file; what follows the second are words."""


@dataclass(frozen=True)
class CommonPrompt:
    """The prompt for images that have none of their own; `name` is for messages."""

    name: str
    content: bytes = field(repr=False)


def prompt_for_all(path: Path, options: DecodingOptions) -> CommonPrompt:
    """What --prompt names; ConfigurationError if it cannot be read or is invalid."""
    return _valid(_read(path, "--prompt"), str(path), "--prompt", options)


def default_prompt(value: str, options: DecodingOptions) -> CommonPrompt:
    """What --default-prompt means; ConfigurationError if it cannot be read or is invalid."""
    flag = "--default-prompt"
    if value == EVERYTHING:
        return _valid(CommonPrompt(flag, b'{"everything": {}}'), value, flag, options)
    if not value.startswith(WORDS):
        return _valid(_read(Path(value), flag), value, flag, options)
    try:
        content = orjson.dumps({"text": value.removeprefix(WORDS)})
    except orjson.JSONEncodeError as error:
        raise ConfigurationError(f"{flag} must be text in UTF-8: {error}") from error
    return _valid(CommonPrompt(flag, content), WORDS, flag, options)


def _read(path: Path, flag: str) -> CommonPrompt:
    try:
        return CommonPrompt(path.name, path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{flag} {path} cannot be read: {error.strerror}") from error


def _valid(prompt: CommonPrompt, file: str, flag: str, options: DecodingOptions) -> CommonPrompt:
    try:
        usable_prompts(prompt.content, file, options)
    except BadPrompt as error:
        raise ConfigurationError(f"{flag} {error}") from error
    return prompt
