"""OPEX: object predictions as JSON, in the subset that every reader of the format accepts.

https://github.com/WaikatoLink2020/objdet-predictions-exchange-format
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TypeAlias

import orjson
from opex import BBox, ObjectPrediction, ObjectPredictions
from opex import Polygon as OpexPolygon

from sampoll.core.names import printable, result_path
from sampoll.core.results import Artifact, Mask, ModelInfo, Segmentation
from sampoll.formats.geometry.contours import outer_contours
from sampoll.formats.geometry.rle import rle_of
from sampoll.formats.json_document import json_document
from sampoll.formats.options import FormatOptions
from sampoll.inputs.prompt_file import prompts_document

SAMPOLL_VERSION = version("sampoll")

MoreMeta: TypeAlias = Callable[[Segmentation], Mapping[str, str]]
NO_OPTIONS = FormatOptions()


class Opex:
    """NAME.json: one object for each outer contour of each mask. Rendered last, it lists the other files.

    `more_meta` makes further entries of the meta data; all values are strings.
    """

    def __init__(self, options: FormatOptions = NO_OPTIONS, more_meta: MoreMeta = lambda _: {}) -> None:
        self._options = options
        self._more_meta = more_meta

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return [".json"]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        predictions = ObjectPredictions(
            # Always with microseconds: strict readers know only this form.
            timestamp=datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f"),
            id=printable(segmentation.name),
            objects=list(_objects(segmentation, self._options.simplify_pixels)),
            meta={
                **_meta(segmentation, earlier),
                "settings": _json(self._options.settings),
                **self._more_meta(segmentation),
            },
        )
        # Polygons are arrays, which the library's own to_json_string does not take.
        return [Artifact(".json", json_document(predictions.to_dict(), len(predictions.objects)))]


def _objects(segmentation: Segmentation, simplify_pixels: float) -> Iterator[ObjectPrediction]:
    indexes = segmentation.indexes
    for index, prompt, masks in zip(indexes, segmentation.prompts, segmentation.masks, strict=True):
        of_prompt = {"prompt": str(index)} | ({} if prompt.id is None else {"prompt_id": prompt.id})
        for number, mask in enumerate(masks):
            meta = {**of_prompt, "mask": str(number)}
            yield from _objects_of(mask, prompt.label, meta, simplify_pixels)


def _objects_of(
    mask: Mask, label: str, meta: dict[str, str], simplify_pixels: float
) -> Iterator[ObjectPrediction]:
    # Some readers refuse a negative score, and a predicted IoU can be one.
    raw = {} if mask.score >= 0 else {"raw_score": repr(mask.score)}
    for contour in outer_contours(mask, simplify_pixels):
        box = contour.box
        yield ObjectPrediction(
            score=max(0.0, mask.score),
            label=label,
            bbox=BBox(left=box.left, top=box.top, right=box.right, bottom=box.bottom),
            polygon=OpexPolygon(points=contour.polygon),
            meta={**meta, **raw},
        )


def _meta(segmentation: Segmentation, earlier: Sequence[Artifact]) -> dict[str, str]:
    """All values are strings, as the format wants; what has structure is JSON inside. Lists of values for the
    prompts have one for each prompt of the file."""
    height, width = segmentation.size
    name, all_masks = printable(segmentation.name), segmentation.masks
    files = {result_path(name, artifact.suffix): artifact.sha256 for artifact in earlier}
    return {
        "job_id": segmentation.job_id,
        "model": segmentation.model.name,
        "checkpoint_sha256": segmentation.model.checkpoint_sha256 or "",
        "device": segmentation.model.device,
        "precision": segmentation.model.precision or "",
        "engine": segmentation.model.engine or "",
        "encoder_sha256": segmentation.model.encoder_sha256 or "",
        **_detector(segmentation.model),
        "sampoll": SAMPOLL_VERSION,
        "prompts": _json(segmentation.in_file_order(prompts_document(segmentation.prompts), None)),
        "skipped": _json([each.document() for each in segmentation.skipped]),
        "files": _json(files),
        "scores": _json(segmentation.in_file_order([[m.score for m in masks] for masks in all_masks], [])),
        "rle": _json(segmentation.in_file_order([[rle_of(m) for m in masks] for masks in all_masks], [])),
        "image_size": _json({"width": width, "height": height}),
        "image_file": printable(segmentation.image_file),
        **({"image_path": printable(segmentation.image_path)} if segmentation.image_path else {}),
        "image_sha256": segmentation.image_sha256,
        "exif": segmentation.exif,
        "seconds": _json({stage: round(seconds, 6) for stage, seconds in segmentation.seconds.items()}),
    }


def _detector(model: ModelInfo) -> dict[str, str]:
    if model.detector is None:
        return {}
    return {"detector": model.detector, "detector_sha256": model.detector_sha256 or ""}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
