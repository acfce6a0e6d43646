"""Parts of an input."""

import pytest

from sampoll.core.errors import ConfigurationError
from sampoll.core.shards import Shard, shard_of

NAMES = [f"sub/IMG_{number:04}" for number in range(1000)]
ARRAY = {"SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "4"}


def test_each_name_is_in_exactly_one_shard_and_the_shards_are_of_about_one_size() -> None:
    shards = [Shard(index, 4) for index in range(4)]

    sizes = [sum(map(shard.has, NAMES)) for shard in shards]

    assert all(sum(shard.has(name) for shard in shards) == 1 for name in NAMES)
    assert 200 < min(sizes) <= max(sizes) < 300


def test_the_halves_of_a_shard_are_shards_of_twice_the_number() -> None:
    half, other = Shard(1, 8), Shard(5, 8)

    assert all(Shard(1, 4).has(name) == (half.has(name) or other.has(name)) for name in NAMES)


def test_a_name_belongs_to_the_same_shard_for_ever() -> None:
    """These figures are in the output trees of users."""
    assert [Shard(index, 5).has("cat") for index in range(5)].index(True) == 1
    assert Shard(0, 2).has("caf\udce9") != Shard(1, 2).has("caf\udce9")


def test_a_task_of_a_job_array_has_the_shard_of_its_place_in_the_array() -> None:
    tasks = [shard_of("slurm", {**ARRAY, "SLURM_ARRAY_TASK_ID": str(number)}) for number in (3, 5, 7, 9)]

    assert tasks == [Shard(index, 4) for index in range(4)]


@pytest.mark.parametrize("number", ["2", "4", "11", "", "x"])
def test_a_task_that_is_none_of_the_array_is_refused(number: str) -> None:
    with pytest.raises(ConfigurationError, match="--array=0-15"):
        shard_of("slurm", {**ARRAY, "SLURM_ARRAY_TASK_ID": number})


@pytest.mark.parametrize("text", ["1", "1/", "4/4", "-1/4", "1/0", "a/b", "1 / 4", ""])
def test_what_is_no_part_of_a_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be I/N|are numbered"):
        shard_of(text, {})
