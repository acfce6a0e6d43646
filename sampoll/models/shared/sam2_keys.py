"""Names of the tensors in the checkpoints of SAM 2 and of models made from it, which are for videos."""

VIDEO_TENSORS = (
    "mask_downsample.",
    "maskmem_tpos_enc",
    "memory_attention.",
    "memory_encoder.",
    "no_mem_pos_enc",
    "no_obj_embed_spatial",
    "no_obj_ptr",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "spatial_perceiver.",
)
"""What no image needs: attention to earlier frames, and pointers to objects in them."""


def is_for_images(name: str) -> bool:
    """Whether a tensor is one of those that images need, or unknown."""
    return not name.startswith(VIDEO_TENSORS)
