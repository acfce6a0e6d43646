from collections.abc import Callable

import pytest
from support.outside import started

from sampoll.core.errors import BadImage, StorageTrouble
from sampoll.core.events import JobDone, JobFailed, JobSkipped, Paused
from sampoll.monitoring.history import RATE_JOBS, History

Pass = Callable[[float], None]


@pytest.fixture
def history(pass_seconds: Pass) -> History:
    return History()


def counts(history: History) -> list[tuple[int, int]]:
    return [(minute.done, minute.failed) for minute in history.minutes()]


def works(history: History, pass_seconds: Pass, name: str, seconds: float) -> None:
    for event in started(name):
        history(event)
    pass_seconds(seconds)
    history(JobDone(name, name, name))


def test_the_last_hour_is_counted_by_minutes(history: History, pass_seconds: Pass) -> None:
    history(JobDone("a", "1", "a"))
    history(JobSkipped("done before", "9", "done before"))
    pass_seconds(60)
    history(JobDone("b", "2", "b"))
    history(JobFailed("c", "3", BadImage("no image")))
    assert counts(history)[-3:] == [(0, 0), (1, 0), (1, 1)]
    assert len(counts(history)) == 60
    pass_seconds(59 * 60)
    assert counts(history)[0] == (1, 1)
    assert sum(map(sum, counts(history))) == 2
    pass_seconds(60)
    assert sum(map(sum, counts(history))) == 0


def test_each_minute_says_when_it_began(history: History, pass_seconds: Pass) -> None:
    begins = [minute.begins for minute in history.minutes()]
    assert begins == [begins[0] + 60 * number for number in range(60)]
    assert 0 <= 1_800_000_000 - begins[-1] < 60


def test_the_rate_leaves_out_the_time_without_jobs(history: History, pass_seconds: Pass) -> None:
    assert history.jobs_per_second() is None
    works(history, pass_seconds, "a", 2)
    pass_seconds(1000)
    works(history, pass_seconds, "b", 2)
    assert history.jobs_per_second() == pytest.approx(0.5)


def test_the_rate_falls_while_a_job_takes_long(history: History, pass_seconds: Pass) -> None:
    works(history, pass_seconds, "a", 2)
    for event in started("b"):
        history(event)
    pass_seconds(98)
    assert history.jobs_per_second() == pytest.approx(0.01)


def test_the_rate_is_that_of_the_last_work(history: History, pass_seconds: Pass) -> None:
    for number in range(20):
        works(history, pass_seconds, f"slow {number}", 60)
    for number in range(400):
        works(history, pass_seconds, f"fast {number}", 1)
    assert history.jobs_per_second() == pytest.approx(1, rel=0.01)


def test_very_slow_jobs_are_measured_over_more_of_them(history: History, pass_seconds: Pass) -> None:
    for number in range(RATE_JOBS - 5):
        works(history, pass_seconds, f"slow {number}", 150)
    assert history.jobs_per_second() == pytest.approx(1 / 150, rel=0.01)


def test_no_time_counts_while_a_pause_has_returned_the_jobs(history: History, pass_seconds: Pass) -> None:
    works(history, pass_seconds, "a", 10)
    for event in started("b"):
        history(event)
    history(Paused(StorageTrouble("the disk is full"), returns_jobs=True))
    pass_seconds(500)
    assert history.jobs_per_second() == pytest.approx(0.1)
