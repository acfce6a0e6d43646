"""SAM-HQ, by Ke et al., "Segment Anything in High Quality", https://arxiv.org/abs/2306.01567: SAM with one
more output token, and with early features of the encoder, for masks with finer edges. It answers a prompt
with one mask, the sum of SAM's and its own."""

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
class SamHq(FamilyModel):
    """https://github.com/SysCV/sam-hq; the one with TinyViT is Light HQ-SAM."""

    early_channels: int
    """Channels of the encoder's early features, which tell the sizes apart."""
    family: ClassVar[str] = "sam_hq"
    embedding_bytes: ClassVar[int] = 4 * (256 * 64**2 + 32 * 256**2)
    reply_type: ClassVar[str] = "sam-hq"  # as in the SAM-HQ image

    def holds(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        channels = shapes.get("mask_decoder.compress_vit_feat.0.weight", (0,))[0]
        return channels == self.early_channels and "mask_decoder.hf_token.weight" in shapes

    def modules(self) -> "nn.Module":
        from sampoll.models.sam_hq.network import new_sam_hq

        modules: nn.Module = new_sam_hq(self.name.removeprefix("sam_hq_"))
        return modules

    def conventions(self) -> "Conventions":
        from sampoll.models.shared.conventions import SAM_HQ

        return SAM_HQ

    def build(self, weights: Mapping[str, "Tensor"]) -> "Network":
        from sampoll.models.sam_hq.network import sam_hq_network, sam_hq_of

        return sam_hq_network(sam_hq_of(self.name, weights))


_AT = "https://huggingface.co/lkeab/hq-sam/resolve/main"
vit_tiny = SamHq(
    Checkpoint(
        "sam_hq_vit_tiny",
        "sam_hq_vit_tiny.pth",
        f"{_AT}/sam_hq_vit_tiny.pth",
        42_526_881,
        "0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
    ),
    160,
)
vit_b = SamHq(
    Checkpoint(
        "sam_hq_vit_b",
        "sam_hq_vit_b.pth",
        f"{_AT}/sam_hq_vit_b.pth",
        379_335_069,
        "14a9d662cd6f5a9c2dba6d40ab0058d88d287e4a18fd6fdc6ad5fb1a3fdeaa57",
    ),
    768,
)
vit_l = SamHq(
    Checkpoint(
        "sam_hq_vit_l",
        "sam_hq_vit_l.pth",
        f"{_AT}/sam_hq_vit_l.pth",
        1_254_865_805,
        "e1a6c385d62bf005ded91a54d5ec55c985cfc4103ef89c08d90f39f04934c343",
    ),
    1024,
)
vit_h = SamHq(
    Checkpoint(
        "sam_hq_vit_h",
        "sam_hq_vit_h.pth",
        f"{_AT}/sam_hq_vit_h.pth",
        2_570_940_653,
        "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
    ),
    1280,
)
