"""A segmenter keeps to what its network says: levels, rules, tokens, and the choice of masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.images import image_of
from support.tiny import tiny_sam
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Box, Everything, LowResMask, Point, Prompt, RgbImage
from sampoll.models.sam.network import sam_network
from sampoll.models.shared.decoder import Decoder, ImageSide
from sampoll.models.shared.network import Levels, Network, TorchEncoder
from sampoll.models.shared.padded_square import PaddedSquare
from sampoll.models.shared.prompt_tokens import Tokens, prompt_tokens
from sampoll.models.shared.segmenter import PromptableSegmenter

CPU = torch.device("cpu")
LEVELS = ((4, 16, 16), (32, 4, 4))
MASK = LowResMask(b"", np.random.default_rng(0).normal(0, 5, (256, 256)).astype(np.float32))


class TwoLevels(TorchEncoder):
    """A finer level before that of a tiny SAM."""

    def __init__(self, coarse: TorchEncoder) -> None:
        super().__init__()
        self.coarse, self.img_size = coarse, coarse.img_size

    def forward(self, images: Tensor) -> Levels:
        [features] = self.coarse(images)
        return torch.nn.functional.avg_pool2d(images, 4).repeat(1, 2, 1, 1)[:, :4], features


class OneMask(Decoder):
    """Uses the last level, and gives one mask for a prompt, as SAM-HQ does."""

    def image_side(self, embeddings: Sequence[tuple[Tensor, ...]]) -> ImageSide:
        finer = torch.stack([levels[0] for levels in embeddings])
        return self.side_of([levels[-1] for levels in embeddings])._replace(finer=(finer,))

    def every_candidate(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits, scores = self(images, image_of, places, kinds, "best")
        return logits[:, None], scores[:, None]


@dataclass(frozen=True)
class Squeezed(PaddedSquare):
    """Counts what it is asked for."""

    asked: tuple[list[Any], ...] = ((), ())  # type: ignore[assignment]

    def mask_input(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        self.asked[0].append(size)
        return super().mask_input(logits, size)

    def refined(self, logits: Tensor) -> Tensor:
        self.asked[1].append(len(logits))
        return logits.clamp(-0.01, 0.01)


def network(rules: Squeezed | None = None) -> Network:
    sam = tiny_sam()
    sams = sam_network(sam)
    return replace(
        sams,
        encoder=lambda dtype: TwoLevels(sams.encoder(dtype)),
        decoder=OneMask(sam.mask_decoder, sam.prompt_encoder),
        levels=LEVELS,
        rules=rules or sams.rules,
    )


def segmenter(**more: Any) -> PromptableSegmenter:
    return PromptableSegmenter("two", replace(network(), **more), CPU, prompt_batch=4)


def test_an_embedding_has_all_levels_and_takes_what_their_shapes_say() -> None:
    two = segmenter()

    [embedding, other] = two.embed([image_of(40, 57), image_of(seed=1)])

    assert [tuple(level.shape) for level in embedding.levels] == list(LEVELS)
    assert two.embedding_bytes == 4 * (4 * 16 * 16 + 32 * 4 * 4)
    assert sum(level.untyped_storage().nbytes() for level in other.levels) == two.embedding_bytes


def test_all_levels_come_back_from_arrays_and_others_are_refused() -> None:
    two = segmenter()
    [embedding] = two.embed([image_of(40, 57)])
    arrays = two.packed(embedding)

    again = two.unpacked(arrays)

    assert again.original_size == (40, 57)
    for ours, theirs in zip(again.levels, embedding.levels, strict=True):
        assert torch.equal(ours, theirs)
    for name in arrays:
        with pytest.raises(KeyError):
            two.unpacked({key: array for key, array in arrays.items() if key != name})
    with pytest.raises(ValueError, match=r"features_1 must be float32 of \(32, 4, 4\)"):
        two.unpacked({**arrays, "features_1": arrays["features"]})


def test_a_model_with_one_mask_a_prompt_has_one_candidate_also_in_everything() -> None:
    two = segmenter(mask_threshold=0.05)
    [embedding] = two.embed([image_of(40, 57)])

    logits, scores, pixels = two.candidates(embedding, Prompt(points=(Point(3, 3, 1),)))
    everything = Everything(2, 0, 0, 0.003, box_nms_thresh=1)
    [[masks]] = two.decode([(embedding, [Prompt(everything=everything)])])

    assert logits.shape == (1, 16, 16)
    assert scores.shape == (1,)
    assert pixels.shape == (1, 40, 57)
    assert len(masks) == 4


def test_prompts_become_the_tokens_of_the_family() -> None:
    """These are SAM's, but for a point that is added to each prompt."""

    def tokens(prompt: Prompt) -> Tokens:
        places, kinds = prompt_tokens(prompt)
        return np.concatenate([places, [[7.0, 8.0]]]), np.concatenate([kinds, [1]])

    own, sams = segmenter(tokens=tokens), segmenter()
    [embedding] = sams.embed([image_of(40, 57)])
    box = Box(5, 4, 30, 22)

    ours, _ = own.low_res_logits(embedding, Prompt(box=box))
    theirs, _ = sams.low_res_logits(embedding, Prompt(box=box))

    assert not torch.allclose(ours, theirs)


