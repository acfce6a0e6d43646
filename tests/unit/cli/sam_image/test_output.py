"""What the old commands print: one line stays one line, whatever the names in it are."""

import io
import json
import sys
from pathlib import Path

import pytest

from sampoll.cli.output import tell
from sampoll.cli.sam_image import redis_recv
from sampoll.cli.sam_image.output import say, say_now
from sampoll.cli.sam_image.predict_redis import parser


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_any_name_can_be_printed_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="strict"))

    say("\udcff.jpg", "写\né\x1b]0;title\x07")

    lines = written.getvalue().splitlines()
    assert lines[0] == rb"\xff.jpg"
    assert lines[1].endswith(rb"\x1b]0;title\x07")
    assert len(lines) == 2


def test_a_name_with_a_line_break_makes_no_second_message(capsys: pytest.CaptureFixture[str]) -> None:
    say_now("Failed to process image: in/a\n2026-01-01 - Start processing: b.jpg", "bad\nprompt")
    tell("a\nb")

    captured = capsys.readouterr()
    first, second = captured.out.splitlines()
    assert first.endswith(r" -  Failed to process image: in/a\n2026-01-01 - Start processing: b.jpg")
    assert second == r"bad\nprompt"
    assert captured.err == "a\\nb\n"


def test_the_receiver_names_what_is_no_reply_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"contours": [], "mask": "QUJD", "meta": {"error": "bad\n\x1b]0;title\x07"}}

    redis_recv._write(b"not json {", tmp_path, "first")
    redis_recv._write(json.dumps(error).encode(), tmp_path, "second")

    assert (tmp_path / "second.png").read_bytes() == b"ABC"
    captured = capsys.readouterr()
    assert captured.err.startswith("a message that is no reply: it is not JSON in UTF-8")
    assert captured.err.endswith("second: bad\\n\\x1b]0;title\\x07\n")
    assert [Path(line).name for line in captured.out.splitlines()] == [
        *("", "Data received..."),
        *("", "Data received...", "second.png", "second.json"),
    ]


@pytest.mark.parametrize("flag", ["--redis_pass=hush", "--redis_passwd=hush", "--redis_passwd hush"])
def test_a_password_is_not_repeated_when_its_flag_is_wrong(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--redis_in", "a", "--redis_out", "b", "--model", "m", *flag.split()])

    assert "--redis_pass" in (error := capsys.readouterr().err)
    assert "hush" not in error
