"""The pictures of a report: results drawn over their images, and the images of failed pairs.

They are files beside the page, named by what they show, so that the next report keeps those that would be the
same.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from sampoll.app.report.entries import Picture, Result
from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, JobError
from sampoll.core.filenames import is_image
from sampoll.core.names import printable, result_path, result_suffix
from sampoll.engine.render import rendered
from sampoll.files.file_set import NewFiles
from sampoll.files.files import read_regular
from sampoll.formats.opex_reader import segmentation_of
from sampoll.formats.overlay import Overlay, small_picture
from sampoll.inputs.decode import decode_image, inspect_image
from sampoll.inputs.discovery import read_image_again
from sampoll.spool.failed import FailedPair

FOLDER = "report/pictures"
CRASHED = ("crashed", "crashed-repeatedly")
"""The codes of failures after which an image is not opened: it could end this process as well."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where pictures and images are found: the output, the folders in which finished images can be, and the
    suffixes of files that a report may show, with their ranks."""

    output: Path
    images: Sequence[Path]
    ranks: dict[str, int]


class Pictures:
    """Draws at most `at_most` pictures into a report; a result without one shows a file of its own."""

    def __init__(self, files: NewFiles, places: Places, limits: LimitSettings, at_most: int) -> None:
        self._files = files
        self._places = places
        self._limits = limits
        self._left = at_most
        self._written: set[str] = set()
        self.without_image = 0
        """How many results were drawn without their images."""
        self.not_drawn = 0
        """How many pictures were not drawn because there were too many."""

    def of_result(self, result: Result, name: str, record: bytes) -> Picture:
        """A picture of the result whose path is `name`: the best file of its own, or one that is drawn."""
        own = self._own_files(result, name)
        if own and own[0][0] == 0:
            return Picture(own[0][1])
        drawn = self._drawn(result, name, record)
        if drawn.path is None and own:
            return replace(drawn, path=own[0][1])
        return drawn

    def of_failed(self, pair: FailedPair) -> Picture:
        """The image of a failed pair, small."""
        image = next((path for path in pair.files if is_image(path.name)), None)
        if image is None:
            return Picture(None, "no image came")
        if any(failure.code in CRASHED for failure in pair.failures):
            return Picture(None, "its image is not opened: it may have ended a run")
        if not self._may_draw():
            return Picture(None)
        try:
            # No link is followed: who may write to the input would see any image that this user can read.
            content = read_regular(image, at_most=self._limits.max_image_bytes)
            key = f"{_digest(content)}-failed"
            return Picture(self._kept_or_new(key, lambda: self._small(content, image.name)))
        except OSError as error:
            return Picture(None, f"its image cannot be read: {error.strerror or error}")
        except JobError as error:
            is_said_already = str(error) == pair.last_failure.message
            return Picture(None, "" if is_said_already else f"its image cannot be shown: {error}")

    def _own_files(self, result: Result, name: str) -> list[tuple[int, str]]:
        """The files of a result that can be shown, the best first, with their ranks; of several masks, the
        first one that there is: that of a bad prompt was skipped."""
        found = {}
        for file in result.files:
            suffix = result_suffix(file, printable(name))
            if suffix is None:
                continue
            rank = self._places.ranks.get(_first_of_several(suffix))
            path = result_path(name, suffix)
            if rank is not None and rank not in found and _is_file(self._places.output / path):
                found[rank] = quote(path, errors="surrogateescape")
        return sorted(found.items())

    def _drawn(self, result: Result, name: str, record: bytes) -> Picture:
        if result.width * result.height > self._limits.max_pixels:
            return Picture(
                None, f"not drawn: it has more than {self._limits.max_pixels} pixels (--max-pixels)"
            )
        if not self._may_draw():
            return Picture(None)
        try:
            image, note = self._image_of(result), ""
        except BadImage as error:
            image, note = b"", f"drawn without the image: {error}"
            self.without_image += 1
        key = f"{_digest(record)}-{'overlay' if image else 'masks'}"
        try:
            return Picture(self._kept_or_new(key, lambda: _overlay(record, name, image)), note)
        except (JobError, ValueError) as error:
            return Picture(None, f"not drawn: {printable(str(error))}")

    def _may_draw(self) -> bool:
        if self._left == 0:
            self.not_drawn += 1
            return False
        self._left -= 1
        return True

    def _image_of(self, result: Result) -> bytes:
        """The image from which a result was made; BadImage if it is not there any more."""
        path = self._place_of(result.image)
        most, sha256 = self._limits.max_image_bytes, result.image_sha256
        content = read_image_again(path, most, sha256, file=result.image)
        inspect_image(content, result.image, self._limits.max_pixels)
        return content

    def _place_of(self, image: str) -> Path:
        inside = PurePosixPath(image)
        if not inside.is_absolute() and ".." not in inside.parts:
            for folder in self._places.images:
                if _is_file(folder / image):
                    return folder / image
        raise BadImage("was not found", file=image)

    def _small(self, content: bytes, file: str) -> bytes:
        return small_picture(decode_image(content, file, self._limits.max_pixels))

    def _kept_or_new(self, key: str, draw: Callable[[], bytes]) -> str:
        path = f"{FOLDER}/{key}.jpg"
        if path not in self._written:
            if not self._files.keep(path):
                self._files.write(path, draw())
            self._written.add(path)
        return path


def _overlay(record: bytes, name: str, image: bytes) -> bytes:
    segmentation = replace(segmentation_of(record, name), image=image)
    [artifact] = rendered([Overlay()], segmentation)
    return artifact.content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _first_of_several(suffix: str) -> str:
    """The suffix of the first of several masks: "png8/.3.png" -> "png8/.0.png"."""
    stem, _, ending = suffix.rpartition(".")
    folder, dot, number = stem.rpartition(".")
    return f"{folder}{dot}0.{ending}" if dot and number.isdecimal() else suffix


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  False where we may not look, and for names that are too long
