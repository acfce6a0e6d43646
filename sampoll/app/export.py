"""Writes results in further formats, from their records."""

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from sampoll.app.result_store import CommittedResults
from sampoll.core.errors import (
    InputUnavailable,
    JobError,
    OutputExists,
    OutputUnavailable,
    UsageError,
    translated_os_errors,
)
from sampoll.core.names import RECORD_SUFFIX, printable, result_path
from sampoll.core.protocols import DatasetFormat, Format
from sampoll.core.results import Artifact, Segmentation
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted
from sampoll.engine.render import rendered
from sampoll.files.atomic import replace_file
from sampoll.files.file_set import is_written, note_written, remove_file, written_files
from sampoll.files.files import read_regular, sha256_of
from sampoll.formats.opex_record import files_of
from sampoll.formats.options import FormatOptions
from sampoll.formats.registry import load_formats, needs_image, result_formats
from sampoll.monitoring.progress_bar import Progress, progress

log = logging.getLogger(__name__)


def export_results(
    output: Path, names: Sequence[str], options: FormatOptions, *, show_progress: bool
) -> tuple[int, CommandSummary]:
    """Writes every committed result of `output` in further formats, beside the existing files; returns the
    exit code and a summary."""
    formats = load_formats(names, options)
    for name, form in zip(result_formats(names), formats.of_results, strict=True):
        if needs_image(form):
            raise UsageError(
                f"{name} needs the images, which an export does not open: use sampoll run --format {name}"
            )
    if not output.is_dir():
        raise InputUnavailable(f"no output directory {output}")
    results = CommittedResults(output)
    failed_names: set[str] = set()
    with translated_os_errors("export to", output), ExitStack() as stack:
        exports = [
            stack.enter_context(closing(_Export(output, name, form)))
            for name, form in zip(result_formats(names), formats.of_results, strict=True)
        ]
        if exports:
            with progress("result", len(results), is_shown=show_progress) as bar:
                failed_names = _write_results(exports, results, bar)
        if not results.unreadable:
            for export in exports:
                export.remove_outdated()
        _write_datasets(output, formats.of_datasets, results)
    failed = len(failed_names | results.unreadable)
    exported = len(results) - failed
    line = f"{exported} exported as {', '.join(names)}, {failed} failed"
    summary = CommandSummary(line, {"exported": exported, "failed": failed})
    return (JobError.exit_code if failed else 0), summary


def _write_results(exports: Sequence["_Export"], results: Iterable[Segmentation], bar: Progress) -> set[str]:
    """Writes every result in every format that can hold it; the names of those that are not complete."""
    failed = set()
    for segmentation in results:
        for export in exports:
            try:
                export.write(segmentation)
            except JobError as error:
                log.error("%s: %s", printable(segmentation.name), error)
                failed.add(segmentation.name)
        if segmentation.name in failed:
            bar.fail()
        else:
            bar.advance()
    return failed


def write_datasets(output: Path, formats: Sequence[DatasetFormat]) -> None:
    """Writes data sets that cover all committed results of an output."""
    if formats:
        with translated_os_errors("write data sets to", output):
            _write_datasets(output, formats, CommittedResults(output))


def _write_datasets(output: Path, formats: Sequence[DatasetFormat], results: CommittedResults) -> None:
    """Writes every data set that can be written; then raises OutputUnavailable for one that cannot."""
    refused: OutputUnavailable | None = None
    for form in formats:
        try:
            form.write(results, output / form.folder)
        except OutputUnavailable as error:
            if refused is not None:
                log.error("%s", refused)
            refused = error
            continue
        count = len(results) - len(results.unreadable)
        log.info("%s has %s", output / form.folder, counted(count, "result"))
    if refused is not None:
        raise refused


class _Export:
    """The files of one format for single results. It replaces and removes those that an export or the run has
    written, and that were not changed since; no other ones."""

    def __init__(self, output: Path, name: str, form: Format) -> None:
        self._output = output
        self._name = name
        self._form = form
        self._written = written_files(output, name)
        self._current: set[str] = set()
        self._is_complete = True

    def write(self, segmentation: Segmentation) -> None:
        """OutputFailed if the format cannot hold this result; OutputExists, before anything is written, for a
        file that is not ours, or was changed since."""
        try:
            artifacts = rendered([self._form], segmentation)
        except JobError:
            self._is_complete = False  # which of its earlier files are outdated is not known
            raise
        paths = {result_path(segmentation.name, artifact.suffix): artifact for artifact in artifacts}
        self._current.update(paths)
        for path, artifact in paths.items():
            place = self._output / path
            if place.is_file() and not self._is_ours(place, segmentation, artifact):
                raise OutputExists(
                    "was not written by sampoll, or was changed since: move it away", file=str(place)
                )
        for path, artifact in paths.items():
            place = self._output / path
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, artifact.content)
            self._written[path] = artifact.sha256

    def remove_outdated(self) -> None:
        """Removes what an earlier export has written for results that are gone, or have fewer masks now."""
        if not self._is_complete:
            return
        for path in sorted(self._written.keys() - self._current):
            if is_written(self._output, path, self._written):
                remove_file(self._output, path)
            elif os.path.lexists(self._output / path):
                place = printable(str(self._output / path))
                log.warning("%s belongs to no result any more, and stays, because it was changed", place)
                continue
            del self._written[path]

    def close(self) -> None:
        if self._written or written_files(self._output, self._name):
            note_written(self._output, self._written, self._name)

    def _is_ours(self, place: Path, segmentation: Segmentation, artifact: Artifact) -> bool:
        found = sha256_of(place)
        exported = self._written.get(result_path(segmentation.name, artifact.suffix))
        if found in (artifact.sha256, exported):
            return True
        record = read_regular(self._output / (segmentation.name + RECORD_SUFFIX))
        return files_of(record).get(result_path(printable(segmentation.name), artifact.suffix)) == found
