"""SAM 2 by own code over the authors' weights: equal to the authors' code, with each of its rules."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from support.golden_checks import embedded, error, errors, everything_answers, golden, official_errors
from support.small_sam2 import PROMPTS, golden_weights, small_sam2
from support.tiny import relative_error

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Box, LowResMask, Point, Prompt
from sampoll.models import sam2
from sampoll.models.sam2.hiera import Hiera
from sampoll.models.shared.network import Network
from sampoll.models.shared.openvino import converted
from sampoll.models.shared.prompt_tokens import PADDING, prompt_tokens, sam2_tokens
from sampoll.models.shared.sam2_decoder import Sam2Decoder
from sampoll.models.shared.sam2_keys import is_for_images
from sampoll.models.shared.sam2_network import Sam2, Sam2Encoder
from sampoll.models.shared.sam2_rules import ResizedSquare
from sampoll.models.shared.weights import empty, shapes_of
from sampoll.models.shared.windows import to_windows

GOLDEN = golden(Path(__file__).with_name("small.npz"))
MODELS = {
    name: model for name, model in vars(sam2).items() if isinstance(model, sam2.Sam2Model)
}  # by the names of their entry points' attributes
VIDEO = {
    "memory_attention.layers.0.norm1.weight": (256,),
    "maskmem_tpos_enc": (7, 1, 1, 64),
    "no_mem_pos_enc": (1, 1, 256),
    "obj_ptr_proj.layers.0.weight": (256, 256),
}


def test_each_answer_is_that_of_the_authors_code() -> None:
    found = errors(small_sam2(), GOLDEN)

    assert len(found) == 3 + 4 * 9 + 2 * 7
    assert max(found.values()) < 1e-5, found


def test_an_encoder_with_two_heads_is_that_of_the_authors_code() -> None:
    levels = embedded(small_sam2(heads=2))

    for number, level in enumerate(levels):
        assert error(level[..., ::2, ::2], GOLDEN[f"two heads: level {number}"]) < 1e-5


def test_everything_finds_what_the_authors_code_finds() -> None:
    scores, areas = everything_answers(small_sam2())

    assert len(scores) > 1
    assert scores == pytest.approx(GOLDEN["everything: scores"].tolist(), abs=1e-6)
    assert areas == GOLDEN["everything: areas"].tolist()


def test_some_logits_of_the_authors_are_clamped() -> None:
    assert any((np.abs(GOLDEN[f"{name}: logits"]) == 32).any() for name in PROMPTS)


@contextmanager
def _tokens_of_sam(network: Network) -> Iterator[Network]:
    yield replace(network, tokens=prompt_tokens)


@contextmanager
def _corners_of_pixels(network: Network) -> Iterator[Network]:
    encoded = network.decoder.places.forward_with_coords

    def shifted(places: torch.Tensor, size: Any) -> torch.Tensor:
        result: torch.Tensor = encoded(places - 0.5, size)
        return result

    with mock.patch.object(network.decoder.places, "forward_with_coords", shifted):
        yield network


@contextmanager
def _every_single_mask_is_stable(network: Network) -> Iterator[Network]:
    with mock.patch.object(Sam2Decoder, "STABLE", 0.0):
        yield network


@contextmanager
def _no_single_mask_is_stable(network: Network) -> Iterator[Network]:
    with mock.patch.object(Sam2Decoder, "STABLE", 1.1):
        yield network


@contextmanager
def _logits_that_are_not_clamped(network: Network) -> Iterator[Network]:
    with mock.patch.object(ResizedSquare, "MAX_LOGIT", float("inf")):
        yield network


@contextmanager
def _no_antialiasing(network: Network) -> Iterator[Network]:
    real = F.interpolate

    def aliased(*arguments: Any, **options: Any) -> torch.Tensor:
        return real(*arguments, **{**options, "antialias": False})

    with mock.patch.object(F, "interpolate", aliased):
        yield network


@contextmanager
def _windows_of_its_own_stage(network: Network) -> Iterator[Network]:
    def encoder(dtype: torch.dtype) -> Any:
        made: Any = network.encoder(dtype)
        made.trunk.blocks[1].window = made.trunk.blocks[2].window
        return made

    yield replace(network, encoder=encoder)


@contextmanager
def _windows_padded_with_zeros(network: Network) -> Iterator[Network]:
    def padded(tokens: torch.Tensor, side: int, padding: torch.Tensor) -> torch.Tensor:
        return to_windows(tokens, side, torch.zeros_like(padding))

    with mock.patch("sampoll.models.sam2.hiera.to_windows", padded):
        yield network


@contextmanager
def _top_down_to_each_level(network: Network) -> Iterator[Network]:
    real = Sam2Encoder.forward

    def forward(encoder: Sam2Encoder, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        finest, finer, features = real(encoder, images)
        return finest, finer + F.interpolate(features, scale_factor=2.0)[:, : finer.shape[1]], features

    with mock.patch.object(Sam2Encoder, "forward", forward):
        yield network


@contextmanager
def _no_mark_of_no_memory(network: Network) -> Iterator[Network]:
    def encoder(dtype: torch.dtype) -> Any:
        made: Any = network.encoder(dtype)
        made.no_memory.data.zero_()
        return made

    yield replace(network, encoder=encoder)


@pytest.mark.parametrize(
    "mutant",
    [
        _tokens_of_sam,
        _corners_of_pixels,
        _every_single_mask_is_stable,
        _no_single_mask_is_stable,
        _logits_that_are_not_clamped,
        _no_antialiasing,
        _windows_of_its_own_stage,
        _windows_padded_with_zeros,
        _top_down_to_each_level,
        _no_mark_of_no_memory,
    ],
)
def test_without_one_of_its_rules_the_answers_differ(mutant: Any) -> None:
    with mutant(small_sam2()) as network:
        assert max(errors(network, GOLDEN).values()) > 1e-4


def test_the_corners_of_a_box_and_points_are_always_followed_by_a_padding_token() -> None:
    box, points = Box(1, 2, 30, 40), (Point(5, 6, 1), Point(7, 8, 0))

    places, kinds = sam2_tokens(Prompt(points=points, box=box))

    assert kinds.tolist() == [2, 3, 1, 0, PADDING]
    assert places.tolist() == [[1, 2], [30, 40], [5, 6], [7, 8], [0, 0]]
    assert sam2_tokens(Prompt(box=box))[1].tolist() == [2, 3, PADDING]
    assert sam2_tokens(Prompt(points=points))[1].tolist() == [1, 0, PADDING]


def test_a_mask_alone_has_no_tokens() -> None:
    places, kinds = sam2_tokens(Prompt(mask=LowResMask(b"", np.zeros((256, 256), np.float32))))

    assert places.shape == (0, 2)
    assert kinds.shape == (0,)


def test_points_lie_in_a_square_to_which_the_image_is_stretched() -> None:
    placed = ResizedSquare().places(np.array([[0, 0], [100, 25], [50, 50.0]]), (50, 200))

    assert placed.tolist() == [[0, 0], [512, 512], [256, 1024]]


@pytest.mark.parametrize("size", [(200, 200), (50, 200), (333, 100), (1080, 1920)])
def test_a_mask_prompt_of_sams_square_is_stretched_without_its_padding(size: tuple[int, int]) -> None:
    height, width = size
    longest = max(size)
    across = (torch.arange(256) + 0.5) * longest / 256  # image pixels at the centres of the mask's
    # A plane over the image, and what must not be seen in the padding.
    mask = across[None, :] / width + 2 * across[:, None] / height
    mask[int(np.ceil(256 * height / longest)) :] = 1e6
    mask[:, int(np.ceil(256 * width / longest)) :] = 1e6

    stretched = ResizedSquare().mask_input(mask, size)

    centres = (torch.arange(256) + 0.5) / 256
    expected = centres[None, :] + 2 * centres[:, None]
    # Beyond the centre of the first and the last pixel there is nothing to go by. Sizes are rounded at 1024.
    far = [256 // max(4, int(256 * side / longest)) + 1 for side in size]
    inner = (slice(far[0], -far[0]), slice(far[1], -far[1]))
    assert stretched.shape == (256, 256)
    assert stretched.max() < 10
    assert (stretched - expected)[inner].abs().max() < 0.03


def test_a_mask_prompt_of_a_line_of_pixels_is_that_lines() -> None:
    mask = torch.full((256, 256), 1e6)
    mask[0] = 3.0

    assert torch.allclose(ResizedSquare().mask_input(mask, (1, 1000)), torch.tensor(3.0))


def test_thresholds_of_everything_are_those_of_sam_2() -> None:
    network = small_sam2()

    assert network.everything.pred_iou == 0.8
    assert network.everything.stability_score == 0.95


def test_in_bfloat16_the_levels_stay_near() -> None:
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        exact, near = (small_sam2().encoder(dtype)(image) for dtype in (torch.float32, torch.bfloat16))

    for level, other in zip(exact, near, strict=True):
        assert other.dtype == torch.float32
        assert 0 < relative_error(other, level) < 2e-2


@pytest.mark.parametrize("heads", [1, 2])
def test_the_graph_for_openvino_computes_the_same(heads: int) -> None:
    pytest.importorskip("openvino")
    import openvino

    encoder = small_sam2(heads).encoder(torch.float32).eval().requires_grad_(False)
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    graph = openvino.compile_model(converted(encoder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    found = graph(image.numpy())
    for number, level in enumerate(encoder(image)):
        assert error(torch.from_numpy(found[number]), level.numpy()) < 1e-4


def test_several_images_are_embedded_as_each_alone() -> None:
    encoder = small_sam2().encoder(torch.float32)
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        together, alone = encoder(images), encoder(images[1:])

    for several, one in zip(together, alone, strict=True):
        assert relative_error(several[1:], one) < 1e-6


def _shapes(model: sam2.Sam2Model) -> dict[str, tuple[int, ...]]:
    """Those of a file of the model, with some of the tensors for videos."""
    shapes = shapes_of(empty(lambda: Sam2(Hiera(model.sizes))).state_dict()) | VIDEO
    return shapes | ({sam2.MARK_OF_2_1: (1, 64)} if model.name.startswith("sam2.1") else {})


def test_each_file_is_known_as_one_model() -> None:
    assert len(MODELS) == 8
    for model in MODELS.values():
        shapes = _shapes(model)

        assert [other.name for other in MODELS.values() if other.holds(shapes)] == [model.name]


def test_a_file_for_images_alone_is_of_both_versions() -> None:
    shapes = {name: shape for name, shape in _shapes(sam2.sam2_hiera_tiny).items() if is_for_images(name)}

    assert [m.name for m in MODELS.values() if m.holds(shapes)] == ["sam2.1_hiera_tiny", "sam2_hiera_tiny"]


def test_files_of_other_families_are_not_known() -> None:
    assert not any(
        model.holds({"image_encoder.patch_embed.proj.weight": (768, 3, 16, 16)}) for model in MODELS.values()
    )
    assert not any(model.holds({}) for model in MODELS.values())


@pytest.mark.parametrize(
    ("size", "tensors"), [("tiny", 311), ("small", 359), ("base_plus", 455), ("large", 743)]
)
def test_the_tensors_of_videos_are_left_out(size: str, tensors: int) -> None:
    model = MODELS[f"sam2_1_hiera_{size}"]

    kept = [name for name in _shapes(model) if model.image_keys(name)]

    assert len(kept) == tensors
    assert not set(kept) & set(VIDEO)
    assert "no_mem_embed" in kept


def test_a_tensor_that_is_unknown_or_missing_is_refused() -> None:
    weights = {
        name: torch.zeros(shape)
        for name, shape in _shapes(sam2.sam2_1_hiera_tiny).items()
        if is_for_images(name)
    }

    with pytest.raises(ModelUnavailable, match=r"it has memory_banks\.0 besides"):
        sam2.sam2_1_hiera_tiny.build({**weights, "memory_banks.0": torch.zeros(1)})
    del weights["no_mem_embed"]
    with pytest.raises(ModelUnavailable, match="it lacks no_mem_embed"):
        sam2.sam2_1_hiera_tiny.build(weights)


@pytest.mark.slow
def test_the_model_of_official_size_is_that_of_the_authors_code() -> None:
    names = empty(lambda: Sam2(Hiera(sam2.TINY))).state_dict()
    network = sam2.sam2_1_hiera_tiny.build(golden_weights(names))

    found = official_errors(network, golden(Path(__file__).with_name("official.npz")))

    assert max(found.values()) < 1e-5, found
