"""SAM 2 and SAM 2.1 in their four official sizes, for images, by Ravi et al., https://arxiv.org/abs/2408.00714."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sampoll.models.checkpoints import Checkpoint
from sampoll.models.sam2.sizes import HieraSizes
from sampoll.models.shared.factory import FamilyModel
from sampoll.models.shared.sam2_keys import is_for_images

if TYPE_CHECKING:
    from torch import Tensor

    from sampoll.models.shared.conventions import Conventions
    from sampoll.models.shared.network import Network
    from sampoll.models.shared.sam2_network import Sam2

MARK_OF_2_1 = "no_obj_embed_spatial"
"""A tensor of videos that SAM 2.0 does not have. For images, the two differ in their weights only."""


@dataclass(frozen=True)
class Sam2Model(FamilyModel):
    """One official size: https://github.com/facebookresearch/sam2#model-description"""

    sizes: HieraSizes
    family: ClassVar[str] = "sam2"
    embedding_bytes: ClassVar[int] = 4 * (32 * 256**2 + 64 * 128**2 + 256 * 64**2)

    def holds(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        width = shapes.get("image_encoder.trunk.patch_embed.proj.weight", (0,))[0]
        blocks = {name.split(".")[3] for name in shapes if name.startswith("image_encoder.trunk.blocks.")}
        return (width, len(blocks)) == (self.sizes.width, self.sizes.depth) and self._is_version_of(shapes)

    def image_keys(self, name: str) -> bool:
        return is_for_images(name)

    def modules(self) -> "Sam2":
        from sampoll.models.sam2.hiera import Hiera
        from sampoll.models.shared.sam2_network import Sam2

        return Sam2(Hiera(self.sizes))

    def conventions(self) -> "Conventions":
        from sampoll.models.shared.conventions import SAM2

        return SAM2

    def build(self, weights: Mapping[str, "Tensor"]) -> "Network":
        from sampoll.models.shared.sam2_network import sam2_network
        from sampoll.models.shared.weights import filled

        return sam2_network(filled(self.modules, weights))

    def _is_version_of(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether a file is of this version; one without the tensors of videos can be of both."""
        if all(is_for_images(name) for name in shapes):
            return True
        return (MARK_OF_2_1 in shapes) == self.name.startswith("sam2.1")


TINY = HieraSizes(96, 1, (1, 2, 7, 2), global_blocks=(5, 7, 9))
SMALL = HieraSizes(96, 1, (1, 2, 11, 2), global_blocks=(7, 10, 13))
BASE_PLUS = HieraSizes(112, 2, (2, 3, 16, 3), global_blocks=(12, 16, 20), background=14)
LARGE = HieraSizes(144, 2, (2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8))


def _official(name: str, sizes: HieraSizes, size: int | None, sha256: str) -> Sam2Model:
    folder = "092824" if name.startswith("sam2.1") else "072824"
    url = f"https://dl.fbaipublicfiles.com/segment_anything_2/{folder}/{name}.pt"
    return Sam2Model(Checkpoint(name, f"{name}.pt", url, size, sha256), sizes)


sam2_1_hiera_tiny = _official(
    "sam2.1_hiera_tiny", TINY, 156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"
)
sam2_1_hiera_small = _official(
    "sam2.1_hiera_small",
    SMALL,
    184_416_285,
    "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
)
sam2_1_hiera_base_plus = _official(
    "sam2.1_hiera_base_plus",
    BASE_PLUS,
    323_606_802,
    "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
)
sam2_1_hiera_large = _official(
    "sam2.1_hiera_large",
    LARGE,
    898_083_611,
    "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
)
sam2_hiera_tiny = _official(
    "sam2_hiera_tiny", TINY, 155_906_050, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"
)
sam2_hiera_small = _official(
    "sam2_hiera_small", SMALL, 184_309_650, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"
)
sam2_hiera_base_plus = _official(
    "sam2_hiera_base_plus",
    BASE_PLUS,
    None,
    "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
)
sam2_hiera_large = _official(
    "sam2_hiera_large", LARGE, 897_952_466, "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"
)