def test_mask_prompts_and_refined_answers_pass_the_rules_with_the_size_of_their_image() -> None:
    rules = Squeezed(64, (16, 16), ([], []))
    two = PromptableSegmenter("two", network(rules), CPU, prompt_batch=4)
    embeddings = two.embed([image_of(40, 57), image_of(33, 90)])

    two.decode([(embedding, [Prompt(mask=MASK, refine=2)]) for embedding in embeddings])

    assert rules.asked == ([(40, 57), (33, 90)], [2, 2])


def test_only_the_exact_preparation_is_used_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    original = PaddedSquare.prepared

    def prepared(self: PaddedSquare, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        asked.append(exact)
        return original(self, image, device, exact=exact)

    monkeypatch.setattr(PaddedSquare, "prepared", prepared)
    for precision in ("fp32", "bf16", "fp16"):
        PromptableSegmenter("two", network(), CPU, precision=precision).embed([image_of()])

    assert asked == [True, False, False]


def test_a_change_of_the_rules_is_a_change_of_the_key() -> None:
    assert segmenter().embedding_key != segmenter(preprocessing=2).embedding_key


def test_an_encoder_without_compiling_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    two = segmenter()
    monkeypatch.setattr(two, "_device", torch.device("cuda"))
    with pytest.raises(ModelUnavailable, match="--compile does nothing for two: run without it"):
        two.compile_for(1)


def test_levels_that_float16_cannot_hold_are_refused_at_the_start() -> None:
    def broken(dtype: torch.dtype) -> TorchEncoder:
        encoder = network().encoder(dtype)
        encoder.register_forward_hook(lambda *given: (given[2][0] * float("inf"), given[2][1]))
        return encoder

    with pytest.raises(ModelUnavailable, match="cannot run in fp16"):
        PromptableSegmenter("two", replace(network(), encoder=broken), CPU, precision="fp16").check()


def places_of(rules: PaddedSquare, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return rules.places(np.array(points, np.float64), (50, 100))


def test_a_padded_square_keeps_places_on_the_object() -> None:
    rules = PaddedSquare()
    assert places_of(rules, [(0, 0), (100, 50)]).tolist() == [[0, 0], [1024, 512]]
    logits = torch.full((1, 256, 256), -1.0)
    logits[:, :64] = 1  # the upper half of the image; below 128 is padding
    full = rules.full_size(logits, (50, 100))
    assert full.shape == (1, 50, 100)
    assert (full[0] > 0).float().mean() == pytest.approx(0.5, abs=0.02)
