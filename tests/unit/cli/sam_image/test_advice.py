"""Errors name the flags of the command that was called."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from support.images import encoded, image_of
from support.segmenters import BoxSegmenter

from sampoll.cli.sam_image import predict_poll, redis_send
from sampoll.cli.sam_image.predict_redis import ADVICE
from sampoll.core.errors import BadPrompt, ModelUnavailable, SampollError, reworded


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "a.pth holds vit_l, not vit_h: use --model vit_l",
            "a.pth holds vit_l, not vit_h: use --model_type vit_l",
        ),
        ("correct --checkpoint", "correct --model"),
        ("use --device cpu, or check", "use --device cpu, or check"),
        ("more than 9 pixels (--max-pixels)", "more than 9 pixels (SAMPOLL_MAX_PIXELS)"),
        ("correct --redis-in and --redis-out", "correct --redis_in and --redis_out"),
        ("belongs in redis-url", "belongs in --redis-url of `sampoll serve redis`"),
        (
            "--not-a-setting, --redis_in, a--model, in/--model.jpg",
            "--not-a-setting, --redis_in, a--model, in/--model.jpg",
        ),
    ],
)
def test_each_setting_has_the_name_that_it_has_there(message: str, expected: str) -> None:
    assert ADVICE(message) == expected


def test_an_error_in_other_words_is_the_same_error() -> None:
    error = BadPrompt("too long (--max-prompts)", file="a.json", field="prompts")

    other = reworded(error, ADVICE)

    assert str(other) == "a.json: prompts: too long (SAMPOLL_MAX_PROMPTS)"
    assert (type(other), other.file, other.field) == (BadPrompt, "a.json", "prompts")
    assert str(error) == "a.json: prompts: too long (--max-prompts)"


def test_logs_and_errors_that_end_the_command_are_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])

    def logged() -> str:
        record = logging.LogRecord("a", 1, "a", 1, "use %s", ("--checkpoint FILE",), None)
        assert handler.filter(record)
        return record.getMessage()

    with ADVICE.in_logs():
        assert logged() == "use --model FILE"
    with pytest.raises(ModelUnavailable, match=r"^use --model_type vit_l$"), ADVICE.in_errors():
        raise ModelUnavailable("use --model vit_l")

    assert logged() == "use --checkpoint FILE"


def test_a_failed_pair_is_reported_in_the_words_of_sam_predict_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sampoll.app.run.find_factory", lambda _: lambda _: BoxSegmenter())
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "sam.pth").touch()
    (tmp_path / "in" / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))
    (tmp_path / "in" / "a.prompt").write_text("{}")
    flags: Any = {"model": "sam.pth", "prediction_in": "in", "prediction_out": "out"}
    arguments = [f"--{name}={tmp_path / value}" for name, value in flags.items()]

    code = predict_poll.predict(
        predict_poll.parser().parse_args(arguments), {"SAMPOLL_SETTLE": "0", "SAMPOLL_MAX_IMAGE_BYTES": "9"}
    )

    report = json.loads((tmp_path / "in" / "failed" / "a.error.json").read_bytes())
    assert code == 1
    assert report["error"]["message"].endswith("(SAMPOLL_MAX_IMAGE_BYTES)")
    assert report["error"]["message"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--device=gpu"], "--device: must be auto, cpu"),
        (["--poll_wait=nan"], "--poll_wait: "),
        (["--continuous", "--use_watchdog", "--watchdog_check_interval=nan"], "--watchdog_check_interval: "),
    ],
)
def test_a_wrong_flag_is_named_as_it_was_given(tmp_path: Path, flags: list[str], message: str) -> None:
    (tmp_path / "sam.pth").touch()
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    places = [f"--prediction_{name}={tmp_path / name}" for name in ("in", "out")]
    arguments = predict_poll.parser().parse_args([f"--model={tmp_path}/sam.pth", *places, *flags])

    with pytest.raises(SampollError, match=f"^{message}"):
        predict_poll.predict(arguments, {})


def test_the_test_commands_say_who_has_what_they_never_had(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.json"):
        (tmp_path / name).write_text("{}")
    given = ["-H", "user:password@host", "-c", "a", "-I", os.fspath(tmp_path / "a.jpg")]

    with pytest.raises(SampollError, match="belongs in --redis-url of `sampoll send` and `sampoll recv`"):
        redis_send.send(redis_send.parser().parse_args([*given, "-P", os.fspath(tmp_path / "a.json")]))
