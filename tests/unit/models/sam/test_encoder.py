"""The encoder against segment_anything's own, and attention against its definition."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from support.images import image_of
from support.tiny import relative_error, tiny_sam, with_positions
from torch._inductor.runtime.cache_dir_utils import cache_dir

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.models.sam.network import sam_network
from sampoll.models.shared import device
from sampoll.models.shared import relative_positions as attention
from sampoll.models.shared.device import chosen_precision, cpu_flags
from sampoll.models.shared.factory import keep_compiled_code
from sampoll.models.shared.relative_positions import RelativePositions
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.torch_device import PRECISIONS
from sampoll.models.shared.vit import Encoder

CPU = torch.device("cpu")
LARGEST_ERRORS = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 3e-3}
"""Relative L2 of embeddings. What rounding gives is about a third of it."""


@pytest.fixture(params=["_head_by_head", "_folded", "_exported"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is what CUDA uses, the third what other engines get; all run on a CPU."""
    monkeypatch.setattr(attention, "_head_by_head", getattr(attention, request.param))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("images", [1, 3])
@torch.inference_mode()
def test_embeddings_are_those_of_the_original(precision: str, images: int) -> None:
    original = with_positions(tiny_sam()).image_encoder
    batch = torch.randn(images, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    expected = original(batch)

    [embeddings] = Encoder(copy.deepcopy(original), PRECISIONS[precision])(batch)

    assert embeddings.shape == (images, 32, 4, 4)
    assert embeddings.dtype == torch.float32
    assert relative_error(embeddings, expected) < LARGEST_ERRORS[precision]


@torch.inference_mode()
def test_an_image_has_the_same_embedding_alone_and_in_a_batch() -> None:
    encoder = Encoder(with_positions(tiny_sam()).image_encoder, torch.float32)
    batch = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    [together] = encoder(batch)
    for number in range(4):
        assert relative_error(encoder(batch[number : number + 1])[0][0], together[number]) < 1e-5


@torch.inference_mode()
def test_a_model_without_positions_works_too() -> None:
    original = ImageEncoderViT(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, window_size=3, use_abs_pos=False
    ).eval()
    batch = torch.randn(2, 3, 64, 64)
    assert relative_error(Encoder(copy.deepcopy(original), torch.float32)(batch)[0], original(batch)) < 1e-5


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(("height", "width", "channels"), [(3, 3, 8), (5, 2, 12), (1, 4, 16)])
@torch.inference_mode()
def test_attention_is_softmax_of_products_and_biases(height: int, width: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, height * width, channels, generator=generator)
    rows = torch.randn(height, height, channels, generator=generator)
    columns = torch.randn(width, width, channels, generator=generator)

    expected = torch.empty_like(v)
    for i in range(height * width):
        for_keys = []
        for j in range(height * width):
            bias = rows[i // width, j // width] + columns[i % width, j % width]
            for_keys.append((q[:, :, i] * (k[:, :, j] * channels**-0.5 + bias)).sum(-1))
        weights = torch.stack(for_keys, dim=-1).softmax(-1)  # (B, N, L)
        expected[:, :, i] = torch.einsum("bnl,bnlc->bnc", weights, v)

    assert relative_error(RelativePositions(rows, columns)(q, k, v), expected) < 1e-5


@pytest.mark.usefixtures("kernel")
def test_many_windows_are_attended_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 7, 2, 6, 8, generator=generator)
    positions = RelativePositions(
        torch.randn(2, 2, 8, generator=generator), torch.randn(3, 3, 8, generator=generator)
    )
    at_once = attention._folded(q, k, v, *positions._biases(q), positions.places)
    monkeypatch.setattr(attention, "PAIRS_AT_ONCE", 2 * 6**2)
    assert relative_error(positions(q, k, v), at_once) < 1e-6


# Which precision


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("flags : sse avx512f avx512_bf16", "bf16"),
        ("flags : amx_bf16", "bf16"),
        ("flags : avx2 avx512f", "fp32"),
        ("", "fp32"),
    ],
)
def test_auto_is_bf16_on_processors_that_multiply_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, precision: str
) -> None:
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "cpuinfo")
    assert chosen_precision("auto", "cpu") == "fp32"
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n\nprocessor : 1\nflags: none\n")
    assert chosen_precision("auto", "cpu") == precision
    assert chosen_precision("fp32", "cpu") == "fp32"
    assert len(cpu_flags()) == len(flags.split()[2:]) or not flags


@pytest.mark.parametrize(("capability", "precision"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")])
def test_auto_on_cuda_chooses_a_precision_that_the_device_supports(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert chosen_precision("auto", "cuda:0") == precision


def test_the_precision_is_in_the_info() -> None:
    assert PromptableSegmenter("sam", sam_network(tiny_sam()), CPU, precision="bf16").info.precision == "bf16"


@pytest.mark.parametrize("damage", [float("inf"), 0.0])
def test_weights_that_float16_cannot_hold_are_refused_at_the_start(damage: float) -> None:
    sam = with_positions(tiny_sam())
    PromptableSegmenter("sam", sam_network(copy.deepcopy(sam)), CPU, precision="fp16").check()
    sam.image_encoder.neck[0].weight.data *= damage
    with pytest.raises(ModelUnavailable, match="cannot run in fp16 with these weights: use --precision"):
        PromptableSegmenter("sam", sam_network(copy.deepcopy(sam)), CPU, precision="fp16").check()
    PromptableSegmenter("sam", sam_network(sam), CPU, precision="fp32").check()  # is what the weights make it


def test_masks_of_lower_precisions_are_nearly_those_of_fp32() -> None:
    image = image_of(40, 57)
    prompts = [Prompt(points=(Point(20, 15, 1), Point(3, 4, 0))), Prompt(box=Box(5, 4, 30, 22))]
    answers = {}
    for precision in PRECISIONS:
        segmenter = PromptableSegmenter(
            "sam", sam_network(with_positions(tiny_sam())), CPU, precision=precision
        )
        [embedding] = segmenter.embed([image])
        answers[precision] = [segmenter.low_res_logits(embedding, p)[0].numpy() for p in prompts]
    for precision, gate in (("bf16", 2e-2), ("fp16", 2e-2)):
        for ours, exact in zip(answers[precision], answers["fp32"], strict=True):
            assert np.linalg.norm(ours - exact) / np.linalg.norm(exact) <= gate


def test_compiled_code_is_kept_where_no_other_user_can_put_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")

    keep_compiled_code(ModelSettings(home=tmp_path))

    assert Path(cache_dir()).is_relative_to(tmp_path)


@torch.inference_mode()
def test_only_full_batches_use_what_was_compiled_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def compiled(block: Callable[[torch.Tensor], torch.Tensor], **_: object) -> object:
        def run(x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return block(x)

        return run

    monkeypatch.setattr("torch.compile", compiled)
    encoder = Encoder(tiny_sam().image_encoder, torch.float32)
    encoder.compile_for(3)
    assert calls == [3, 3]  # two blocks
    batch = torch.randn(3, 3, 64, 64)
    assert relative_error(encoder(batch)[0][:2], encoder(batch[:2])[0]) < 1e-5
    assert calls == [3] * 4


def test_compiling_is_refused_where_it_has_no_effect() -> None:
    with pytest.raises(ModelUnavailable, match="--compile is for CUDA devices, and the model runs on cpu"):
        PromptableSegmenter("sam", sam_network(tiny_sam()), CPU).compile_for(8)
