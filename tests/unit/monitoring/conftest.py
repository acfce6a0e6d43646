import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.outside import Outside


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path, with_thumbnails=True)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The clocks stand still but for this function."""
    monotonic, epoch = [100_000.0], [1_800_000_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: monotonic[0])
    monkeypatch.setattr(time, "time", lambda: epoch[0])

    def pass_seconds(seconds: float) -> None:
        monotonic[0] += seconds
        epoch[0] += seconds

    return pass_seconds
