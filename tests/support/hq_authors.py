"""The authors' own code of SAM-HQ, segment-anything-hq on PyPI. Its TinyViT is MobileSAM's, which is on PyPI
nowhere."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from numpy.typing import NDArray
from torch import Tensor, nn

from sampoll.core.jobs import Everything, LowResMask, Prompt, RgbImage
from sampoll.core.results import BoolMask
from support.small_families import EARLY_CHANNELS, SMALL_DECODER, SMALL_TINY_VIT, SMALL_TRANSFORMER, SMALL_VIT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of timm, about the places of its modules
    from segment_anything_hq import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
    from segment_anything_hq.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        MaskDecoderHQ,
        PromptEncoder,
        Sam,
        TinyViT,
        TwoWayTransformer,
    )


class SmallTinyViT(TinyViT):  # type: ignore[misc]  # without types
    """The authors' modules in the order of their `forward_features`, which is for 64 x 64 tokens only."""

    def __init__(self) -> None:
        sizes = SMALL_TINY_VIT
        super().__init__(
            img_size=sizes.img_size,
            num_classes=sizes.classes,
            embed_dims=list(sizes.channels),
            depths=list(sizes.depths),
            num_heads=list(sizes.heads),
            window_sizes=list(sizes.windows),
            drop_path_rate=0.0,
        )

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.patch_embed(x)
        stages = []
        for layer in self.layers:
            x = layer(x)
            stages.append(x)
        side = self.img_size // 16
        maps = [tokens.view(len(tokens), side, side, -1) for tokens in stages[1:]]
        return self.neck(maps[-1].permute(0, 3, 1, 2)), maps[:1]


def small_mobile_sam(weights: dict[str, Tensor]) -> Any:
    decoder = MaskDecoder(transformer=TwoWayTransformer(**SMALL_TRANSFORMER), **SMALL_DECODER)
    return loaded(_around(SmallTinyViT(), decoder), weights)


def small_sam_hq(encoder: str, weights: dict[str, Tensor]) -> Any:
    decoder = MaskDecoderHQ(
        transformer=TwoWayTransformer(**SMALL_TRANSFORMER), vit_dim=EARLY_CHANNELS, **SMALL_DECODER
    )
    trunk = SmallTinyViT() if encoder == "tiny_vit" else ImageEncoderViT(**SMALL_VIT)
    return loaded(_around(trunk, decoder), weights)


def official_sam_hq(size: str, weights: dict[str, Tensor]) -> Any:
    """`size` is "vit_b", "vit_tiny", ..."""
    return loaded(sam_model_registry[size](), weights)


def unfilled(size: str) -> Any:
    """An official model for the shapes of its weights. Those of vit_tiny are made, as the authors' TinyViT
    computes while it is."""
    with nullcontext() if size == "vit_tiny" else torch.device("meta"):
        return sam_model_registry[size]()


def loaded(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """The model with these weights. TinyViT keeps its attention biases when it is set to inference, so that
    has to come after the weights."""
    model.load_state_dict(weights)
    return model.train().eval().requires_grad_(False)


def predicted(model: Any, image: RgbImage, prompt: Prompt, policy: str) -> tuple[Tensor, float, BoolMask]:
    """The low-res logits, the predicted IoU and the pixels of the mask that the authors' predictor answers
    with, or of the one of those that `policy` chooses; refined as often as the prompt wants."""
    predictor = SamPredictor(model)
    predictor.set_image(image)
    box = prompt.box
    given: dict[str, Any] = {
        "point_coords": np.array([[p.x, p.y] for p in prompt.points]) if prompt.points else None,
        "point_labels": np.array([p.label for p in prompt.points]) if prompt.points else None,
        "box": np.array([box.x0, box.y0, box.x1, box.y1]) if box else None,
    }
    mask = None if prompt.mask is None else _mask_input(model, prompt.mask)
    with _first_alone(model.mask_decoder) if policy == "first" else nullcontext():
        masks, scores, logits = predictor.predict(
            **given, mask_input=mask, multimask_output=policy != "single"
        )
    chosen = int(scores.argmax())
    for _ in range(prompt.refine):
        again = logits[chosen : chosen + 1]
        masks, scores, logits = predictor.predict(**given, mask_input=again, multimask_output=False)
        chosen = 0
    return torch.from_numpy(logits[chosen]), float(scores[chosen]), masks[chosen]


def everything(model: Any, image: RgbImage, everything: Everything) -> list[dict[str, Any]]:
    """What the authors' generator of masks finds."""
    found: list[dict[str, Any]] = SamAutomaticMaskGenerator(model, **asdict(everything)).generate(image)
    return found


def _first_alone(decoder: Any) -> AbstractContextManager[object]:
    """Replaces the other two of the three masks by the first, so that it is the best of them."""
    original = decoder.predict_masks

    def first(**given: Any) -> tuple[Tensor, Tensor]:
        masks, scores = original(**given)
        return torch.cat([masks[:, [0, 1, 1, 1]], masks[:, 4:]], dim=1), scores[:, [0, 1, 1, 1]]

    return mock.patch.object(decoder, "predict_masks", first)


def _mask_input(model: Any, mask: LowResMask) -> NDArray[np.float32]:
    """Of shape (1, h, w); the official models take 256 x 256."""
    logits = torch.tensor(mask.logits)[None, None]
    size = model.prompt_encoder.mask_input_size
    return F.interpolate(logits, size, mode="bilinear", antialias=True)[0].numpy()


def _around(encoder: nn.Module, decoder: nn.Module) -> Any:
    return Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(256, (8, 8), (128, 128), 16),
        mask_decoder=decoder,
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
