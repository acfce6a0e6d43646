"""The memory that stages share: never more than there is, and no stage waits for an earlier one."""

from threading import Thread

import pytest

from sampoll.core.budget import Budget, Reservation

FIRST, SECOND = "first", "second"


def budget_of(capacity: int = 100, first: int = 80, second: int = 100) -> Budget:
    return Budget(capacity, {FIRST: first, SECOND: second})


def reserved(budget: Budget, stage: str, amount: int) -> Reservation:
    reservation = budget.reserve(stage, amount, waits=False)
    assert reservation is not None
    return reservation


def test_what_does_not_fit_waits_until_something_is_given_back() -> None:
    budget = budget_of()
    held = reserved(budget, FIRST, 60)
    assert budget.reserve(FIRST, 30, waits=False) is None
    granted: list[Reservation | None] = []
    waiting = Thread(target=lambda: granted.append(budget.reserve(FIRST, 30)))

    waiting.start()
    held.shrink(50)
    waiting.join(10)

    assert granted[0] is not None
    assert budget.reserved == 80


def test_what_is_larger_than_everything_goes_alone() -> None:
    budget = budget_of()

    large = reserved(budget, FIRST, 1000)

    assert budget.reserve(FIRST, 1, waits=False) is None
    large.release()
    small = reserved(budget, FIRST, 1)
    assert budget.reserve(FIRST, 1000, waits=False) is None
    small.release()
    assert budget.reserved == 0


def test_a_stage_leaves_something_to_those_after_it() -> None:
    budget = budget_of(first=70)
    reserved(budget, FIRST, 70)

    assert budget.reserve(FIRST, 10, waits=False) is None
    reserved(budget, SECOND, 30)


def test_an_earlier_stage_waits_for_a_later_one_and_never_the_other_way_round() -> None:
    budget = budget_of()
    later = reserved(budget, SECOND, 1000)
    assert budget.reserve(FIRST, 1, waits=False) is None
    later.release()

    reserved(budget, FIRST, 1000)

    reserved(budget, SECOND, 1000)
    assert budget.reserve(SECOND, 1, waits=False) is None


def test_a_reservation_never_grows_and_is_given_back_once() -> None:
    budget = budget_of()
    reservation = reserved(budget, FIRST, 40)

    reservation.shrink(60)
    assert budget.reserved == 40
    reservation.release()
    reservation.release()

    assert budget.reserved == 0


@pytest.mark.parametrize("waits", [True, False])
def test_a_closed_stage_gets_nothing_and_others_do(waits: bool) -> None:
    budget = budget_of()
    budget.close(FIRST)

    assert budget.reserve(FIRST, 1, waits=waits) is None
    assert budget.reserve(SECOND, 1, waits=waits) is not None


def test_closing_wakes_a_thread_that_waits() -> None:
    budget = budget_of()
    reserved(budget, FIRST, 80)
    granted: list[Reservation | None] = []
    waiting = Thread(target=lambda: granted.append(budget.reserve(FIRST, 30)))

    waiting.start()
    budget.close(FIRST)
    waiting.join(10)

    assert granted == [None]
