"""Writes results in further formats, from their records."""

import logging
from collections.abc import Sequence
from contextlib import closing
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
from sampoll.engine.render import rendered
from sampoll.files.atomic import replace_file
from sampoll.files.file_set import note_written, written_files
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
    failed = 0
    with translated_os_errors("export to", output):
        if formats.of_results:
            with progress("result", len(results), is_shown=show_progress) as bar:
                failed = _write_results(output, formats.of_results, results, bar)
        _write_datasets(output, formats.of_datasets, results)
    failed += len(results.unreadable)
    exported = len(results) - failed
    line = f"{exported} exported as {', '.join(names)}, {failed} failed"
    summary = CommandSummary(line, {"exported": exported, "failed": failed})
    return (JobError.exit_code if failed else 0), summary


def _write_results(output: Path, formats: Sequence[Format], results: CommittedResults, bar: Progress) -> int:
    """The number of results that cannot be written in these formats; all others are."""
    failed = 0
    with closing(_Exports(output)) as exports:
        for segmentation in results:
            try:
                exports.write(segmentation, rendered(formats, segmentation))
            except JobError as error:
                log.error("%s: %s", printable(segmentation.name), error)
                failed += 1
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
        log.info("%s has %d results", output / form.folder, len(results) - len(results.unreadable))
    if refused is not None:
        raise refused


class _Exports:
    """Writes files of results, and replaces those that an export or the run has written; no other ones."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._written = written_files(output)

    def write(self, segmentation: Segmentation, artifacts: Sequence[Artifact]) -> None:
        """OutputExists, before anything is written, for a file that is not ours, or was changed since."""
        for artifact in artifacts:
            path = self._output / result_path(segmentation.name, artifact.suffix)
            if path.is_file() and not self._is_ours(path, segmentation, artifact):
                raise OutputExists(
                    "was not written by sampoll, or was changed since: move it away", file=str(path)
                )
        for artifact in artifacts:
            name = result_path(segmentation.name, artifact.suffix)
            path = self._output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, artifact.content)
            self._written[name] = artifact.sha256

    def close(self) -> None:
        if self._written:
            note_written(self._output, self._written)

    def _is_ours(self, path: Path, segmentation: Segmentation, artifact: Artifact) -> bool:
        found = sha256_of(path)
        exported = self._written.get(result_path(segmentation.name, artifact.suffix))
        if found in (artifact.sha256, exported):
            return True
        record = read_regular(self._output / (segmentation.name + RECORD_SUFFIX))
        return files_of(record).get(result_path(printable(segmentation.name), artifact.suffix)) == found
