from pathlib import Path

import pytest

from sampoll.app.workers.shares import core_shares, worker_settings
from sampoll.config.settings import Settings


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [
        ([0, 1, 2, 3], 2, [{0, 1}, {2, 3}]),
        ([2, 5, 7], 2, [{2}, {5, 7}]),
        ([0, 1], 3, [{0}, {1}, {0}]),
        ([4], 1, [{4}]),
    ],
)
def test_cores_are_divided_evenly(cores: list[int], count: int, shares: list[set[int]]) -> None:
    assert core_shares(cores, count) == shares


def settings(**sections: dict[str, object]) -> Settings:
    return Settings.model_validate(sections)


def test_each_device_has_a_worker() -> None:
    given = settings(processes={"devices": "cuda:0,cuda:1"})
    assert [each.model.device for each in worker_settings(given)] == ["cuda:0", "cuda:1"]


def test_workers_share_the_device() -> None:
    given = settings(processes={"workers": 2}, model={"device": "cpu"})
    assert [each.model.device for each in worker_settings(given)] == ["cpu", "cpu"]


def test_workers_neither_divide_again_nor_write_the_report() -> None:
    given = settings(processes={"workers": 2}, operations={"report": Path("r.jsonl")})
    for each in worker_settings(given):
        assert each.processes.workers is None
        assert each.operations.report is None


@pytest.mark.parametrize(("limit", "shares"), [(7, [2, 2, 3]), (3, [1, 1, 1]), (2, [1, 1])])
def test_the_shares_of_a_limit_add_up_to_it(limit: int, shares: list[int]) -> None:
    given = settings(processes={"workers": 3}, spool={"limit": limit})
    assert [each.spool.limit for each in worker_settings(given)] == shares
