"""The official models with random weights: as fast as trained ones, and there without a download."""

import math
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from benchmarks.reference import Predict
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import UsageError
from sampoll.core.jobs import RgbImage
from sampoll.core.results import BoolMask
from sampoll.models.registry import find_factory
from sampoll.models.shared.factory import FamilyModel
from sampoll.models.shared.fidelity import GATES, Fidelity
from sampoll.models.shared.network import Network

GFLOP_AN_IMAGE = {"vit_b": 942.0, "vit_l": 2851.0, "vit_h": 5666.0}
"""Of the encoder, without the padding of windows, which needs no arithmetic."""


def random_sam(name: str) -> Sam:
    """The same weights each time. Positions, which a new model has as zeros, are random too."""
    torch.manual_seed(0)
    sam: Sam = sam_model_registry[name]().eval().requires_grad_(False)
    for parameter, weights in sam.image_encoder.named_parameters():
        if "pos" in parameter:
            weights.normal_(std=0.05)
    return sam


def small_sam() -> Sam:
    """Two layers of SAM's own classes in the place of twelve, on images of SAM's size."""
    torch.manual_seed(0)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=64,
            mlp_ratio=2,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=2,
            use_rel_pos=True,
            window_size=14,
        ),
        prompt_encoder=PromptEncoder(256, (64, 64), (1024, 1024), 16),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=256, num_heads=8),
            transformer_dim=256,
        ),
    )
    return sam.eval().requires_grad_(False)


def random_network(name: str) -> Network:
    """A model of any family."""
    return _family(name).build(random_weights(name))


def random_weights(name: str) -> dict[str, Tensor]:
    """The tensors of such a model, by their official names: what its checkpoint holds."""
    torch.manual_seed(0)
    return {key: _random(key, tensor) for key, tensor in _family(name).modules().state_dict().items()}


def _family(name: str) -> FamilyModel:
    factory = find_factory(ModelSettings(model=name))
    if not isinstance(factory, FamilyModel):
        raise UsageError(f"{name} is no model of a family")
    return factory


def _random(name: str, tensor: Tensor) -> Tensor:
    """Weights with which values neither vanish nor grow from layer to layer."""
    if name.endswith("bn.weight"):  # norms over batches do not norm in inference
        return torch.full_like(tensor, 0.5)
    if tensor.ndim == 1 and name.endswith(("weight", "running_var")):  # of norms
        return torch.ones_like(tensor)
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor)
    return torch.randn(tensor.shape) / math.sqrt(tensor[:1].numel())


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Relative L2."""
    return float((ours - theirs).norm() / theirs.norm())


def exit_if_too_far(fidelity: Mapping[str, Fidelity]) -> None:
    """Ends the benchmark with 1 if a variant's logits are further off than its precision allows.

    Not for masks: those of random weights hang on noise.
    """
    too_far = {
        name: found.logits_error
        for name, found in fidelity.items()
        if found.logits_error > GATES[name.rpartition(" ")[2]].logits
    }
    if too_far:
        sys.exit(f"errors of the logits larger than allowed: {too_far}")


def sam_predictor(sam: Sam, device: torch.device) -> Predict:
    """segment_anything's own predictor, the first of three masks, as the loop called it."""
    predictor = SamPredictor(sam.to(device))

    def predict(image: RgbImage, prompt: dict[str, Any]) -> tuple[BoolMask, float]:
        predictor.set_image(image)
        box = np.array([prompt["box"][corner] for corner in ("x0", "y0", "x1", "y1")])
        masks, scores, _ = predictor.predict(box=box, multimask_output=True)
        return masks[0], float(scores[0])

    return predict
