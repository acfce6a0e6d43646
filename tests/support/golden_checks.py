"""Compares networks like SAM 2's with what the authors' code answered (`support.goldens_sam2`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sampoll.core.jobs import Everything, LowResMask, Prompt
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.network import Levels, Network
from sampoll.models.shared.segmenter import PromptableSegmenter
from support.small_sam2 import (
    IMAGE_SIZE,
    OFFICIAL_PROMPT,
    OFFICIAL_SIZE,
    PROMPTS,
    golden_image,
    golden_mask,
)

CPU = torch.device("cpu")
MASK_ALONE = Prompt(mask=LowResMask(b"", np.zeros((256, 256), np.float32)))
LEVELS = ("level 0", "level 1", "level 2")
Golden = Mapping[str, NDArray[Any]]


def golden(path: Path) -> Golden:
    with np.load(path) as arrays:
        return dict(arrays)


def embedded(network: Network, size: tuple[int, int] = IMAGE_SIZE) -> Levels:
    """The levels of the golden image, without a batch."""
    image = network.rules.prepared(golden_image(size), CPU, exact=True)
    encoder = network.encoder(torch.float32).eval().requires_grad_(False)
    with torch.inference_mode():
        return tuple(level[0] for level in encoder(image[None]))


def errors(network: Network, expected: Golden) -> dict[str, float]:
    """How far each answer is from the authors': a relative L2; for pixels, the share that differs."""
    levels = embedded(network)
    found = {
        f"level {number}": error(level, expected[f"level {number}"]) for number, level in enumerate(levels)
    }
    for name in (key.removesuffix(": logits") for key in expected if key.endswith(": logits")):
        found |= _errors_of(network, levels, name, expected)
    return found


def everything_answers(network: Network) -> tuple[list[float], list[int]]:
    """Scores and areas of all that is found in the golden image, as the golden file asks for it."""
    segmenter = PromptableSegmenter("small", network, CPU, prompt_batch=16)
    everything = Everything(
        points_per_side=4, pred_iou_thresh=0.4, stability_score_thresh=0.9, box_nms_thresh=1.0
    )
    [[masks]] = segmenter.decode([(segmenter.embed([golden_image()])[0], [Prompt(everything=everything)])])
    return [mask.score for mask in masks], [int(mask.pixels().sum()) for mask in masks]


def error(ours: Tensor, theirs: NDArray[Any]) -> float:
    return float(np.linalg.norm(ours.numpy() - theirs) / np.linalg.norm(theirs))


def _errors_of(network: Network, levels: Levels, name: str, expected: Golden) -> dict[str, float]:
    theirs = {
        key.removeprefix(f"{name}: "): array for key, array in expected.items() if key.startswith(f"{name}: ")
    }
    chosen = int(theirs["scores"].argmax())
    with torch.inference_mode():
        best, best_score = _ask(network, levels, name, "best")
        single, single_score = _ask(network, levels, name, "single")
        refined, refined_score = _ask(network, levels, name, "single", network.rules.refined(best))
        pixels = network.rules.full_size(best[None], IMAGE_SIZE)[0] > network.mask_threshold
    found = {
        f"{name}: best logits": _logits_error(best, theirs["logits"][chosen]),
        f"{name}: best score": abs(float(best_score) - theirs["scores"][chosen]),
        f"{name}: pixels": float((np.packbits(pixels.numpy(), axis=-1) != theirs["pixels"]).mean()),
        f"{name}: single logits": _logits_error(single, theirs["single logits"]),
        f"{name}: single score": abs(float(single_score) - float(theirs["single score"])),
        f"{name}: refined logits": _logits_error(refined, theirs["refined logits"]),
        f"{name}: refined score": abs(float(refined_score) - float(theirs["refined score"])),
    }
    if "mask" not in name:
        side = network.decoder.image_side([levels])
        masks, scores = network.decoder.every_candidate(side, *_tokens(network, name))
        found[f"{name}: logits"] = _logits_error(masks[0], theirs["logits"])
        found[f"{name}: scores"] = error(scores[0], theirs["scores"])
    return found


def _logits_error(ours: Tensor, theirs: NDArray[Any]) -> float:
    """The authors' code clamps logits where it gives them back."""
    return error(ours.clamp(-32, 32)[..., ::2, 1::2], theirs)


def _ask(
    network: Network, levels: Levels, name: str, policy: MaskPolicy, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Low-res logits and a score; `mask`, or else that of the case, is its mask prompt."""
    if mask is None and "mask" in name:
        mask = torch.from_numpy(golden_mask())
    side = network.decoder.image_side([levels])
    logits, scores = network.decoder(
        side, *_tokens(network, name), policy, None if mask is None else mask[None]
    )
    return logits[0], scores[0]


def _tokens(network: Network, name: str, size: tuple[int, int] = IMAGE_SIZE) -> tuple[Tensor, Tensor, Tensor]:
    points = PROMPTS["points"] if name == "mask and points" else PROMPTS.get(name, MASK_ALONE)
    places, kinds = network.tokens(points)
    placed = network.rules.places(places, size)
    return (
        torch.zeros(1, dtype=torch.long),
        torch.from_numpy(placed).float()[None],
        torch.from_numpy(kinds)[None],
    )


def official_errors(network: Network, expected: Golden) -> dict[str, float]:
    """The same for a model of official size, by norms and a few numbers of each array."""
    levels, name, size = embedded(network, OFFICIAL_SIZE), OFFICIAL_PROMPT, OFFICIAL_SIZE
    with torch.inference_mode():
        side = network.decoder.image_side([levels])
        masks, scores = network.decoder.every_candidate(side, *_tokens(network, name, size))
        areas = (network.rules.full_size(masks[0], size) > 0).sum(dim=(1, 2))
    found = {"scores": error(scores[0], expected["scores"])}
    found["areas"] = float(np.abs(areas.numpy() / expected["areas"] - 1).max())
    for key, array in {"logits": masks[0].clamp(-32, 32), **dict(zip(LEVELS, levels, strict=True))}.items():
        found[f"{key}: norm"] = abs(float(np.linalg.norm(array) / expected[f"{key}: norm"]) - 1)
        found[key] = error(array.reshape(-1)[:: array.numel() // 500], expected[key])
    return found
