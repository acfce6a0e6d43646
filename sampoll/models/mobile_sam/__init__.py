"""MobileSAM, by Zhang et al., "Faster Segment Anything", https://arxiv.org/abs/2306.14289: SAM with a small
image encoder, TinyViT, and SAM's rules, prompts and mask decoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sampoll.models.checkpoints import Checkpoint
from sampoll.models.shared.factory import FamilyModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sampoll.models.shared.conventions import Conventions
    from sampoll.models.shared.network import Network


@dataclass(frozen=True)
class MobileSam(FamilyModel):
    """https://github.com/ChaoningZhang/MobileSAM"""

    family: ClassVar[str] = "mobile_sam"
    embedding_bytes: ClassVar[int] = 4 * 256 * 64**2
    reply_type: ClassVar[str] = "mobile_sam"

    def holds(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        has_tiny_vit = "image_encoder.patch_embed.seq.0.c.weight" in shapes
        return has_tiny_vit and "mask_decoder.hf_token.weight" not in shapes  # which is Light HQ-SAM's

    def modules(self) -> "nn.Module":
        from sampoll.models.mobile_sam.network import new_mobile_sam

        modules: nn.Module = new_mobile_sam()
        return modules

    def conventions(self) -> "Conventions":
        from sampoll.models.shared.conventions import SAM

        return SAM

    def build(self, weights: Mapping[str, "Tensor"]) -> "Network":
        from sampoll.models.mobile_sam.network import mobile_sam_network, mobile_sam_of

        return mobile_sam_network(mobile_sam_of(weights))


_AT = "https://github.com/ChaoningZhang/MobileSAM/raw/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights"
mobile_sam = MobileSam(
    Checkpoint(
        "mobile_sam",
        "mobile_sam.pt",
        f"{_AT}/mobile_sam.pt",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    )
)
