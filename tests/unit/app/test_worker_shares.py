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


def shares_of(**sections: dict[str, object]) -> list[Settings]:
    return list(worker_settings(Settings.model_validate(sections)).values())


def test_each_device_has_a_worker() -> None:
    shares = shares_of(processes={"devices": "cuda:0,cuda:1"})
    assert [each.model.device for each in shares] == ["cuda:0", "cuda:1"]


def test_workers_share_the_device() -> None:
    shares = shares_of(processes={"workers": 2}, model={"device": "cpu"})
    assert [each.model.device for each in shares] == ["cpu", "cpu"]


def test_workers_leave_to_the_parent_what_there_is_once() -> None:
    shares = shares_of(
        processes={"workers": 2},
        operations={"report": Path("r.jsonl")},
        monitoring={"http": "9180", "metrics_file": Path("m.prom"), "http_thumbnails": True},
        spool={"exclusive": True, "stop_file": "STOP"},
    )
    for each in shares:
        assert each.processes.workers is None
        assert each.operations.report is None
        assert (each.monitoring.http, each.monitoring.metrics_file) == (None, None)
        assert each.monitoring.http_thumbnails
        assert (each.spool.exclusive, each.spool.stop_file) == (False, None)


@pytest.mark.parametrize(("limit", "shares"), [(7, [2, 2, 3]), (3, [1, 1, 1]), (2, [1, 1])])
def test_the_shares_of_a_limit_add_up_to_it(limit: int, shares: list[int]) -> None:
    found = shares_of(processes={"workers": 3}, spool={"limit": limit})
    assert [each.spool.limit for each in found] == shares
