"""What a progress bar shows, and when it shows nothing."""

import io
import logging
import sys

import pytest

from sampoll.core.errors import BadImage, OutOfMemory
from sampoll.core.events import Backlog, InputScanned, JobDeferred, JobDone, JobFailed, StopRequested
from sampoll.monitoring.progress_bar import JobProgress, can_show_progress, progress

log = logging.getLogger("sampoll.models.any")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    @property
    def last(self) -> str:
        """What was drawn last."""
        return self.getvalue().rstrip("\n").rpartition("\r")[2].rstrip()  # a shorter text is padded


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as standard error."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    return terminal


def test_a_bar_counts_what_is_done_what_failed_and_what_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("pair", 0, is_shown=True) as bar:
        listener = JobProgress(bar)
        listener(InputScanned(Backlog(ready=2, settling=1)))
        listener(JobDone("a", "1", "a"))
        listener(JobFailed("b", "2", BadImage("is none")))
        listener(JobDeferred("c", "3", OutOfMemory("too large"), 1.0))

    assert "2/3" in terminal.last
    assert terminal.last.endswith("1 failed, 1 tried again]")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"event": "loading", "model": "vit_b", "device": "auto"}, "loading vit_b:   0%|"),
        ({"event": "converting", "engine": "openvino"}, "converting the encoder for openvino:   0%|"),
        ({"event": "compiling", "model": "vit_b"}, "compiling the encoder of vit_b:   0%|"),
        ({"event": "loaded", "model": "a\x1b[31m", "device": "cuda:1"}, r"a\x1b[31m on cuda:1:   0%|"),
    ],
)
def test_a_bar_says_what_a_model_does(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], shown: str
) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("pair", 0, is_shown=True) as bar:
        bar.expect(1)
        log.info("any", extra=fields)

    assert terminal.last.startswith(shown)


def test_an_activity_without_jobs_is_shown_with_its_time_and_then_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("file", 0, is_shown=True):
        log.info("any", extra={"event": "converting", "engine": "openvino"})
        assert terminal.last == "converting the encoder for openvino [00:00]"

    assert terminal.last == ""


def test_a_download_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("file", 0, is_shown=True):
        for size in (0, 25_000_000, 100_000_000):
            fields = {"event": "downloading", "file": "w.pth", "bytes": size, "total_bytes": 100_000_000}
            log.debug("any", extra=fields)

    assert "w.pth:  25%|" in terminal.getvalue()
    assert "w.pth: 100%|" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_a_bar_that_was_never_needed_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("pair", 0, is_shown=True) as bar:
        JobProgress(bar)(InputScanned(Backlog(half=1)))
    with progress("pair", is_shown=True):
        pass

    assert terminal.getvalue() == ""


def test_a_bar_that_is_not_wanted_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("pair", 0, is_shown=False) as bar:
        listener = JobProgress(bar)
        listener(InputScanned(Backlog(ready=1)))
        listener(JobFailed("b", "2", BadImage("is none")))
        listener(StopRequested())
        log.info("any", extra={"event": "converting", "engine": "openvino"})

    assert terminal.getvalue() == ""


def test_what_is_written_next_begins_a_line_even_if_no_job_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    for total in (0, None):
        with progress("pair", total, is_shown=True) as bar:
            bar.expect(2)
        assert terminal.getvalue().endswith("\n")


def test_jobs_that_no_scan_has_seen_raise_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("pair", 0, is_shown=True) as bar:
        bar.expect(1)
        bar.advance()
        bar.advance()

    assert "2/2" in terminal.last


def test_a_stop_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress("pair", 0, is_shown=True) as bar:
        bar.expect(2)
        JobProgress(bar)(StopRequested())
        assert terminal.last.startswith("stopping:   0%|")


def test_a_terminal_that_cannot_write_a_line_again_has_no_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal_of(monkeypatch)
    monkeypatch.setenv("TERM", "xterm")
    assert can_show_progress()
    monkeypatch.setenv("TERM", "dumb")
    assert not can_show_progress()
