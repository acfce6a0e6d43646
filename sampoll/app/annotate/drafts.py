"""Drafts: what is marked in an image and not published yet, in a directory that only this user can read."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from sampoll.core.errors import DraftChanged, translated_os_errors
from sampoll.core.filenames import PRIVATE
from sampoll.core.names import printable
from sampoll.files.atomic import replace_file
from sampoll.files.files import read_if_regular
from sampoll.files.home import NotPrivateError, check_private, this_user, user_state_directory

log = logging.getLogger(__name__)

SUFFIX = ".json"


@dataclass(frozen=True)
class Draft:
    """`prompts` are documents of prompts, of which some may not be complete. `image_sha256` is that of the
    image in which they were marked. `file_sha256` is that of the prompt file with which the draft was begun,
    None if there was none. `revision` counts the saves."""

    revision: int
    image_sha256: str
    file_sha256: str | None
    prompts: tuple[Mapping[str, Any], ...]


class Drafts:
    """The drafts of the images of a folder, each a file. A file is whole whenever the process ends, and is on
    disk when a save has returned. Thread-safe."""

    def __init__(self, directory: Path) -> None:
        """Raises SampollError if there is no place for them."""
        self.place = _place_for(directory)
        self._lock = Lock()

    def known(self) -> Callable[[str], bool]:
        """Whether an image, by its path below the folder, has a draft now."""
        names = {file.name for file in self.place.glob(f"*{SUFFIX}")}
        return lambda path: bool(names) and self._file(path).name in names

    def of(self, path: str) -> Draft | None:
        """The draft of an image, by its path below the folder; None if there is none."""
        content = read_if_regular(self._file(path))
        if content is None:
            return None
        try:
            document = orjson.loads(content)
            return Draft(
                document["revision"],
                document["image_sha256"],
                document["file_sha256"],
                tuple(document["prompts"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is no draft, and is passed over: %s", self._file(path), error)
            return None

    def save(self, path: str, draft: Draft) -> Draft:
        """Replaces the draft of an image, and returns it with its new revision. DraftChanged if its revision
        is not the one that is saved."""
        with self._lock, translated_os_errors("save a draft in", self.place):
            self._check(path, draft.revision)
            saved = Draft(draft.revision + 1, draft.image_sha256, draft.file_sha256, draft.prompts)
            document = {
                "image": printable(path),  # for people
                "revision": saved.revision,
                "image_sha256": saved.image_sha256,
                "file_sha256": saved.file_sha256,
                "prompts": saved.prompts,
            }
            _make_private(self.place)  # another process may have removed it
            replace_file(self._file(path), orjson.dumps(document), sync=True)
            return saved

    def remove(self, path: str, revision: int) -> None:
        """Removes the draft of an image. DraftChanged if it has another revision by now."""
        with self._lock, translated_os_errors("remove a draft in", self.place):
            self._check(path, revision)
            self._file(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes their directory, if there are none."""
        with suppress(OSError):
            self.place.rmdir()

    def check(self, path: str, revision: int) -> None:
        """DraftChanged if the draft of an image has another revision."""
        with self._lock:
            self._check(path, revision)

    def _check(self, path: str, revision: int) -> None:
        draft = self.of(path)
        if (0 if draft is None else draft.revision) != revision:
            raise DraftChanged(
                "was changed in another window: open the image again to see it", file=printable(path)
            )

    def _file(self, path: str) -> Path:
        return self.place / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:40]}{SUFFIX}"


def _place_for(directory: Path) -> Path:
    """A directory of this user alone: hidden in the folder, or, where that is impossible, among the files
    that this user's programs keep."""
    # Not in the directory of the runs, which another user may have to create.
    beside = directory / f"{PRIVATE}-annotate-{this_user()}"
    try:
        _make_private(beside)
    except (NotPrivateError, OSError) as error:
        log.debug("no drafts in %s: %s", beside, error)
    else:
        return beside
    folder = hashlib.sha256(os.fsencode(directory)).hexdigest()[:40]
    place = user_state_directory() / "annotate" / folder
    with translated_os_errors("keep drafts in", place):
        _make_private(place)
    log.info("%s cannot be written: drafts are kept in %s", directory, place)
    return place


def _make_private(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    check_private(place)
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{place} cannot be written")
