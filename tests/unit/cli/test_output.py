"""What leaves to a terminal, a text log, or a program."""

import io
import json
import logging
import sys
from pathlib import Path

import pytest

from sampoll.cli.logs import hold_back_warnings, set_up_logging, show_warnings
from sampoll.cli.output import presentable, show, show_json, show_path, tell
from sampoll.config.resolve import resolve

ODD = "\x1b]0;t\x07\r\n\x7f\x9b31m\u202e\udcffredis://me:hush@host"
SHOWN = r"\x1b]0;t\x07\r\n\x7f\x9b31m\u202e\xffredis://***@host"


def test_a_text_for_people_is_one_harmless_line_without_a_login(capsys: pytest.CaptureFixture[str]) -> None:
    show(ODD)
    tell(ODD)

    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")
    assert presentable(SHOWN) == SHOWN


def test_json_keeps_exact_values_in_harmless_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"odd": ODD.replace("redis://me:hush@host", "")})

    printed = capsys.readouterr().out
    assert json.loads(printed)["odd"] == ODD.replace("redis://me:hush@host", "")
    assert all(line.isprintable() for line in printed.splitlines())


def test_a_program_gets_the_exact_path(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8"))

    show_path(Path("/a\x1b\udcff"))

    assert written.getvalue() == b"/a\x1b\xff\n"


@pytest.mark.parametrize("chosen", ["text", "json"])
def test_a_log_is_harmless_in_messages_and_tracebacks(
    chosen: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    set_up_logging(resolve({"log-format": chosen}, {}), show_progress=False)

    try:
        raise RuntimeError(f"{ODD}\n2026-01-01 00:00:00,000 INFO forged")
    except RuntimeError:
        logging.getLogger("sampoll").exception("of a plug-in: %s", ODD)

    first, *more = capsys.readouterr().err.splitlines()
    assert all(line.isprintable() for line in (first, *more))
    assert "hush" not in "".join((first, *more))
    if chosen == "json":
        assert json.loads(first)["message"].startswith(f"of a plug-in: {ODD[:8]}")
        assert more == []
    else:
        assert first.endswith(SHOWN)
        assert all(line.startswith("    ") for line in more)


def test_a_warning_of_a_command_without_a_log_is_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    hold_back_warnings()

    logging.getLogger("sampoll").warning("%s", ODD)
    show_warnings()

    assert capsys.readouterr().err == f"{SHOWN}\n"
