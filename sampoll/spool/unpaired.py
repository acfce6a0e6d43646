"""Files of an input that no run takes, and why: for commands that tell what a run leaves."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.filenames import (
    IMAGE_SUFFIXES,
    PROMPT_SUFFIXES,
    is_ignored,
    is_image,
    is_marker,
    is_prompt,
    is_searched,
    split_name,
    takes_part,
    without_temporary_affixes,
)
from sampoll.core.names import base_name, folder_of, printable
from sampoll.core.wording import counted
from sampoll.files.files import walk
from sampoll.spool.selection import Selection

MAX_LINES = 10
MAX_DOCUMENTED = 1000
MAX_ENTRIES = 100_000
"""Directory entries that are looked at; in a larger input, files after them are not named."""
_OTHER_IMAGES = re.compile(
    r"\.(heic|heif|avif|gif|jp2|j2k|jxl|jfif|jpe|svg|psd|tga|ppm|pgm|pnm|exr|hdr"
    r"|dng|cr2|cr3|nef|arw|raf|orf|rw2|dcm)"
)
_RESOURCE_FORK = "._"
"""macOS puts such files beside others on file systems of other makers."""
_ENDINGS_OF_PROMPTS = re.compile(r"[ ._-]*(prompts?|points?|box(es)?|sam|annotations?)$")


class Reason(Enum):
    """Why a file is taken by no run; the value is what one such file is and what several are, for people, and
    the name is for programs."""

    OTHER_NAME = ("prompt with nearly the name of an image", "prompts with nearly the name of an image")
    OTHER_FOLDER = ("prompt in another folder than its image", "prompts in another folder than their image")
    NO_PROMPT = ("image without a prompt", "images without a prompt")
    NO_IMAGE = ("prompt without an image", "prompts without an image")
    NO_MARKER = ("pair without its marker", "pairs without their marker")
    EMPTY = ("empty file", "empty files")
    BELOW = ("folder with images or prompts", "folders with images or prompts")
    KIND = ("image of a kind that is not read", "images of a kind that is not read")
    LINK = ("symbolic link", "symbolic links")
    TEMPORARY = ("file with a hidden or temporary name", "files with a hidden or temporary name")

    def counted(self, count: int) -> str:
        return counted(count, *self.value)


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A file, or a folder, of the input: its path in it, and what is to be known about it."""

    path: str
    reason: Reason
    advice: str

    def line(self) -> str:
        """For people."""
        return f"{printable(self.path)} {self.advice}"

    def document(self) -> dict[str, str]:
        """For programs."""
        return {"path": printable(self.path), "reason": _code(self.reason), "advice": self.advice}


@dataclass(frozen=True)
class Leftovers:
    """All that a run leaves, in the order of their reasons."""

    files: Sequence[Unpaired]

    def lines(self) -> list[str]:
        """At most MAX_LINES lines with some of each reason, and one that counts the others."""
        return [line for line, _ in self.lines_with_facts()]

    def lines_with_facts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """These lines, each with what it says for programs."""
        shown, others = self.some(MAX_LINES)
        for file in shown:
            yield file.line(), file.document()
        if others:
            counts = {_code(reason): count for reason, count in others.items()}
            text = ", ".join(reason.counted(count) for reason, count in others.items())
            yield f"and more: {text}", {"counts": counts}

    def some(self, at_most: int) -> tuple[list[Unpaired], Mapping[Reason, int]]:
        """So many files with some of each reason, and the numbers of the others."""
        shown = [self.files[index] for index in sorted(islice(self._turns(), at_most))]
        others = Counter(file.reason for file in self.files)
        others.subtract(file.reason for file in shown)
        return shown, {reason: count for reason, count in others.items() if count}

    def document(self) -> Mapping[str, Any]:
        """For programs: the number of files of each reason, and the first MAX_DOCUMENTED files."""
        counts = Counter(_code(file.reason) for file in self.files)
        named = [file.document() for file in self.files[:MAX_DOCUMENTED]]
        return {"counts": counts, "files": named}

    def _turns(self) -> Iterator[int]:
        """The index of the first file of each reason, then of the second of each, and so on."""
        by_reason: dict[Reason, list[int]] = {}
        for index, file in enumerate(self.files):
            by_reason.setdefault(file.reason, []).append(index)
        for turn in range(max(map(len, by_reason.values()), default=0)):
            yield from (indexes[turn] for indexes in by_reason.values() if turn < len(indexes))


NOTHING_LEFT = Leftovers(())


def leftovers(
    directory: Path,
    settings: SpoolSettings,
    suffixes: Collection[str],
    halves: Sequence[str],
    *,
    takes_links_and_hidden: bool = False,
) -> Leftovers:
    """What a run leaves in an input of which it takes files with these suffixes; `halves` are those of a
    scan."""
    files = [*_halves(halves, settings, suffixes), *_outside(directory, settings, suffixes)]
    if takes_links_and_hidden:
        files = [file for file in files if file.reason not in (Reason.LINK, Reason.TEMPORARY)]
    ranks = {reason: rank for rank, reason in enumerate(Reason)}
    return Leftovers(sorted(files, key=lambda file: (ranks[file.reason], file.path)))


def _code(reason: Reason) -> str:
    return reason.name.lower().replace("_", "-")


# Halves: files of the right kind that wait for others


