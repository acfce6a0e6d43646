"""Results of images that are done on a page: the files that a run would write, beside each other."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sampoll.core.errors import OutputExists, translated_os_errors
from sampoll.core.names import RECORD_SUFFIX, printable, result_path
from sampoll.core.protocols import DatasetFormat, Format
from sampoll.core.results import Artifact
from sampoll.files.atomic import replace_file
from sampoll.files.files import read_if_regular, sha256_of
from sampoll.formats.opex_record import files_of, read_record


@dataclass(frozen=True)
class ResultDirectory:
    """Where results go, and the formats of single results, the record last, and of data sets."""

    output: Path
    formats: Sequence[Format]
    datasets: Sequence[DatasetFormat]

    def check(self, name: str, artifacts: Sequence[Artifact]) -> None:
        """OutputExists, which names it, for a file that a result would replace, and that is not of an earlier
        one of this name, or was changed since."""
        earlier = self._earlier(name)
        record = self.output / result_path(name, RECORD_SUFFIX)
        if earlier is None and os.path.lexists(record):
            raise _not_ours(record)
        for artifact in artifacts:
            path = result_path(name, artifact.suffix)
            place = self.output / path
            if artifact.suffix == RECORD_SUFFIX or not os.path.lexists(place):
                continue
            if place.is_symlink() or not place.is_file() or sha256_of(place) != (earlier or {}).get(path):
                raise _not_ours(place)

    def write(self, name: str, artifacts: Sequence[Artifact]) -> list[str]:
        """Writes the files of a result, the record last, and removes those of an earlier one that it has no
        more; returns their paths below the output. StorageTrouble or PermissionRefused if that fails."""
        earlier = self._earlier(name) or {}
        paths = [result_path(name, artifact.suffix) for artifact in artifacts]
        with translated_os_errors("write results to", self.output):
            for path, artifact in zip(paths, artifacts, strict=True):
                place = self.output / path
                place.parent.mkdir(parents=True, exist_ok=True)
                replace_file(place, artifact.content)
            for path in earlier.keys() - set(paths):
                place = self.output / path
                if place.is_file() and not place.is_symlink() and sha256_of(place) == earlier[path]:
                    place.unlink()
        return paths

    def _earlier(self, name: str) -> dict[str, str] | None:
        """The SHA-256 of each file of the result that is there, by its path below the output; None if there
        is no record of ours."""
        record = read_if_regular(self.output / result_path(name, RECORD_SUFFIX))
        summary = None if record is None else read_record(record, name)
        if record is None or summary is None:
            return None
        files = files_of(record)
        return {
            result_path(name, suffix): files[result_path(printable(name), suffix)]
            for suffix in summary.suffixes
        }


def _not_ours(place: Path) -> OutputExists:
    return OutputExists("is no result of this image, or was changed since: move it away", file=str(place))
