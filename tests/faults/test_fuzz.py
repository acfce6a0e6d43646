"""Damaged and hostile inputs of every parser: each becomes a value or an error of sampoll's, in bounded
time and memory.

The slice is the same in every run. The campaign tries more inputs: SAMPOLL_FUZZ_INPUTS says how many, and
SAMPOLL_FUZZ_SEED which.
"""

import os
from pathlib import Path

import pytest
from support.fuzz_targets import TARGETS
from support.fuzzing import campaign, input_of, kept, report, tried

SEED, SLICE = 1, 2000
FINDINGS = Path("fuzz-findings")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_fixed_slice_of_inputs_shows_no_bug(target: str, tmp_path: Path) -> None:
    figures = tried(target, SEED, 0, SLICE)

    assert kept(target, SEED, figures, tmp_path) == ""
    assert figures.inputs == SLICE


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("target", TARGETS)
def test_many_inputs_show_no_bug(target: str) -> None:
    count = int(os.environ.get("SAMPOLL_FUZZ_INPUTS", 10**6)) // len(TARGETS)
    seed = int(os.environ.get("SAMPOLL_FUZZ_SEED", SEED))

    figures = campaign(target, seed, count, processes=os.cpu_count() or 1)

    print(report(target, figures))  # noqa: T201
    assert kept(target, seed, figures, FINDINGS) == ""


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_is_the_same_each_time(target: str) -> None:
    made = [input_of(target, SEED, index) for index in range(80)]

    assert [input_of(target, SEED, index) for index in range(80)] == made
    assert made[7] != made[8]
