"""What a service is made of."""

import pytest
from support.one_shot import OneShot

from sampoll.app import assembly
from sampoll.app.assembly import batch_size_of
from sampoll.app.memory_budget import memory_budget
from sampoll.config.settings import Settings
from sampoll.config.settings.model import ModelSettings
from sampoll.core.memory import StageMemory
from sampoll.core.results import ModelInfo

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("device", "engine", "size"),
    [("cpu", "openvino", 2), ("cpu", "torch", 1), ("cpu", None, 1), ("cuda:0", "torch", 8)],
)
def test_a_batch_has_as_many_images_as_the_engine_computes_at_once(
    monkeypatch: pytest.MonkeyPatch, device: str, engine: str | None, size: int
) -> None:
    monkeypatch.setattr(assembly, "usable_cores", lambda: 16)
    assert batch_size_of(ModelSettings(), ModelInfo("sam", device, engine=engine)) == size
    assert batch_size_of(ModelSettings(batch_size=3), ModelInfo("sam", device, engine=engine)) == 3


class Holding(OneShot):
    held_memory = StageMemory("files", 64 * MEBIBYTE)


def budget(settings: dict[str, object], executors: int = 1) -> dict[str, int]:
    """Mebibytes by stage."""
    stages = memory_budget(
        Settings.model_validate(settings),
        Holding([]),
        model_bytes=500 * MEBIBYTE,
        embedding_bytes=256 * MEBIBYTE,
        executors=executors,
    )
    return {stage.stage: stage.bytes // MEBIBYTE for stage in stages}


def test_the_memory_of_each_stage_follows_from_the_settings() -> None:
    expected = {"model": 500, "files": 64, "images": 1024, "embeddings": 256}
    assert budget({}) == {**expected, "masks": 512, "outcomes": 640, "rendering": 1152}
    small = {"limits": {"max-mask-bytes": 10 * MEBIBYTE}, "masks": {"largest-only": True}}
    assert budget(small, executors=2) == {**expected, "masks": 20, "outcomes": 138, "rendering": 512 + 276}
