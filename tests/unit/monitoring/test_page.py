"""The status page, as HTML."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from support.outside import FAILED_PAIRS, MODEL, ODD, Outside, started

from sampoll.core.errors import BadImage, InputUnavailable, StorageTrouble, UnreadableInput
from sampoll.core.events import (
    Backlog,
    BatchStarted,
    InputScanned,
    JobDone,
    JobFailed,
    ModelLoaded,
    PassedOver,
    Paused,
    StopRequested,
)
from sampoll.monitoring.history import Minute
from sampoll.monitoring.page import left
from sampoll.monitoring.page.left import SHOWN, RecentLeftovers
from sampoll.monitoring.page.pages import SHOWN_NAMES
from sampoll.monitoring.page.plot import HEIGHT, LEAST_HEIGHT, plotted
from sampoll.spool.unpaired import NOTHING_LEFT, Leftovers, Reason, Unpaired

Pass = Callable[[float], None]


def text_of(html: str) -> str:
    """What a reader sees of a page, on one line."""
    body = html.partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def lone_images(count: int, name: str = "a") -> Leftovers:
    return Leftovers([Unpaired(f"{name}{n}.jpg", Reason.NO_PROMPT, "has no prompt") for n in range(count)])


def test_everything_that_others_name_is_escaped(outside: Outside) -> None:
    outside.happens(
        ModelLoaded(replace(MODEL, name=ODD)),
        *started(ODD, f"{ODD} runs"),
        BatchStarted((f"{ODD} runs",)),
        JobFailed(ODD, "id", BadImage(ODD)),
        Paused(StorageTrouble(ODD)),
        PassedOver(ODD, UnreadableInput(ODD)),
    )
    outside.draws(ODD)
    outside.leftovers = Leftovers([Unpaired(ODD, Reason.NO_PROMPT, ODD)])

    status, headers, content = outside.get("/")

    page = content.decode()
    assert status == 200
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 12
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|style=|\son\w+=|<script(?! src=)", page)


def test_a_page_needs_nothing_from_elsewhere(outside: Outside) -> None:
    outside.draws("a")
    page = outside.page() + outside.page("/pictures/1") + outside.page("/status.css")
    assert "//" not in page
    for address in re.findall(r'(?:href|src)="([^"]+)"', outside.page()):
        assert address == "data:," or outside.get(f"/{address}")[0] == 200


@pytest.mark.skipif(os.name != "posix", reason="needs names of bytes")
def test_an_input_whose_name_is_not_unicode_is_shown(tmp_path: Path) -> None:
    outside = Outside(tmp_path, place=os.fsdecode(b"/srv/\xff"))
    assert r"/srv/\xff" in outside.page()


def test_while_the_model_is_loading_jobs_wait(outside: Outside) -> None:
    outside.happens(InputScanned(Backlog(ready=2)))
    text = text_of(outside.page())
    assert "starting The model is being loaded. Jobs wait until then." in text
    assert "time left — not known: starting" in text


def test_before_the_first_job_nothing_is_made_up(outside: Outside) -> None:
    outside.happens(ModelLoaded(MODEL), InputScanned(Backlog()))
    text = text_of(outside.page())
    assert "working It waits for jobs." in text
    assert "rate — no job ended in the last hour" in text
    assert "time left — no job waits" in text
    assert "Running: 0" in text
    assert "Nothing since the start." in text
    assert "Nothing is left over in the input." in text
    assert "None yet." in text
    outside.happens(*started("a"))
    assert "time left — not known: no job has ended" in text_of(outside.page())


def test_the_rate_tells_how_long_it_will_take(outside: Outside, pass_seconds: Pass) -> None:
    outside.happens(ModelLoaded(MODEL))
    for number in range(30):
        outside.happens(*started(str(number)))
        pass_seconds(2)
        outside.happens(JobDone(str(number), str(number), str(number)))
    outside.happens(InputScanned(Backlog(ready=99, settling=1, half=50)))
    text = text_of(outside.page())
    assert "rate 30.0 jobs per minute, while it works" in text
    assert "time left about 3.3 min until about" in text


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [(0.25, "4.0 jobs per second"), (90, "40.0 jobs per hour"), (9000, "0.4 jobs per hour")],
)
def test_the_rate_has_a_unit_that_fits(
    outside: Outside, pass_seconds: Pass, seconds: float, rate: str
) -> None:
    outside.happens(ModelLoaded(MODEL), *started("a"))
    pass_seconds(seconds)
    outside.happens(JobDone("a", "a", "a"))
    assert rate in text_of(outside.page())


def test_a_pause_and_a_stop_say_what_happens_next(outside: Outside) -> None:
    outside.happens(ModelLoaded(MODEL), InputScanned(Backlog(ready=2)), *started("a"))
    outside.happens(Paused(StorageTrouble("the disk is full"), returns_jobs=True))
    text = text_of(outside.page())
    assert "paused the disk is full. No job is begun; the service continues automatically" in text
    assert "time left — not known: paused" in text
    assert "Running: 0 Queued: 0" in text
    outside.happens(StopRequested())
    assert "stopping The jobs that run are finished, and no others are begun." in text_of(outside.page())


def test_a_stalled_service_is_to_be_restarted(outside: Outside, pass_seconds: Pass) -> None:
    outside.happens(ModelLoaded(MODEL), *started("a"))
    pass_seconds(90)
    assert "stalled No progress for 1.5 min: restart the service." in text_of(outside.page())


def test_what_is_queued_is_apart_from_what_runs_and_both_are_bounded(outside: Outside) -> None:
    names = [f"job {number}" for number in range(100)]
    outside.happens(ModelLoaded(MODEL), *started(*names), BatchStarted(tuple(names[:3])))
    text = text_of(outside.page())
    assert "Running: 3 job 0 job 1 job 2 Queued: 97 job 3 job 4" in text
    assert f"and {97 - SHOWN_NAMES} more" in text


def test_thousands_of_failures_are_counted_and_the_last_are_named(outside: Outside) -> None:
    outside.happens(ModelLoaded(MODEL))
    outside.happens(*(JobFailed(f"bad {number}", "id", BadImage("no image")) for number in range(3000)))
    page = outside.page()
    assert "The last 20 of 3000 since the start." in page
    assert page.count("bad-image: no image") == 20
    assert "3000 failed" in page
    assert f"in failed/</dt><dd>{FAILED_PAIRS}" in page
    assert "sampoll failed list --input &#39;&lt;script&gt;" in page


def test_half_pairs_are_named_with_the_reason_and_bounded(outside: Outside) -> None:
    more = Unpaired("b.heic", Reason.KIND, "is an image of a kind that is not read")
    outside.leftovers = Leftovers([*lone_images(5000).files, more])
    page = outside.page()
    assert "<h3>5000 images without a prompt</h3>" in page
    assert "<li><b>a0.jpg</b> has no prompt</li>" in page
    assert "<h3>1 image of a kind that is not read</h3>" in page
    assert f"and {5000 - SHOWN + 1} more" in page
    assert len(page) < 30_000


def test_names_of_any_bytes_and_directions_are_shown(outside: Outside) -> None:
    name = os.fsdecode(b"\xff\n") + "\u202egpj.exe"
    outside.happens(ModelLoaded(MODEL), *started(name), JobFailed(name, "id", BadImage(name)))
    outside.happens(PassedOver(name, UnreadableInput(name)), InputScanned(Backlog(passed_over=1)))
    outside.draws(name)
    outside.leftovers = lone_images(1, name)
    page = outside.page()
    assert page.count(r"\xff\n\u202egpj.exe") == 7
    assert "\u202e" not in page


def test_very_long_names_and_messages_are_cut(outside: Outside) -> None:
    long = "x" * 4000
    outside.happens(ModelLoaded(MODEL), *started(long), JobFailed(long, "id", BadImage(long)))
    outside.draws(long)
    outside.leftovers = lone_images(SHOWN, long)
    assert len(outside.page()) < 40_000


def test_what_cannot_be_read_is_named(outside: Outside) -> None:
    outside.happens(
        InputScanned(Backlog(passed_over=3)), PassedOver("sub/", UnreadableInput("cannot be listed"))
    )
    text = text_of(outside.page())
    assert "passed over, because it cannot be read or moved sub/ cannot be listed and 2 more" in text
    assert "Nothing is left over" not in text


def test_a_service_over_a_network_has_no_figures_of_an_input(tmp_path: Path) -> None:
    outside = Outside(tmp_path, has_input=False, place="127.0.0.1:6379")
    text = text_of(outside.page())
    assert "sampoll serve redis 127.0.0.1:6379" in text
    for absent in ("ready in the input", "half pairs", "in failed/", "time left", "What it does not take"):
        assert absent not in text


def test_times_name_their_zone_before_a_script_makes_them_local(outside: Outside) -> None:
    page = outside.page()
    assert "times in UTC" in page
    moments = re.findall(r'<time datetime="([^"]+)"', page)
    assert len(moments) >= 7
    assert all(moment.endswith("+00:00") for moment in moments)


def test_a_failure_beside_a_thousand_results_is_seen() -> None:
    minutes = [Minute(begins=60.0 * number) for number in range(60)]
    minutes[3].done, minutes[3].failed = 1000, 1
    minutes[5].done = 500

    hour = plotted(minutes)

    assert (hour.done, hour.failed, hour.most) == (1500, 1, 1001)
    first, second = hour.bars
    assert first.failed_height == LEAST_HEIGHT
    assert first.done_height + first.failed_height < 100
    assert second.done_height == pytest.approx(HEIGHT / 2, rel=0.01)
    assert [(tick - hour.ticks[0]).total_seconds() / 60 for tick in hour.ticks] == [0, 15, 30, 45, 60]


# Looking for what is left


def test_the_input_is_looked_through_again_only_after_a_while(pass_seconds: Pass) -> None:
    looks: list[int] = []

    def find() -> Leftovers:
        looks.append(1)
        pass_seconds(3)
        return lone_images(len(looks))

    recent = RecentLeftovers(find)
    assert len(recent.last_look().leftovers.files) == 1
    pass_seconds(59)
    assert len(recent.last_look().leftovers.files) == 1
    pass_seconds(1)
    assert len(recent.last_look().leftovers.files) == 2
    assert len(looks) == 2


def test_an_input_that_cannot_be_looked_through_is_not_called_empty(outside: Outside) -> None:
    outside.leftovers = InputUnavailable("the input /in: Stale file handle")
    text = text_of(outside.page())
    assert "Not known: the input /in: Stale file handle" in text
    assert "Nothing is left over" not in text


def test_a_disk_that_hangs_blocks_no_page_and_one_thread_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left, "WAIT_SECONDS", 0.01)
    looks, release = [], Event()

    def hang() -> Leftovers:
        looks.append(1)
        release.wait(30)
        return NOTHING_LEFT

    recent = RecentLeftovers(hang)
    try:
        for _ in range(3):
            assert recent.last_look().trouble == "the input is still being looked through"
        assert len(looks) == 1
    finally:
        release.set()
