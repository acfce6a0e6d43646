"""Rules for file names: which ones can belong to a pair, which are ignored, and which name a result gets."""

import hashlib
import os
import re
from collections.abc import Collection

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
PROMPT_SUFFIXES = frozenset({".prompt", ".json"})
PAIR_SUFFIXES = IMAGE_SUFFIXES | PROMPT_SUFFIXES
PRIVATE = ".sampoll"
DONE = "done"
FAILED = "failed"
MAX_STEM_BYTES = 220
"""Leaves room for ~VERSION and the longest suffix in a name of 255 bytes."""
_IGNORED_PREFIXES = (".", "~")
_IGNORED_SUFFIXES = (".tmp", ".part", ".filepart", ".crdownload")
_IGNORED_FOLDERS = frozenset(
    {"@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", "System Volume Information"}
)
"""Folders that storage devices and operating systems create among the users' files."""


def is_ignored(name: str) -> bool:
    """Whether it is a hidden file, or the temporary file of a copying program that renames it at the end."""
    return name.startswith(_IGNORED_PREFIXES) or name.lower().endswith(_IGNORED_SUFFIXES)


def without_temporary_affixes(name: str) -> str:
    """The name without what makes it ignored: ".a.jpg.part" -> "a.jpg"."""
    stem, suffix = split_name(name.lstrip("".join(_IGNORED_PREFIXES)))
    return stem if suffix in _IGNORED_SUFFIXES else stem + suffix


def takes_part(
    name: str, suffixes: Collection[str], ready_suffix: str | None, *, is_hidden_too: bool = False
) -> bool:
    """Whether this file can belong to a pair: it has one of `suffixes`, or marks a pair as complete, and is
    not ignored, unless `is_hidden_too`."""
    if is_ignored(name) and not is_hidden_too:
        return False
    return split_name(name)[1] in suffixes or is_marker(name, ready_suffix)


def is_marker(name: str, ready_suffix: str | None) -> bool:
    return ready_suffix is not None and split_name(name)[1] == ready_suffix.lower()


def is_searched(folder: str) -> bool:
    """Whether a folder of the input, given by its relative path, is searched for pairs."""
    return folder not in (DONE, FAILED) and is_users_folder(folder)


def is_users_folder(folder: str) -> bool:
    """Whether a folder, given by its path, is neither hidden nor one that systems create."""
    name = folder.rpartition("/")[2]
    return not is_ignored(name) and name not in _IGNORED_FOLDERS


def is_in_reach(path: str) -> bool:
    """Whether a run with --recursive takes a file at this relative path of the input as one of a pair."""
    *folders, name = path.split("/")
    above = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
    return takes_part(name, PAIR_SUFFIXES, None) and all(
        is_searched(folder) and not takes_part(base, PAIR_SUFFIXES, None)
        for folder, base in zip(above, folders, strict=True)
    )


def is_plain(name: str) -> bool:
    """Whether it is the name of a file, without a directory: it leads nowhere else."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


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
    if len(content) <= MAX_STEM_BYTES:
        return stem
    digest = hashlib.sha256(content).hexdigest()[:12]
    return content[: MAX_STEM_BYTES - len(digest) - 1].decode("utf-8", "ignore") + f"-{digest}"


def versioned(stem: str, version: int) -> str:
    """`stem` itself as version 1, then stem~2, stem~3, ..."""
    return stem if version == 1 else f"{stem}~{version}"


def is_version_of(kept_as: str, stem: str) -> bool:
    return re.fullmatch(re.escape(stem) + r"(~\d+)?", kept_as) is not None
