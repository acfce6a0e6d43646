"""EdgeTAM, for images: SAM 2 with a small trunk, by Zhou et al., "EdgeTAM: On-Device Track Anything Model",
https://arxiv.org/abs/2501.07256."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sampoll.models.checkpoints import Checkpoint
from sampoll.models.shared.factory import FamilyModel
from sampoll.models.shared.sam2_keys import is_for_images

if TYPE_CHECKING:
    from torch import Tensor

    from sampoll.models.shared.conventions import Conventions
    from sampoll.models.shared.network import Network
    from sampoll.models.shared.sam2_network import Sam2


@dataclass(frozen=True)
class EdgeTam(FamilyModel):
    """https://github.com/facebookresearch/EdgeTAM"""

    family: ClassVar[str] = "edgetam"
    embedding_bytes: ClassVar[int] = 4 * (32 * 256**2 + 64 * 128**2 + 256 * 64**2)

    def holds(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        return any(name.startswith("image_encoder.trunk.body.") for name in shapes)

    def image_keys(self, name: str) -> bool:
        return is_for_images(name)

    def modules(self) -> "Sam2":
        from sampoll.models.edgetam.repvit import RepVitBody
        from sampoll.models.shared.sam2_network import Sam2

        return Sam2(RepVitBody())

    def conventions(self) -> "Conventions":
        from sampoll.models.shared.conventions import SAM2

        return SAM2

    def build(self, weights: Mapping[str, "Tensor"]) -> "Network":
        from sampoll.models.shared.sam2_network import sam2_network
        from sampoll.models.shared.weights import filled

        return sam2_network(filled(self.modules, weights))


edgetam = EdgeTam(
    Checkpoint(
        "edgetam",
        "edgetam.pt",
        "https://github.com/facebookresearch/EdgeTAM/raw/7711e012a30a2402c4eaab637bdb00a521302c91/checkpoints/edgetam.pt",
        56_116_523,
        "ed2d4850b8792c239689b043c47046ec239b6e808a3d9b6ae676c803fd8780df",
    )
)
