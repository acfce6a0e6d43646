"""The names that transformers gives the tensors of SAM, SAM-HQ and SAM 2, translated back into those of the
authors' own code, which the models here know."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

_IMAGE_ENCODER = "vision_encoder."
_SAM_2 = "vision_encoder.backbone."
_SHARED, _POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
_POINTS_OF_SAM_2 = "prompt_encoder.point_embed.weight"
"""All four rows in one tensor; the authors have a tensor for each."""

_HEADS = (
    r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head|hq_mask_mlp"
    r"|object_pointer_proj)"
)
_RULES: Sequence[tuple[str, str]] = (
    # MLPs, of three layers in the heads and of two in the blocks
    (rf"{_HEADS}\.layers\.0\.", r"\1.layers.1."),
    (rf"{_HEADS}\.proj_in\.", r"\1.layers.0."),
    (rf"{_HEADS}\.proj_out\.", r"\1.layers.2."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
    # the image encoder
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.backbone\.timm_model\.", "image_encoder.trunk.body."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"\.neck\.conv1\.", ".neck.0."),
    (r"\.neck\.layer_norm1\.", ".neck.1."),
    (r"\.neck\.conv2\.", ".neck.2."),
    (r"\.neck\.layer_norm2\.", ".neck.3."),
    # the prompt encoder
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    # the mask decoder
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.layer_norm", ".norm"),
    (r"\.o_proj\.", ".out_proj."),
    # SAM-HQ's part of it
    (r"\.hq_token\.", ".hf_token."),
    (r"\.hq_mask_mlp\.", ".hf_mlp."),
    (r"\.compress_vit_conv1\.", ".compress_vit_feat.0."),
    (r"\.compress_vit_norm\.", ".compress_vit_feat.1."),
    (r"\.compress_vit_conv2\.", ".compress_vit_feat.3."),
    (r"\.encoder_conv1\.", ".embedding_encoder.0."),
    (r"\.encoder_norm\.", ".embedding_encoder.1."),
    (r"\.encoder_conv2\.", ".embedding_encoder.3."),
    (r"\.mask_conv1\.", ".embedding_maskfeature.0."),
    (r"\.mask_norm\.", ".embedding_maskfeature.1."),
    (r"\.mask_conv2\.", ".embedding_maskfeature.3."),
)
_RULES_OF_SAM_2: Sequence[tuple[str, str]] = (
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"^no_memory_embedding$", "no_mem_embed"),
    # What only videos need
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
)


def with_official_names(entries: Mapping[str, T], row: Callable[[T, int], T]) -> Mapping[str, T]:
    """The same tensors, or their shapes, under the authors' names; as they are if they have them already.

    `row` gives a row of a tensor of four, as a tensor of one.
    """
    if not any(name.startswith(_IMAGE_ENCODER) for name in entries):
        return entries
    if any(name.startswith(_SAM_2) for name in entries):
        return sam2_names(entries, row)
    return _renamed(entries, row, _RULES)


def sam2_names(entries: Mapping[str, T], row: Callable[[T, int], T]) -> Mapping[str, T]:
    """The same for tensors that are known to be those of SAM 2, or of a part of it."""
    return _renamed(entries, row, (*_RULES, *_RULES_OF_SAM_2))


def _renamed(
    entries: Mapping[str, T], row: Callable[[T, int], T], rules: Sequence[tuple[str, str]]
) -> Mapping[str, T]:
    return {
        _official(name, rules): tensor
        for hub_name, hub_tensor in _without_copies(entries).items()
        for name, tensor in _separate(hub_name, hub_tensor, row)
    }


def _without_copies(entries: Mapping[str, T]) -> Mapping[str, T]:
    """One matrix of positions, which transformers has under two names, and its files under one of them."""
    others = {name: tensor for name, tensor in entries.items() if name != _SHARED}
    return {_POSITIONS: entries[_SHARED], **others} if _SHARED in entries else others


def _separate(name: str, tensor: T, row: Callable[[T, int], T]) -> Iterator[tuple[str, T]]:
    if name != _POINTS_OF_SAM_2:
        yield name, tensor
        return
    for number in range(4):
        yield name.replace(".weight", f".{number}.weight"), row(tensor, number)


def _official(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
