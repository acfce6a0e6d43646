"""`--model auto`: which model a checkpoint holds, and names that contradict one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from segment_anything import sam_model_registry

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable
from sampoll.models.registry import find_factory, load_segmenter, with_model_named
from sampoll.models.sam import vit_b
from sampoll.models.shared import detection

SIZES = ("vit_b", "vit_l", "vit_h")


def official_shapes(size: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in sam_model_registry[size]().state_dict().items()}


def save_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], wrapper: str | None = None) -> Path:
    """A small file: all elements of each tensor are one number."""
    weights: Any = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    torch.save(weights if wrapper is None else {wrapper: weights}, path)
    return path


def options_of(path: Path, **more: Any) -> ModelSettings:
    return ModelSettings.model_validate({"checkpoint": path, "device": "cpu", "engine": "torch", **more})


@pytest.mark.parametrize("wrapper", [None, "model"])
@pytest.mark.parametrize("size", SIZES)
def test_a_checkpoint_alone_says_its_model_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: str, wrapper: str | None
) -> None:
    path = save_shapes(tmp_path / "renamed.pt", official_shapes(size), wrapper)

    with caplog.at_level(logging.INFO):
        named = with_model_named(options_of(path))

    assert named.model == size
    assert [record.getMessage() for record in caplog.records] == [f"{path} holds {size}"]
    assert named == options_of(path, model=size)


def test_without_a_checkpoint_auto_is_the_default_model(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert with_model_named(ModelSettings()).model == "vit_b"

    assert caplog.records == []
    assert find_factory(ModelSettings()) is vit_b


def test_a_model_that_is_named_is_not_looked_for(tmp_path: Path) -> None:
    for name in ("grabcut", "vit_l", "package.module:factory"):
        options = options_of(tmp_path / "nowhere.pth", model=name)
        assert with_model_named(options) is options


def test_a_checkpoint_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no checkpoint at .*nowhere\.pth: correct --checkpoint"):
        with_model_named(options_of(tmp_path / "nowhere.pth"))
    with pytest.raises(ModelUnavailable, match="no checkpoint at /dev/zero"):
        with_model_named(options_of(Path("/dev/zero")))


VIDEO = {
    "memory_attention.layers.0.norm1.weight": (256,),
    "memory_encoder.out_proj.weight": (64, 256, 1, 1),
    "maskmem_tpos_enc": (7, 1, 1, 64),
    "no_mem_embed": (1, 1, 256),
    "obj_ptr_proj.layers.0.bias": (256,),
}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            VIDEO,
            r"it has no image encoder \(no tensor image_encoder\.…\), but memory_attention, memory_encoder, "
            "maskmem_tpos_enc and 2 more$",
        ),
        ({"model.diffusion.weight": (3,)}, r"it has no image encoder .*, but model$"),
        (
            {"a": (1,), "image_encoder.patch_embed.proj.weight": (168, 3, 16, 16)},
            r"its image encoder has image_encoder\.patch_embed\.proj\.weight \(168, 3, 16, 16\)$",
        ),
        ({"detector.backbone.weight": (2,), "tracker.x": (1,)}, "but detector, tracker$"),
        ({}, "it has no tensors$"),
        ({"bad\x1b[2Jname": (1,)}, r"but bad\\x1b\[2Jname$"),
    ],
)
def test_a_checkpoint_of_no_known_model_is_described(
    tmp_path: Path, shapes: Mapping[str, tuple[int, ...]], message: str
) -> None:
    path = save_shapes(tmp_path / "other.pt", shapes)

    for options in (options_of(path), options_of(path, model="vit_b")):
        with pytest.raises(
            ModelUnavailable, match=r"other\.pt holds none of .*vit_b, vit_h, vit_l: .*" + message
        ):
            load_segmenter(options, find_factory(options))


def test_a_name_that_contradicts_the_checkpoint_is_corrected(tmp_path: Path) -> None:
    options = options_of(save_shapes(tmp_path / "a.pth", official_shapes("vit_b")), model="vit_h")

    with pytest.raises(ModelUnavailable, match=r"a\.pth holds vit_b, not vit_h: use --model vit_b$"):
        load_segmenter(options, find_factory(options))


FIRST, SECOND = "image_encoder.pos_embed", "mask_decoder.iou_token.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({FIRST: None}, f"it lacks {FIRST}$"),
        ({FIRST: None, SECOND: None}, f"it lacks {FIRST}, {SECOND}$"),
        ({FIRST: (1, 32, 32, 768)}, rf"{FIRST} should be \(1, 64, 64, 768\), and is \(1, 32, 32, 768\)$"),
        ({"adapter.weight": (3,), "adapter.bias": (3,)}, r"it has adapter\.weight, adapter\.bias besides$"),
        (
            {SECOND: None, "mask_decoder.token": (2,)},
            f"it lacks {SECOND}; it has mask_decoder.token besides$",
        ),
        ({f"extra.{number}": (1,) for number in range(9)}, r"it has extra\.0, extra\.1, extra\.2 and 6 more"),
    ],
)
@pytest.mark.parametrize("name", ["auto", "vit_b"])
def test_missing_and_surplus_tensors_are_named_and_nothing_is_loaded(
    tmp_path: Path, changes: Mapping[str, tuple[int, ...] | None], message: str, name: str
) -> None:
    changed = {**official_shapes("vit_b"), **changes}
    shapes = {key: shape for key, shape in changed.items() if shape is not None}
    options = options_of(save_shapes(tmp_path / "a.pth", shapes), model=name)

    with pytest.raises(ModelUnavailable, match=r"a\.pth does not fit vit_b: " + message):
        load_segmenter(options, find_factory(options))


def test_another_packages_factory_that_fails_hides_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def torn(_: object) -> bool:
        raise RuntimeError("torn")

    class Factory:
        def __call__(self, options: ModelSettings) -> None:
            raise NotImplementedError

        holds = staticmethod(torn)

    monkeypatch.setattr(
        detection, "load_all", lambda _: [("a", Factory()), ("vit_b", vit_b), ("kind", Factory)]
    )
    path = save_shapes(tmp_path / "a.pth", official_shapes("vit_b"))

    assert with_model_named(options_of(path)).model == "vit_b"
    assert "--model a cannot say what a checkpoint holds: RuntimeError: torn" in caplog.text
