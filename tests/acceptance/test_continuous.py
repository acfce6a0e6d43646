"""`sampoll run --continuous` as a service: pairs become results until the service is stopped."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.folders import BOX, Folders, drop_pair
from support.images import encoded, image_of
from support.process import running_sampoll, until

WATCH = ("--continuous", "--model", "support.fakes:boxes")
POINT = {"points": [{"x": 1, "y": 1, "label": 1}]}
ELSEWHERE = encoded(image_of(), "JPEG")


def image_then_prompt(folders: Folders) -> None:
    (folders.input / "a.jpg").write_bytes(ELSEWHERE)
    time.sleep(0.3)
    (folders.input / "a.json").write_text(json.dumps(BOX))


def prompt_then_image(folders: Folders) -> None:
    (folders.input / "a.prompt").write_text(json.dumps(BOX))
    time.sleep(0.3)
    (folders.input / "a.jpg").write_bytes(ELSEWHERE)


def renamed_into_place(folders: Folders) -> None:
    outside = folders.input.parent / "outside"
    outside.mkdir()
    drop_pair(outside, "a")
    for name in ("a.jpg", "a.json"):
        (outside / name).rename(folders.input / name)


def hard_linked(folders: Folders) -> None:
    outside = folders.input.parent / "outside"
    outside.mkdir()
    drop_pair(outside, "a")
    for name in ("a.jpg", "a.json"):
        os.link(outside / name, folders.input / name)


def uploaded_under_a_temporary_name(folders: Folders) -> None:
    for name, content in (("a.jpg", ELSEWHERE), ("a.json", json.dumps(BOX).encode())):
        temporary = folders.input / f"{name}.part"
        temporary.write_bytes(content)
        temporary.rename(folders.input / name)


@pytest.mark.parametrize(
    "arrival",
    [image_then_prompt, prompt_then_image, renamed_into_place, hard_linked, uploaded_under_a_temporary_name],
    ids=lambda arrival: arrival.__name__,
)
def test_a_pair_is_done_however_it_arrives(folders: Folders, arrival: Callable[[Folders], None]) -> None:
    with running_sampoll("run", *folders.flags, *WATCH) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        arrival(folders)
        until(lambda: folders.results == ["a.json", "a.png"], "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_pairs_from_before_the_start_are_done_too(folders: Folders) -> None:
    drop_pair(folders.input, "before")
    with running_sampoll("run", *folders.flags, *WATCH) as process:
        until(lambda: "before.json" in folders.results, "the first pair")
        drop_pair(folders.input, "after")
        until(lambda: "after.json" in folders.results, "the second pair")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_events_find_a_pair_long_before_the_next_scan(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--rescan", 3600) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        drop_pair(folders.input, "a")
        until(lambda: folders.results == ["a.json", "a.png"], "the result")
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_failures_do_not_stop_the_service(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH) as process:
        drop_pair(folders.input, "bad", {})
        until(lambda: "bad.error.json" in folders.failed, "the failure")
        drop_pair(folders.input, "good")
        until(lambda: "good.json" in folders.results, "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_stop_file_ends_the_service_and_is_removed(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH, "--stop-file", "STOP") as process:
        drop_pair(folders.input, "a")
        until(lambda: "a.json" in folders.results, "the result")
        (folders.input / "STOP").touch()
        assert process.wait(30) == 0

    assert folders.waiting == []


def test_sigterm_finishes_the_running_batch_and_exits_0(folders: Folders, gate: tuple[Path, Path]) -> None:
    started, go = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    with running_sampoll(
        "run", *folders.flags, "--continuous", "--model", "support.fakes:waiting"
    ) as process:
        until(started.exists, "the batch")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        go.touch()
        assert process.wait(30) == 0

    assert folders.results == ["a.json", "a.png"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_service_at_once_and_nothing_is_lost(
    folders: Folders, gate: tuple[Path, Path], number: signal.Signals
) -> None:
    started, go = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    arguments = (
        "run",
        *folders.flags,
        "--continuous",
        "--model",
        "support.fakes:waiting",
        "--max-attempts",
        1,
    )
    with running_sampoll(*arguments) as process:
        until(started.exists, "the batch")
        process.send_signal(number)
        time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(30) == 128 + number

    go.touch()
    with running_sampoll(*arguments) as process:
        until(lambda: folders.results == ["a.json", "a.png"], "the result of the next start")
    assert folders.failed == []