def _halves(names: Sequence[str], settings: SpoolSettings, suffixes: Collection[str]) -> Iterator[Unpaired]:
    by_stem: dict[str, list[str]] = {}
    for name in sorted(names):
        by_stem.setdefault(split_name(name)[0], []).append(name)
    images = [name for name in sorted(names) if is_image(name)]
    same_folder = {(folder_of(name), _key(name)): name for name in reversed(images)}
    same_name = {_key(name): name for name in reversed(images)}
    explained: set[str] = set()
    alone: list[str] = []
    takes_images_alone = settings.prompt is not None or settings.default_prompt is not None
    for stem, files in by_stem.items():
        marker = settings.ready_suffix
        lacks_marker = marker is not None and not any(is_marker(name, marker) for name in files)
        if lacks_marker and any(map(is_image, files)) and (takes_images_alone or any(map(is_prompt, files))):
            advice = f"waits for its marker {printable(base_name(stem))}{marker} (--ready-suffix)"
            yield Unpaired(files[0], Reason.NO_MARKER, advice)
        elif any(is_image(name) for name in files):
            alone.append(stem)
        elif prompts := [name for name in files if is_prompt(name)]:
            prompt = prompts[0]
            if image := same_folder.get((folder_of(prompt), _key(prompt))):
                yield Unpaired(prompt, Reason.OTHER_NAME, _differs(prompt, image))
            elif image := same_name.get(_key(prompt)):
                advice = f"is in another folder than {printable(image)}: put them into one"
                yield Unpaired(prompt, Reason.OTHER_FOLDER, advice)
            else:
                choices = _choices(prompt, IMAGE_SUFFIXES.intersection(suffixes))
                advice = f"has no image: a run looks for {choices} beside it"
                if settings.default_prompt is not None:
                    advice += "; if it came too late (--default-prompt), put the image there again"
                yield Unpaired(prompt, Reason.NO_IMAGE, advice)
                continue
            explained.add(split_name(image)[0])
        else:
            yield Unpaired(files[0], Reason.NO_IMAGE, "is a marker without an image and a prompt")
    for stem in alone:
        if stem not in explained:
            image = by_stem[stem][0]
            choices = _choices(image, PROMPT_SUFFIXES.intersection(suffixes))
            advice = f"has no prompt: a run looks for {choices} beside it"
            yield Unpaired(image, Reason.NO_PROMPT, advice)


def _key(name: str) -> str:
    """What two names have in common if a person means them to be the same."""
    stem = unicodedata.normalize("NFC", split_name(base_name(name))[0]).casefold()
    if not is_prompt(name):
        return stem.strip()
    if is_image(stem):
        stem = split_name(stem)[0]
    return _ENDINGS_OF_PROMPTS.sub("", stem).strip()


def _differs(prompt: str, image: str) -> str:
    """Tells why a prompt and an image whose names have the same key are no pair."""
    stem, wanted = (split_name(base_name(name))[0] for name in (prompt, image))
    if unicodedata.normalize("NFC", stem) == unicodedata.normalize("NFC", wanted):
        how = "its name has other Unicode characters that look alike (NFC and NFD)"
    elif stem.casefold() == wanted.casefold():
        how = "the names differ in capital letters"
    else:
        how = "the names must be equal but for the extension"
    return f"is no prompt of {_shown(image)}: {how}; rename it to {_shown(wanted + split_name(prompt)[1])}"


def _choices(name: str, suffixes: Iterable[str]) -> str:
    *first, last = (_shown(split_name(name)[0] + suffix) for suffix in sorted(suffixes))
    return f"{', '.join(first)} or {last}" if first else last


def _shown(path: str) -> str:
    return printable(base_name(path))


# Files that no scan of the input takes


def _outside(directory: Path, settings: SpoolSettings, suffixes: Collection[str]) -> Iterator[Unpaired]:
    entries = (
        (folder, entry)
        for folder, entries in walk(directory, enters=is_searched)
        for entry in sorted(entries, key=lambda entry: entry.name)
    )
    selection = Selection(settings.include, settings.exclude)
    below: Counter[str] = Counter()
    for folder, entry in islice(entries, MAX_ENTRIES):
        path = f"{folder}/{entry.name}" if folder else entry.name
        if not selection.takes([path]):
            continue
        if folder and not settings.recursive:
            below[folder] += takes_part(entry.name, suffixes, None)
        elif found := _refusal(entry, suffixes):
            yield Unpaired(path, *found)
    for folder, count in below.items():
        if count:
            files = counted(count, "image or prompt", "images or prompts")
            yield Unpaired(f"{folder}/", Reason.BELOW, f"has {files}: run with --recursive")


def _refusal(entry: "os.DirEntry[str]", suffixes: Collection[str]) -> tuple[Reason, str] | None:
    """Why a file of a searched folder is in no scan; None for a file that is, or that has nothing to do with
    pairs."""
    name = entry.name
    suffix = split_name(without_temporary_affixes(name))[1]
    if entry.is_symlink() and (suffix in suffixes or _is_directory(entry)):
        return Reason.LINK, "is a symbolic link, and links are not followed: put the file itself there"
    if is_ignored(name):
        if suffix in suffixes and not name.startswith(_RESOURCE_FORK):
            return Reason.TEMPORARY, "has the name of a hidden or unfinished file: rename it"
    elif _OTHER_IMAGES.fullmatch(suffix):
        return Reason.KIND, "is an image of a kind that is not read: convert it to PNG or JPEG (.jpg)"
    elif suffix in suffixes and _is_empty(entry):
        return Reason.EMPTY, "is empty: a run waits for its content"
    return None


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_empty(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_size == 0
    except OSError:
        return False
