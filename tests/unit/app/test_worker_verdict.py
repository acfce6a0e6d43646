import pytest

from sampoll.app.workers.verdict import CRASH_BUDGET, Verdict, pause_seconds, verdict_on
from sampoll.core.errors import DeviceFailed

KILLED, BUG, NO_MODEL = -9, 70, 69


def verdict(
    exit_code: int, *, any_was_ready: bool = True, crashes_in_a_row: int = 1, is_stopping: bool = False
) -> Verdict:
    return verdict_on(
        exit_code, any_was_ready=any_was_ready, crashes_in_a_row=crashes_in_a_row, is_stopping=is_stopping
    )


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("any_was_ready", [True, False])
def test_a_worker_that_has_done_its_work_is_left(exit_code: int, any_was_ready: bool) -> None:
    assert verdict(exit_code, any_was_ready=any_was_ready) is Verdict.LEAVE


@pytest.mark.parametrize("exit_code", [2, 66, NO_MODEL, BUG, 73, 74, 75, 77, 78, KILLED])
def test_an_error_before_any_worker_was_ready_ends_all(exit_code: int) -> None:
    assert verdict(exit_code, any_was_ready=False) is Verdict.END_ALL


@pytest.mark.parametrize("exit_code", [2, 66, NO_MODEL, 73, 75, 77, 78])
def test_an_error_that_a_new_start_would_repeat_ends_one_worker(exit_code: int) -> None:
    assert verdict(exit_code) is Verdict.LEAVE


@pytest.mark.parametrize("exit_code", [KILLED, -11, BUG, DeviceFailed.exit_code, 74])
def test_a_crash_is_followed_by_a_new_start_until_the_budget_is_spent(exit_code: int) -> None:
    assert verdict(exit_code, crashes_in_a_row=CRASH_BUDGET) is Verdict.RESTART
    assert verdict(exit_code, crashes_in_a_row=CRASH_BUDGET + 1) is Verdict.END_ALL


@pytest.mark.parametrize("exit_code", [KILLED, BUG, NO_MODEL, 75])
def test_nothing_is_started_again_after_a_stop(exit_code: int) -> None:
    assert verdict(exit_code, is_stopping=True, any_was_ready=False) is Verdict.LEAVE


def test_the_pause_before_a_new_start_doubles_up_to_its_limit() -> None:
    assert [pause_seconds(crashes) for crashes in (1, 2, 3, 7, 20)] == [0.5, 1.0, 2.0, 30.0, 30.0]
