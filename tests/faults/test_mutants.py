"""The tests of the spool notice mistakes: each of these passes on sampoll as it is, and fails on a mutant."""

from collections.abc import Callable
from pathlib import Path

import pytest
from acceptance.test_crashes import test_a_pair_that_kills_the_process_is_failed_after_max_attempts as no_cap
from faults.test_hostile_input import (
    test_what_is_not_a_regular_file_is_never_opened_and_delays_no_pair as links,
)
from faults.test_readiness import (
    test_a_file_is_not_taken_while_its_writer_closes_pauses_and_appends as appended,
)
from faults.test_state_machine import test_a_kill_at_each_act_of_an_ending as every_kill
from support.folders import Folders
from support.mutants import MUTANTS, record_before_masks, wall_clock_lease
from unit.spool.test_nodes import (
    test_jobs_of_a_living_machine_are_not_taken_when_our_clock_is_set_forward as clock,
)

from sampoll.spool.layout import Layout

pytestmark = pytest.mark.slow

Judge = Callable[[Folders, Path], None]


@pytest.mark.parametrize(
    ("mutant", "judge"),
    [
        ("no_attempt_cap", lambda folders, _: no_cap(folders)),
        ("following_links", lambda folders, scratch: links(folders, scratch, "link")),
        ("no_settle", lambda folders, _: appended(folders)),
    ],
)
def test_a_mutant_process_is_noticed(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str, judge: Judge
) -> None:
    assert mutant in MUTANTS
    monkeypatch.setenv("MUTANT", mutant)
    monkeypatch.setattr("support.process.DEADLINE_SECONDS", 15.0)  # some wait for what never comes
    with pytest.raises(AssertionError):
        judge(folders, tmp_path)


def test_a_lease_by_the_wall_clock_is_noticed(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.output.mkdir()
    layout = Layout(folders.input, folders.output, folders.input / "done")
    with wall_clock_lease(), pytest.raises(AssertionError):
        clock(layout, monkeypatch)


def test_a_record_that_comes_before_its_masks_is_noticed() -> None:
    with record_before_masks(), pytest.raises(FileNotFoundError, match=r"a\.png"):
        every_kill("deliver", is_retried=False, halves="both")
