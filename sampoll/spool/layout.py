"""Where everything lies, and which names count."""

import hashlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
PROMPT_SUFFIXES = frozenset({".prompt", ".json"})
PAIR_SUFFIXES = IMAGE_SUFFIXES | PROMPT_SUFFIXES

PRIVATE = ".sampoll"
DONE = "done"
FAILED = "failed"
STATE = ".state.jsonl"
"""Hidden, like no file that is claimed: a prompt may have any other name."""

LONGEST_STEM_BYTES = 220
"""Leaves room for ~VERSION and the longest suffix in a name of 255 bytes."""

_IGNORED_PREFIXES = (".", "~")
_IGNORED_SUFFIXES = (".tmp", ".part", ".filepart", ".crdownload")
_IGNORED_FOLDERS = frozenset(
    {"@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", "System Volume Information"}
)
"""What storage and other systems keep among people's files."""


def is_ignored(name: str) -> bool:
    """Hidden files, and what copying programs write before they rename."""
    return name.startswith(_IGNORED_PREFIXES) or name.lower().endswith(_IGNORED_SUFFIXES)


def takes_part(name: str, suffixes: Collection[str], ready_suffix: str | None) -> bool:
    """Whether a file of this name can belong to a pair, be it as the marker that says that it is complete."""
    return not is_ignored(name) and (split_name(name)[1] in suffixes or is_marker(name, ready_suffix))


def is_marker(name: str, ready_suffix: str | None) -> bool:
    return ready_suffix is not None and split_name(name)[1] == ready_suffix.lower()


def is_searched(folder: str) -> bool:
    """Whether a folder inside the input, given relative to it, can hold pairs."""
    name = folder.rpartition("/")[2]
    return folder not in (DONE, FAILED) and not is_ignored(name) and name not in _IGNORED_FOLDERS


def split_name(name: str) -> tuple[str, str]:
    """The stem, and the extension in lower case with its dot: 'a.b.JPG' -> ('a.b', '.jpg')."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension.lower()) if stem else (name, "")


def is_image(name: str) -> bool:
    return split_name(name)[1] in IMAGE_SUFFIXES


def is_prompt(name: str) -> bool:
    return split_name(name)[1] in PROMPT_SUFFIXES


def publishable(stem: str) -> str:
    """`stem`, or a shortened one with a digest, if names made from it would be too long for a file system."""
    content = os.fsencode(stem)
    if len(content) <= LONGEST_STEM_BYTES:
        return stem
    digest = hashlib.sha256(content).hexdigest()[:12]
    return content[: LONGEST_STEM_BYTES - len(digest) - 1].decode("utf-8", "ignore") + f"-{digest}"


def versioned(stem: str, version: int) -> str:
    """`stem` itself as version 1, then stem~2, stem~3, ..."""
    return stem if version == 1 else f"{stem}~{version}"


def is_version_of(kept_as: str, stem: str) -> bool:
    return re.fullmatch(re.escape(stem) + r"(~\d+)?", kept_as) is not None


@dataclass(frozen=True)
class InputLayout:
    """The directories of one input."""

    input: Path

    @cached_property
    def nodes(self) -> Path:
        return self.input / PRIVATE / "nodes"

    @cached_property
    def work(self) -> Path:
        return self.input / PRIVATE / "work"

    @cached_property
    def deferred(self) -> Path:
        return self.input / PRIVATE / "deferred"

    @cached_property
    def failed(self) -> Path:
        return self.input / FAILED


@dataclass(frozen=True)
class Layout(InputLayout):
    """The directories of one input and one output. `done` is None where finished inputs are deleted.

    `recursive`: the folders below the input are part of it, and results lie in folders of the same names.
    Files of other `suffixes` (in lower case) take no part. `deletes_images`: of a finished pair, only the
    prompt goes to `done`; `overwrites_done`: to whatever has its name there.
    """

    output: Path
    done: Path | None
    recursive: bool = False
    suffixes: frozenset[str] = PAIR_SUFFIXES
    deletes_images: bool = False
    overwrites_done: bool = False

    @cached_property
    def stage(self) -> Path:
        return self.output / PRIVATE / "stage"

    @cached_property
    def names(self) -> Path:
        return self.output / PRIVATE / "names"
