import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampoll.core.failures import Failure
from sampoll.spool.recovery import Step, next_step
from sampoll.spool.state import (
    MAX_DELAY_SECONDS,
    JobState,
    retry_delay_seconds,
    was_only_job,
)

JOB = "0123456789abcdef" * 2
NEW = JobState(JOB, "a", ("a.json", "a.jpg"))
FAILURE = Failure("out-of-memory", "too large", at=100.0)


def test_a_state_that_is_written_is_read_back() -> None:
    state = JobState(JOB, "caf\udce9", ("caf\udce9.jpg",)).begun(3).deferred(FAILURE, 5.0)

    assert JobState.from_json(state.to_json()) == state


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"job_id": 1}', b"\xff"])
def test_a_file_that_is_not_a_state_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        JobState.from_json(content)


@pytest.mark.parametrize(
    ("field", "value"), [("stem", ["a"]), ("kept_as", {"a": 1}), ("name", ["a"]), ("files", [["a.jpg"]])]
)
def test_a_state_whose_names_are_no_texts_is_refused(field: str, value: object) -> None:
    document = {**json.loads(NEW.to_json()), field: value}

    with pytest.raises(ValueError, match="no job state"):
        JobState.from_json(json.dumps(document).encode())


def test_a_time_that_no_float_can_hold_is_no_state() -> None:
    content = JobState("0" * 32, "a", ("a.png",)).to_json()

    with pytest.raises(ValueError, match="no job state"):
        JobState.from_lines(content.replace(b'"not_before":0.0', b'"not_before":1' + b"0" * 400))


def test_an_attempt_is_counted_before_it_is_made_and_only_a_crash_alone_is_a_strike() -> None:
    begun = NEW.begun(in_flight=1)

    assert begun.attempts == 1
    assert (begun.crashed(alone=True, at=0).strikes, begun.crashed(alone=False, at=0).strikes) == (1, 0)
    assert begun.crashed(alone=False, at=0).suspect


def test_a_job_that_was_handed_back_differs_only_in_the_count_of_attempts() -> None:
    stopped = NEW.begun(in_flight=2).stopped()

    assert (stopped.attempts, stopped.strikes, stopped.in_flight, stopped.suspect) == (1, 0, 0, False)


def test_a_job_was_alone_if_it_began_alone_and_nothing_began_after_it() -> None:
    first, second, idle = NEW.begun(in_flight=1), NEW.begun(in_flight=2), NEW

    assert was_only_job(first, [first, idle])
    assert not was_only_job(first, [first, second])
    assert not was_only_job(second, [second])


@given(st.integers(0, 50), st.floats(0, 1))
def test_delays_double_from_two_seconds_to_ten_minutes_with_jitter(strikes: int, random: float) -> None:
    assert 0 <= retry_delay_seconds(strikes, random) <= min(2.0 * 2 ** max(strikes - 1, 0), 600)
    assert retry_delay_seconds(1, 1.0) == 2
    assert retry_delay_seconds(3, 1.0) == 8


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_after_a_jump_of_the_clock_no_job_waits_longer_than_the_longest_delay(at: float, now: float) -> None:
    state = NEW.deferred(Failure("x", "y", at), 10.0)

    assert 0 <= state.due_in(now) <= MAX_DELAY_SECONDS


def test_a_wait_ends_when_it_is_over_or_when_the_clock_was_set_back() -> None:
    state = NEW.deferred(FAILURE, 10.0)

    assert [state.due_in(now) for now in (100.0, 106.0, 110.0, 111.0)] == [10.0, 4.0, 0.0, 0.0]
    assert state.due_in(100.0 - 86400) == 0


@pytest.mark.parametrize(
    ("state", "is_complete", "is_committed", "expected"),
    [
        (NEW, True, False, Step.TRY),
        (NEW, False, False, Step.GIVE_BACK),
        (NEW, False, True, Step.FINISH),
        (NEW.refused(FAILURE), True, False, Step.MOVE_TO_FAILED),
        (NEW.refused(FAILURE), False, False, Step.MOVE_TO_FAILED),
        (NEW.refused(FAILURE), True, True, Step.FINISH),
        (JobState("id", "a", NEW.files, strikes=3), True, False, Step.GIVE_UP),
        (JobState("id", "a", NEW.files, strikes=2), True, False, Step.TRY),
        (JobState("id", "a", ()), True, False, Step.GIVE_BACK),
    ],
)
def test_the_next_step_of_a_job_that_is_recovered(
    state: JobState, is_complete: bool, is_committed: bool, expected: Step
) -> None:
    step = next_step(state, is_complete=is_complete, is_committed=is_committed, max_attempts=3)

    assert step is expected
