"""Which actor is charged for what."""

import pytest

from sampoll.app.ray.attempts import SILENT_SECONDS, ActorDied, Attempts
from sampoll.app.workers.verdict import CRASH_BUDGET
from sampoll.core.errors import ConfigurationError


@pytest.fixture
def attempts() -> Attempts:
    found = Attempts(actors=2, actors_per_host=2)
    found.join("one", "actor 1", "host", 0.0)
    found.join("two", "actor 2", "host", 0.0)
    return found


def test_a_job_of_an_actor_that_has_died_is_suspected_and_struck_if_it_was_alone(attempts: Attempts) -> None:
    attempts.note("one", ["a", "b"])
    first = attempts.offered("two", ["a"])
    attempts.note("two", ["a"])
    second = attempts.offered("three", ["a", "b", "c"])

    assert first.strikes == {"a": 0}
    assert second.strikes == {"a": 1, "b": 0}


def test_jobs_that_have_ended_are_neither_suspected_nor_given_again(attempts: Attempts) -> None:
    attempts.note("one", ["a", "b"])
    attempts.tell("one", ["done"], ["a"], 1.0)
    offer = attempts.offered("two", ["a", "b"])

    assert offer.ended == {"a"}
    assert offer.strikes == {"b": 1}
    assert attempts.news(1.0).messages == ["done", ActorDied(1)]


def test_an_actor_that_leaves_by_itself_blames_no_job(attempts: Attempts) -> None:
    attempts.note("one", ["a"])
    attempts.leave("one")

    assert attempts.offered("two", ["a"]).strikes == {}


def test_the_jobs_of_an_actor_that_lives_are_its_own_when_it_is_given_them_again(attempts: Attempts) -> None:
    attempts.note("one", ["a"])

    assert attempts.offered("one", ["a"]).strikes == {}


def test_an_error_ends_the_run_and_the_first_one_counts(attempts: Attempts) -> None:
    attempts.leave("one", ConfigurationError("first"))
    attempts.leave("two", ConfigurationError("second"))

    assert str(attempts.news(0.0).error) == "first"
    assert attempts.tell("three", [], [], 0.0)


def test_actors_that_die_again_and_again_without_an_outcome_end_the_run(attempts: Attempts) -> None:
    for number in range(CRASH_BUDGET * 2):
        attempts.join(f"again {number}", "actor 1", "host", 0.0)
    before = attempts.news(0.0).error
    attempts.join("once more", "actor 1", "host", 0.0)

    assert before is None
    assert "actors have died 11 times" in str(attempts.news(0.0).error)


def test_an_outcome_gives_the_budget_of_crashes_back(attempts: Attempts) -> None:
    for number in range(CRASH_BUDGET * 4):
        attempts.join(f"again {number}", "actor 1", "host", 0.0)
        attempts.tell(f"again {number}", [], [f"image {number}"], 0.0)

    assert attempts.news(0.0).error is None


def test_an_actor_that_is_silent_does_not_keep_a_stop_waiting(attempts: Attempts) -> None:
    attempts.tell("one", [], [], SILENT_SECONDS)

    assert attempts.news(1.0).working == 2
    assert attempts.news(SILENT_SECONDS + 1.0).working == 1


def test_actors_of_a_host_share_its_cores_and_a_restarted_one_keeps_its_place(attempts: Attempts) -> None:
    places = [attempts.join(*given, 0.0) for given in (("x", "actor 2", "host"), ("y", "actor 3", "other"))]

    assert [(place.index, place.count) for place in places] == [(1, 2), (0, 2)]
