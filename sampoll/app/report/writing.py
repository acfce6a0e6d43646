"""The report about an output: pages of HTML, and beside them the files that they need.

OUTPUT/report.html               the first page, written last
OUTPUT/report/2.html, ...        further pages
OUTPUT/report/data/1.js, ...     what the filters compare, for each page
OUTPUT/report/pictures/          what was drawn
OUTPUT/report/report.css, .js    the same for all pages

Records are read once; their cards wait in a temporary file until the totals are known. So no more than one
page of results is in memory, whatever their number.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import files as package_files
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from sampoll.app.failed import failed_in_folder
from sampoll.app.report.entries import failed_entry, result_entry, result_of
from sampoll.app.report.pictures import Pictures, Places
from sampoll.app.report.totals import Totals
from sampoll.app.result_store import CommittedResults
from sampoll.config.settings import Settings
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import InputUnavailable, JobError, translated_os_errors
from sampoll.core.filenames import DONE
from sampoll.core.names import printable
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted
from sampoll.files.file_set import NewFiles, replaced_set
from sampoll.formats.registry import thumbnail_ranks
from sampoll.monitoring.progress_bar import Progress, progress
from sampoll.monitoring.templates import page_template

log = logging.getLogger(__name__)

PACKAGE = "sampoll.app.report"
REPORT = "report.html"
KIND = "report.html"
"""Of the list of files: no format of results has this name."""
PER_PAGE = 1000
MAX_LABELS_SHOWN = 200


def write_report(
    output: Path, settings: Settings, images: Path | None, *, max_pictures: int, show_progress: bool
) -> tuple[int, CommandSummary]:
    """Writes a report about every committed result and, if the input is known, every failed pair; returns the
    exit code and a summary. `images` is where the images are, if not where the settings say.

    OutputUnavailable, and nothing changes, if it would replace a file that is not of an earlier report.
    """
    if not output.is_dir():
        raise InputUnavailable(f"no output directory {output}")
    folders = _image_folders(settings.spool, images)
    with (
        translated_os_errors("write the report to", output),
        replaced_set(output, kind=KIND, command="report") as files,
        tempfile.TemporaryFile(dir=files.directory) as cards,
    ):
        places = Places(output, [*folders, output], thumbnail_ranks())
        pictures = Pictures(files, places, settings.limits, max_pictures)
        report = _Report(output, settings.spool.input, folders, pictures)
        report.collect(cards, show_progress=show_progress)
        report.write(files, cards)
    if pictures.without_image:
        log.warning(
            "%s results are drawn without their images: --images DIR, or --input DIR, says where these are",
            pictures.without_image,
        )
    return (JobError.exit_code if report.unreadable else 0), report.summary()


def _image_folders(settings: SpoolSettings, images: Path | None) -> list[Path]:
    """The folders in which finished images are looked for, besides the output."""
    if images is not None:
        return [images]
    if isinstance(settings.done, Path):
        return [settings.done]
    return [] if settings.input is None else [settings.input / DONE]


class _Report:
    def __init__(
        self, output: Path, directory: Path | None, image_folders: Sequence[Path], pictures: Pictures
    ) -> None:
        self._output = output
        self._input = directory
        self._image_folders = image_folders
        self._pictures = pictures
        self._results = CommittedResults(output)
        self._totals = Totals()
        self._failed = 0

    @property
    def unreadable(self) -> int:
        return len(self._results.unreadable)

    @property
    def _entries(self) -> int:
        return self._failed + self._totals.results

    @property
    def _pages(self) -> int:
        return max(1, -(-self._entries // PER_PAGE))

    def collect(self, cards: IO[bytes], *, show_progress: bool) -> None:
        """Writes a line of JSON for each failed pair and each result, and counts them."""
        for entry in self._failed_entries():
            cards.write(orjson.dumps(entry) + b"\n")
        with progress("result", len(self._results), is_shown=show_progress) as bar:
            for entry in self._result_entries(bar):
                cards.write(orjson.dumps(entry) + b"\n")

    def _failed_entries(self) -> Iterator[dict[str, Any]]:
        if self._input is None:
            return
        for pair in failed_in_folder(self._input).jobs():
            self._failed += 1
            yield failed_entry(pair, self._pictures.of_failed(pair), self._input)

    def _result_entries(self, bar: Progress) -> Iterator[dict[str, Any]]:
        for name, record in self._results.records():
            try:
                result = result_of(record, name)
            except ValueError as error:
                self._results.leave_out(name, str(error))
                bar.fail()
                continue
            self._totals.add(result)
            yield result_entry(result, self._pictures.of_result(result, name, record))
            bar.advance()

    def write(self, files: NewFiles, cards: IO[bytes]) -> None:
        for name in ("report.css", "report.js"):
            files.write(f"report/{name}", package_files(PACKAGE).joinpath(name).read_bytes())
        template = page_template(PACKAGE, "report.html.jinja")
        context = self._context()
        first = ""
        for number, entries in self._paged(cards):
            data = orjson.dumps([entry["filter"] for entry in entries])
            files.write(f"report/data/{number}.js", b"report.add(%d, %b);\n" % (number, data))
            page = template.render(context, number=number, entries=entries)
            if number == 1:
                first = page
            else:
                files.write(f"report/{number}.html", page.encode())
        files.write(REPORT, first.encode())  # last of all: without it the others are not used

    def _paged(self, cards: IO[bytes]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        cards.seek(0)
        for number in range(1, self._pages + 1):
            yield number, [orjson.loads(line) for line in islice(cards, PER_PAGE)]

    def _context(self) -> dict[str, Any]:
        labels = self._totals.labels()
        return {
            "output": printable(str(self._output.absolute())),
            "made": datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "pages": self._pages,
            "per_page": PER_PAGE,
            "totals": self._totals,
            "labels": labels[:MAX_LABELS_SHOWN],
            "other_labels": len(labels) - MAX_LABELS_SHOWN,
            "stages": self._totals.stages(),
            "failed": self._failed,
            "knows_failures": self._input is not None,
            "unreadable": [printable(name) for name in sorted(self._results.unreadable)[:20]],
            "unreadable_count": self.unreadable,
            "without_image": self._pictures.without_image,
            "looked_in": [printable(str(folder.absolute())) for folder in self._image_folders],
            "not_drawn": self._pictures.not_drawn,
        }

    def summary(self) -> CommandSummary:
        line = f"{self._output / REPORT}: {counted(self._totals.results, 'result')}"
        if self._input is not None:
            line += f", {counted(self._failed, 'failed pair')}"
        if self.unreadable:
            line += f", {counted(self.unreadable, 'record')} that cannot be read"
        figures = {
            "results": self._totals.results,
            "failed": self._failed,
            "unreadable": self.unreadable,
            "pages": self._pages,
            "without_image": self._pictures.without_image,
        }
        return CommandSummary(line, figures)
