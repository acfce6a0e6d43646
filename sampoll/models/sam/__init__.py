"""The Segment Anything Model in its three official sizes, by Kirillov et al., https://arxiv.org/abs/2304.02643."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sampoll.config.settings.model import ModelSettings
from sampoll.models.checkpoints import Checkpoint, checkpoint_file
from sampoll.models.shared.factory import FamilyModel
from sampoll.models.shared.file_header import Shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sampoll.models.sam.original import OriginalSam
    from sampoll.models.shared.conventions import Conventions
    from sampoll.models.shared.network import Network


@dataclass(frozen=True)
class SamModel(FamilyModel):
    """One official size: https://github.com/facebookresearch/segment-anything#model-checkpoints"""

    width: int
    """Channels of the encoder, which tell the sizes apart."""
    family: ClassVar[str] = "sam"
    embedding_bytes: ClassVar[int] = 4 * 256 * 64**2

    def holds(self, shapes: Shapes) -> bool:
        width = shapes.get("image_encoder.patch_embed.proj.weight", (0,))[0]
        return width == self.width and "mask_decoder.hf_token.weight" not in shapes  # which is SAM-HQ's

    def modules(self) -> "nn.Module":
        from segment_anything import sam_model_registry

        modules: nn.Module = sam_model_registry[self.name]()
        return modules

    def conventions(self) -> "Conventions":
        from sampoll.models.shared.conventions import SAM

        return SAM

    def build(self, weights: Mapping[str, "Tensor"]) -> "Network":
        from sampoll.models.sam.network import sam_network, sam_of

        return sam_network(sam_of(self.name, weights))

    def original(self, options: ModelSettings) -> "OriginalSam":
        """segment_anything's own model on the device of the options."""
        from sampoll.models.sam.network import sam_of
        from sampoll.models.sam.original import OriginalSam
        from sampoll.models.shared.checkpoint_file import read_checkpoint
        from sampoll.models.shared.torch_device import torch_device

        weights, _ = read_checkpoint(checkpoint_file(self.checkpoint, options))
        return OriginalSam(sam_of(self.name, weights).to(torch_device(options.device)))


_AT = "https://dl.fbaipublicfiles.com/segment_anything"
vit_b = SamModel(
    Checkpoint(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        f"{_AT}/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    768,
)
vit_l = SamModel(
    Checkpoint(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        f"{_AT}/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    1024,
)
vit_h = SamModel(
    Checkpoint(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        f"{_AT}/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    1280,
)
