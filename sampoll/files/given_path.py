"""Paths that a program gives as arguments."""

import os
from pathlib import Path
from typing import Any


def path_of(value: Any) -> Path:
    """The path that a text or any path object stands for; ValueError says why no file can have it."""
    try:
        text = os.fsdecode(value)
    except Exception as error:  # path objects of the program are asked for their text
        raise ValueError(f"must be a path, and is {type(value).__name__}") from error
    if not text:
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("must be text in UTF-8") from error
    return Path(text)
