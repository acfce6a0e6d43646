"""Makes the golden tensors of MobileSAM with the authors' code, which is on no package index:

    git clone https://github.com/ChaoningZhang/MobileSAM && git -C MobileSAM checkout \
        34bbbfdface3c18e5221aa7de6032d7220c6c6a1
    PYTHONPATH=MobileSAM:tests python -m support.goldens.mobile_sam

Weights are seeded, and the model has its official size. It is set to training and back to inference, so that
it has no attention biases of before.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from support.images import image_of
from support.seeded import seeded

GOLDEN = Path(__file__).parents[2] / "unit/models/mobile_sam/golden.npz"
IMAGE = image_of(240, 320)
POINTS, LABELS = [[100.0, 80.0], [200.5, 31.25]], [1, 0]
BOX = [60.0, 40.0, 250.5, 200.0]
EVERY = 8
"""Of features every so many channels are kept, and of logits every so many rows and columns."""


def golden(predictor: Any) -> dict[str, np.ndarray]:
    """What is kept of the answers of a SamPredictor: features, and logits and predicted IoUs of all masks."""
    predictor.set_image(IMAGE)
    kept = {"features": predictor.features[0, ::EVERY, ::EVERY, ::EVERY].numpy()}
    for name, prompt in {
        "points": {"point_coords": np.array(POINTS), "point_labels": np.array(LABELS)},
        "box": {"box": np.array(BOX)},
    }.items():
        for masks in ("three", "single"):
            _, scores, logits = predictor.predict(**prompt, multimask_output=masks == "three")
            kept[f"{name}_{masks}_logits"] = logits[:, ::EVERY, ::EVERY]
            kept[f"{name}_{masks}_scores"] = scores
    return kept


def main() -> None:
    from mobile_sam import SamPredictor, sam_model_registry  # type: ignore[import-not-found]

    model = seeded(sam_model_registry["vit_t"]()).train().eval()
    with torch.inference_mode():
        np.savez_compressed(GOLDEN, **golden(SamPredictor(model)))  # type: ignore[arg-type]  # as for bools


if __name__ == "__main__":
    main()
