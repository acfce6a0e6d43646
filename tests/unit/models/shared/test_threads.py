"""The thread pools of libraries."""

from collections.abc import Iterator

import cv2
import pytest
import torch

from sampoll.models.shared.threads import limit_threads


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = cv2.getNumThreads(), torch.get_num_threads()
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


def test_pools_are_limited_to_the_usable_cores_and_never_enlarged() -> None:
    cv2.setNumThreads(2)
    torch.set_num_threads(2)

    limit_threads(64)
    assert (cv2.getNumThreads(), torch.get_num_threads()) == (2, 2)
    limit_threads(1)
    assert (cv2.getNumThreads(), torch.get_num_threads()) == (1, 1)
    limit_threads(2)
    assert (cv2.getNumThreads(), torch.get_num_threads()) == (1, 1)
