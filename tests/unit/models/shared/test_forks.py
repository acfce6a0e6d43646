import os
from collections.abc import Callable
from typing import Any

import pytest

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.openvino_graph import core
from sampoll.models.shared.torch_device import torch_device


@pytest.mark.parametrize(
    ("engine", "use"), [("torch", lambda: torch_device("cpu")), ("OpenVINO", lambda: core())]
)
def test_an_engine_is_not_used_in_a_process_that_was_forked_from_one_that_uses_it(
    engine: str, use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert use() == use()

    monkeypatch.setattr("sampoll.models.shared.forks.os.getpid", lambda: os.getppid())

    with pytest.raises(ModelUnavailable, match=f"forked from one that has used {engine}, .*spawn"):
        use()
