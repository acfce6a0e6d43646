"""The loop that people ran before: one image after the other, everything about it in turn.

Written anew from its description: PIL reads, the model predicts, skimage finds contours, fast-opex makes the
record, PIL writes the mask, and the inputs move to the output. It forces nothing to the disk, survives no
crash, and knows one prompt an image.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from opex import BBox, ObjectPrediction, ObjectPredictions, Polygon
from PIL import Image
from skimage import measure

from sampoll.core.jobs import RgbImage
from sampoll.core.results import BoolMask

Predict = Callable[[RgbImage, dict[str, Any]], tuple[BoolMask, float]]
"""The mask of shape (H, W) and its score, for an image and a prompt document."""


def poll_once(source: Path, target: Path, predict: Predict) -> int:
    """Does every pair in `source`; returns how many."""
    images = sorted(path for path in source.iterdir() if path.suffix in (".jpg", ".jpeg"))
    for path in images:
        prompt = path.with_suffix(".prompt")
        pixels = np.asarray(Image.open(path).convert("RGB"))
        mask, score = predict(pixels, json.loads(prompt.read_text()))
        write_results(target / path.stem, mask, score)
        for done in (path, prompt):
            done.rename(target / done.name)
    return len(images)


def write_results(stem: Path, mask: BoolMask, score: float) -> None:
    """STEM.png and STEM.json."""
    Image.fromarray(mask).save(stem.with_suffix(".png"), bits=1, optimize=False)
    stem.with_suffix(".json").write_text(opex_record(stem.name, mask, score))


def opex_record(name: str, mask: BoolMask, score: float) -> str:
    """Each outline of the mask as an object."""
    objects = []
    for contour in measure.find_contours(np.pad(mask, 1).astype(np.uint8), 0.5):
        points = [(int(x), int(y)) for y, x in contour - 1]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        box = BBox(left=min(xs), top=min(ys), right=max(xs), bottom=max(ys))
        objects.append(
            ObjectPrediction(score=score, label="object", bbox=box, polygon=Polygon(points=points), meta={})
        )
    predictions = ObjectPredictions(
        timestamp=datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f"), id=name, objects=objects, meta={}
    )
    return str(predictions.to_json_string(indent=2))
