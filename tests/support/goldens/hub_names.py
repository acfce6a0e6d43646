"""Writes hub_names.json: the names that transformers gives the tensors of a family, and those of its authors.

    PYTHONPATH=tests:CODE python -m support.goldens.hub_names FAMILY

CODE has transformers 5.24.0 and the authors' code, which for SAM 2 and EdgeTAM needs hydra-core, iopath and
timm:

sam       the package segment-anything 1.0
sam_hq    https://github.com/SysCV/sam-hq, fb181f8eff6d0c01b47921ced472e8cdaa69a71d
sam2      https://github.com/facebookresearch/sam2, 2b90b9f5ceec907a1c18123530e92e794ad901a4
edgetam   https://github.com/facebookresearch/EdgeTAM, 9cc44bfe9e16cc374242917b91283c718410ea87

Of the image encoder's blocks, the first two of the first stage are enough.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

FILE = Path(__file__).with_suffix(".json")
LATER_BLOCK = re.compile(r"_encoder\.(layers|(trunk\.|backbone\.)?blocks)\.([2-9]|\d\d)\.|stages?_[1-9]\.")
VIDEO = re.compile(r"^(memory_|mask_downsample)|spatial_perceiver")
"""What videos alone need, and is left out whatever it is called."""


def of_transformers(family: str) -> Any:
    import transformers as t

    if family == "sam":
        return t.SamModel(t.SamConfig())
    if family == "sam_hq":
        return t.SamHQModel(t.SamHQConfig())
    if family == "sam2":
        return t.Sam2VideoModel(t.Sam2VideoConfig())
    arguments = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = t.TimmWrapperConfig(architecture="repvit_m1", model_args=arguments)
    return t.EdgeTamModel(t.EdgeTamConfig(vision_config=t.EdgeTamVisionConfig(backbone_config=backbone)))


def of_authors(family: str) -> Any:
    if family in ("sam", "sam_hq"):
        from segment_anything import sam_model_registry

        return sam_model_registry["vit_b"]()
    from sam2.build_sam import build_sam2

    if family == "sam2":
        return build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
    import sam2.modeling.backbones.timm as trunk

    made = trunk.create_model
    with mock.patch.object(trunk, "create_model", lambda *a, **k: made(*a, **{**k, "pretrained": False})):
        return build_sam2("configs/edgetam.yaml", device="cpu")


def kept(names: Iterable[str]) -> list[str]:
    return [name for name in names if not LATER_BLOCK.search(name) and not VIDEO.search(name)]


def main(family: str) -> None:
    document = json.loads(FILE.read_text()) if FILE.exists() else {}
    theirs = of_transformers(family)
    tied = getattr(theirs, "_tied_weights_keys", None) or {}
    document[family] = {
        "transformers": kept(name for name in theirs.state_dict() if name not in tied),
        "authors": kept(of_authors(family).state_dict()),
    }
    FILE.write_text(json.dumps(document, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
