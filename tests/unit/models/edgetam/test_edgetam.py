"""EdgeTAM by own code: the trunk equal to timm's, and the answers to those of the authors' code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.folders import Folders, drop_pair
from support.golden_checks import error, errors, everything_answers, golden, official_errors
from support.process import sampoll
from support.small_sam2 import REPVIT, golden_weights, small_edgetam
from support.tiny import relative_error
from torch import nn

from sampoll.core.errors import ModelUnavailable
from sampoll.models.edgetam import edgetam
from sampoll.models.edgetam.repvit import M1, RepVit, RepVitBody, RepVitSizes, RepVitTrunk
from sampoll.models.sam2 import sam2_1_hiera_tiny
from sampoll.models.shared.openvino import converted
from sampoll.models.shared.sam2_network import Sam2
from sampoll.models.shared.weights import empty, shapes_of

GOLDEN = golden(Path(__file__).with_name("small.npz"))
VIDEO = {"spatial_perceiver.latents": (256, 64), "memory_encoder.out_proj.bias": (64,)}


def test_each_answer_is_that_of_the_authors_code() -> None:
    found = errors(small_edgetam(), GOLDEN)

    assert len(found) == 3 + 2 * 9 + 2 * 7
    assert max(found.values()) < 1e-5, found


def test_everything_finds_what_the_authors_code_finds() -> None:
    scores, areas = everything_answers(small_edgetam())

    assert len(scores) > 1
    assert sorted(scores) == pytest.approx(sorted(GOLDEN["everything: scores"].tolist()), abs=1e-6)
    assert sorted(areas) == sorted(GOLDEN["everything: areas"].tolist())


@pytest.mark.parametrize("sizes", [REPVIT, M1])
def test_the_trunk_has_the_weights_and_the_values_of_timms(sizes: RepVitSizes) -> None:
    timm: Any = pytest.importorskip("timm", reason="pip install 'sampoll[dev]'")
    theirs: nn.Module = timm.create_model(
        "repvit_m1", features_only=True, embed_dim=sizes.channels, depth=sizes.depths
    ).eval()
    weights = golden_weights({f"body.{name}": tensor for name, tensor in theirs.state_dict().items()})
    theirs.load_state_dict({name.removeprefix("body."): weight for name, weight in weights.items()})
    ours = RepVitBody(sizes)
    ours.load_state_dict(weights)
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        maps, expected = ours.trunk(torch.float32)(image), theirs(image)

    assert len(maps) == len(expected) == 4
    for level, other in zip(maps, expected, strict=True):
        assert relative_error(level, other) < 1e-5


@pytest.mark.parametrize(
    "left_out", ["conv1.bn.bias", "se.fc2.bias", "pre_block.channel_mixer.conv2.bn.weight"]
)
def test_each_part_of_the_trunk_counts(left_out: str) -> None:
    weights = golden_weights({f"body.{name}": tensor for name, tensor in RepVit(REPVIT).state_dict().items()})
    without = {name: weight * 0 if name.endswith(left_out) else weight for name, weight in weights.items()}
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    assert relative_error(_coarsest(without, image), _coarsest(weights, image)) > 1e-4


def _coarsest(weights: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    body = RepVitBody(REPVIT)
    body.load_state_dict(weights)
    with torch.inference_mode():
        maps: tuple[torch.Tensor, ...] = RepVitTrunk(body.body, torch.float32)(image)
    return maps[-1]


def test_in_bfloat16_the_levels_stay_near() -> None:
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        exact, near = (small_edgetam().encoder(dtype)(image) for dtype in (torch.float32, torch.bfloat16))

    for level, other in zip(exact, near, strict=True):
        assert other.dtype == torch.float32
        assert 0 < relative_error(other, level) < 3e-2


def test_the_graph_for_openvino_computes_the_same() -> None:
    openvino: Any = pytest.importorskip("openvino")
    encoder = small_edgetam().encoder(torch.float32).eval().requires_grad_(False)
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    graph = openvino.compile_model(converted(encoder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    found = graph(image.numpy())
    for number, level in enumerate(encoder(image)):
        assert error(torch.from_numpy(found[number]), level.numpy()) < 1e-4


def _weights() -> dict[str, torch.Tensor]:
    return empty(lambda: Sam2(RepVitBody())).state_dict()


def test_a_file_is_known_by_its_trunk() -> None:
    shapes = shapes_of(_weights()) | VIDEO

    assert edgetam.holds(shapes)
    assert not sam2_1_hiera_tiny.holds(shapes)
    assert not edgetam.holds({"image_encoder.trunk.blocks.0.norm1.weight": (96,)})


def test_the_tensors_of_videos_are_left_out_and_unknown_ones_are_refused() -> None:
    names = [name for name in (*_weights(), *VIDEO) if edgetam.image_keys(name)]

    assert len(names) == 833
    assert not set(names) & set(VIDEO)
    weights = {name: torch.zeros_like(weight, device="cpu") for name, weight in _weights().items()}
    with pytest.raises(ModelUnavailable, match=r"it has perceiver\.latents besides"):
        edgetam.build({**weights, "perceiver.latents": torch.zeros(1)})


@pytest.mark.slow
def test_the_model_of_official_size_is_that_of_the_authors_code() -> None:
    network = edgetam.build(golden_weights(_weights()))

    found = official_errors(network, golden(Path(__file__).with_name("official.npz")))

    assert max(found.values()) < 1e-5, found


@pytest.mark.slow
def test_a_file_as_the_authors_publish_it_is_run_without_naming_a_model(
    folders: Folders, tmp_path: Path
) -> None:
    video = {name: torch.zeros(shape) for name, shape in VIDEO.items()}
    checkpoint = tmp_path / "mine.pt"
    torch.save({"model": {**golden_weights(_weights()), **video}}, checkpoint)
    drop_pair(folders.input, "a")

    ended = sampoll("run", "--checkpoint", checkpoint, "--engine", "torch", folders.input, folders.output)

    assert ended.returncode == 0, ended.stderr
    assert "mine.pt holds edgetam" in ended.stderr
    assert folders.results == ["a.json", "a.png"]
