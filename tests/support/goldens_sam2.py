"""Makes the golden files of SAM 2 and EdgeTAM: what the authors' code answers with seeded weights.

    PYTHONPATH=tests:SAM2 python -m support.goldens_sam2 sam2
    PYTHONPATH=tests:EDGETAM python -m support.goldens_sam2 edgetam

SAM2 is a checkout of https://github.com/facebookresearch/sam2 at 2b90b9f5ceec907a1c18123530e92e794ad901a4,
EDGETAM one of https://github.com/facebookresearch/EdgeTAM at 9cc44bfe9e16cc374242917b91283c718410ea87; both
need hydra-core and iopath, EdgeTAM also timm. Large arrays are thinned out.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.build_sam import build_sam2
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor
from torch import nn

from sampoll.core.jobs import Prompt
from support.small_sam2 import (
    CHANNELS,
    HIERA,
    OFFICIAL_PROMPT,
    OFFICIAL_SIZE,
    PROMPTS,
    REPVIT,
    SIDE,
    golden_image,
    golden_mask,
    golden_weights,
)

Arrays = dict[str, Any]
STABILITY = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}
"""As build_sam2 sets it."""


def main() -> None:
    family = sys.argv[1]
    small, official = {"sam2": (sam2_small, sam2_official), "edgetam": (edgetam_small, edgetam_official)}[
        family
    ]
    folder = Path(__file__).parents[1] / "unit" / "models" / family
    with torch.no_grad():
        np.savez_compressed(folder / "small.npz", **small())
        np.savez_compressed(folder / "official.npz", **official())


def sam2_small() -> Arrays:
    one_head, two_heads = (_small(_hiera(heads)) for heads in (1, 2))
    arrays = _answers(one_head, PROMPTS)
    for number, level in enumerate(_levels(_predictor(two_heads))):
        arrays[f"two heads: level {number}"] = level[..., ::2, ::2]
    return arrays


def sam2_official() -> Arrays:
    return _official(build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu"))


def edgetam_small() -> Arrays:
    trunk = _timm_trunk(embed_dim=REPVIT.channels, depth=REPVIT.depths)
    return _answers(_small(trunk), {name: PROMPTS[name] for name in ("points", "box")})


def edgetam_official() -> Arrays:
    with _pretrained_weights_left_out():
        return _official(build_sam2("configs/edgetam.yaml", device="cpu"))


def _hiera(heads: int) -> nn.Module:
    sizes = HIERA[heads]
    trunk: nn.Module = Hiera(
        embed_dim=sizes.width,
        num_heads=heads,
        stages=sizes.depths,
        global_att_blocks=sizes.global_blocks,
        window_spec=sizes.windows,
        window_pos_embed_bkg_spatial_size=(sizes.background, sizes.background),
    )
    return trunk


def _timm_trunk(**sizes: Any) -> nn.Module:
    from sam2.modeling.backbones.timm import TimmBackbone

    with _pretrained_weights_left_out(**sizes):
        trunk: nn.Module = TimmBackbone("repvit_m1", [f"layer{number}" for number in range(4)])
    return trunk


def _pretrained_weights_left_out(**sizes: Any) -> Any:
    from unittest import mock

    import timm

    def create(name: str, pretrained: bool, **options: Any) -> nn.Module:
        created: nn.Module = timm.create_model(name, pretrained=False, **options, **sizes)
        return created

    return mock.patch("sam2.modeling.backbones.timm.create_model", create)


def _small(trunk: Any) -> SAM2Base:
    neck = FpnNeck(
        PositionEmbeddingSine(CHANNELS, normalize=True),
        CHANNELS,
        trunk.channel_list,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return SAM2Base(
        ImageEncoder(trunk, neck, scalp=1),
        memory_attention=nn.Identity(),
        memory_encoder=nn.Identity(),
        image_size=SIDE,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        sam_mask_decoder_extra_args=STABILITY,
    )


def _predictor(model: SAM2Base, size: tuple[int, int] | None = None) -> SAM2ImagePredictor:
    """With seeded weights, and an image set."""
    model.load_state_dict(golden_weights(model.state_dict()))
    predictor = SAM2ImagePredictor(model.eval())
    predictor._bb_feat_sizes = [(model.image_size // stride,) * 2 for stride in (4, 8, 16)]
    predictor.set_image(golden_image() if size is None else golden_image(size))
    return predictor


def _levels(predictor: SAM2ImagePredictor) -> list[NDArray[np.float32]]:
    features = predictor._features
    return [level[0].numpy() for level in (*features["high_res_feats"], features["image_embed"])]


def _answers(model: SAM2Base, prompts: dict[str, Prompt]) -> Arrays:
    predictor = _predictor(model)
    arrays: Arrays = {f"level {number}": level for number, level in enumerate(_levels(predictor))}
    for name, prompt in prompts.items():
        arrays |= _answer(predictor, name, **_arguments(prompt))
    arrays |= _answer(predictor, "mask", mask_input=golden_mask()[None])
    arrays |= _answer(
        predictor, "mask and points", mask_input=golden_mask()[None], **_arguments(PROMPTS["points"])
    )
    return arrays | _everything(model)


def _answer(predictor: SAM2ImagePredictor, name: str, **arguments: Any) -> Arrays:
    """Of three masks: logits and scores, and the pixels of the best; of one: the same; and of one that
    refines the best."""
    masks, scores, logits = predictor.predict(multimask_output=True, **arguments)
    best = scores.argmax()
    single_masks, single_scores, single_logits = predictor.predict(multimask_output=False, **arguments)
    arguments["mask_input"] = logits[[best]]
    _, refined_scores, refined_logits = predictor.predict(multimask_output=False, **arguments)
    return {
        f"{name}: logits": logits[:, ::2, 1::2],
        f"{name}: scores": scores,
        f"{name}: pixels": np.packbits(masks[best].astype(np.bool_), axis=-1),
        f"{name}: single logits": single_logits[0, ::2, 1::2],
        f"{name}: single score": single_scores[0],
        f"{name}: single pixels": single_masks[0].sum(),
        f"{name}: refined logits": refined_logits[0, ::2, 1::2],
        f"{name}: refined score": refined_scores[0],
    }


def _everything(model: SAM2Base) -> Arrays:
    generator = SAM2AutomaticMaskGenerator(
        model, points_per_side=4, pred_iou_thresh=0.4, stability_score_thresh=0.9, box_nms_thresh=1.0
    )
    generator.predictor = _predictor(model)
    found = generator.generate(golden_image())
    return {
        "everything: scores": np.array([each["predicted_iou"] for each in found]),
        "everything: areas": np.array([each["area"] for each in found]),
    }


def _official(model: SAM2Base) -> Arrays:
    """Norms, and a few numbers from all over each array."""
    predictor = _predictor(model, OFFICIAL_SIZE)
    masks, scores, logits = predictor.predict(multimask_output=True, **_arguments(PROMPTS[OFFICIAL_PROMPT]))
    arrays: Arrays = {"scores": scores, "areas": masks.sum(axis=(1, 2))}
    for name, array in {
        "logits": logits,
        **{f"level {n}": level for n, level in enumerate(_levels(predictor))},
    }.items():
        arrays |= {f"{name}: norm": np.linalg.norm(array), name: array.reshape(-1)[:: array.size // 500]}
    return arrays


def _arguments(prompt: Prompt) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if prompt.points:
        arguments["point_coords"] = np.array([[point.x, point.y] for point in prompt.points])
        arguments["point_labels"] = np.array([point.label for point in prompt.points])
    if box := prompt.box:
        arguments["box"] = np.array([box.x0, box.y0, box.x1, box.y1])
    return arguments


if __name__ == "__main__":
    main()
