"""TinyViT against the authors' code."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from support import hq_authors
from support.seeded import seeded
from support.small_families import SMALL_TINY_VIT
from support.tiny import relative_error
from torch import Tensor

from sampoll.models.shared import tiny_vit
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.tiny_vit import TinyViT, TinyViTEncoder
from sampoll.models.shared.windows import from_windows, to_windows

ORIGINAL = seeded(TinyViT(SMALL_TINY_VIT))
THEIRS: Any = hq_authors.loaded(hq_authors.SmallTinyViT(), ORIGINAL.state_dict())
IMAGES = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 3, 128, 128)).astype(np.float32))
with torch.inference_mode():
    EXPECTED: Tensor = THEIRS(IMAGES)[0]


def encoder(dtype: torch.dtype = torch.float32) -> TinyViTEncoder:
    return TinyViTEncoder(copy.deepcopy(ORIGINAL), dtype).eval()


def tables(ours: TinyViTEncoder) -> list[torch.nn.Parameter]:
    """The attention biases."""
    return [table for name, table in ours.named_parameters() if name.endswith("attention_biases")]


@torch.inference_mode()
def error(ours: TinyViTEncoder) -> float:
    [features] = ours(IMAGES)
    assert features.dtype == torch.float32
    return relative_error(features, EXPECTED)


def test_features_are_those_of_the_authors_code() -> None:
    assert error(encoder()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_of_lower_precisions_are_nearly_the_same(dtype: torch.dtype) -> None:
    assert error(encoder(dtype)) < 2e-2


@torch.inference_mode()
def test_an_image_has_the_same_features_alone_and_in_a_batch() -> None:
    [alone], [together] = encoder()(IMAGES[1:]), encoder()(IMAGES)

    assert relative_error(alone[0], together[1]) < 1e-5


@torch.inference_mode()
def test_tokens_of_a_stage_are_those_of_the_authors_code() -> None:
    _, [early] = THEIRS(IMAGES)

    second = list(encoder().stages(IMAGES))[1]

    assert relative_error(second, early) < 1e-5


@torch.inference_mode()
def test_attention_biases_of_before_the_weights_were_loaded_are_never_used() -> None:
    """The authors' code keeps its biases when it is set to inference: weights that are loaded after that are
    answered with the old ones."""
    stale: Any = hq_authors.SmallTinyViT().eval()
    stale.load_state_dict(ORIGINAL.state_dict())
    ours = encoder()
    no_biases(ours, pytest.MonkeyPatch())

    assert relative_error(stale(IMAGES)[0], EXPECTED) > 1e-3
    assert relative_error(ours(IMAGES)[0], stale(IMAGES)[0]) < 1e-5


def test_what_openvino_makes_of_it_is_the_same_function() -> None:
    [features] = OpenVinoEncoder(converted(encoder()), 128, "fp32")(IMAGES)

    assert relative_error(features, EXPECTED) < 1e-4


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 4), (1, 9)])
def test_windows_hold_all_tokens_and_padding(height: int, width: int) -> None:
    tokens = torch.randn(2, height, width, 5)
    padding = torch.full((5,), 7.0)

    windows = to_windows(tokens, 3, padding)

    assert windows.shape[1:] == (3, 3, 5)
    assert torch.equal(from_windows(windows, tokens.shape), tokens)
    assert (windows == 7).all(-1).sum() == windows[..., 0].numel() - tokens[..., 0].numel()


# Each rule, broken


def windows_padded_with_zeros(_: TinyViTEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_vit, "to_windows", lambda x, side, _: to_windows(x, side, torch.zeros(1)))


def rows_and_columns_of_biases_exchanged(ours: TinyViTEncoder, _: pytest.MonkeyPatch) -> None:
    for table in tables(ours):
        side = round(table.shape[1] ** 0.5)
        table.data = table.view(-1, side, side).transpose(1, 2).flatten(1)


def no_biases(ours: TinyViTEncoder, _: pytest.MonkeyPatch) -> None:
    for table in tables(ours):
        table.data.zero_()


def one_norm_left_out(ours: TinyViTEncoder, _: pytest.MonkeyPatch) -> None:
    conv: Any = ours.get_submodule("patch_embed.seq.0.c")
    conv.weight, conv.bias = ORIGINAL.get_parameter("patch_embed.seq.0.c.weight"), None


MISTAKES = [windows_padded_with_zeros, rows_and_columns_of_biases_exchanged, no_biases, one_norm_left_out]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_seen(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = encoder()
    mistake(ours, monkeypatch)

    assert error(ours) > 1e-3
