"""Results from their records: what `Opex` has written, as values again."""

from typing import Any

import orjson

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import DEFAULT_LABEL
from sampoll.core.results import ModelInfo, Segmentation
from sampoll.formats.geometry.rle import mask_of
from sampoll.formats.opex_record import skipped_in
from sampoll.inputs.prompt_file import parse_prompts

UNLIMITED = LimitSettings(max_prompts=2**31, max_points=2**31, max_points_per_prompt=2**31)
"""What was segmented was within the limits of its run."""


def segmentation_of(record: bytes, name: str) -> Segmentation:
    """The segmentation whose record this is, `name` being its path; ValueError for any other content."""
    try:
        return _segmentation(orjson.loads(record)["meta"], name)
    except (ValueError, TypeError, KeyError, AttributeError, BadPrompt) as error:
        raise ValueError(f"no record of a result: {type(error).__name__}: {error}") from error


def labels_of(record: bytes) -> set[str]:
    """The labels of a record's prompts, without its masks; ValueError for any other content."""
    try:
        prompts = orjson.loads(orjson.loads(record)["meta"]["prompts"])
        labels = [prompt.get("label", DEFAULT_LABEL) for prompt in prompts if prompt is not None]
        if not all(isinstance(label, str) for label in labels):
            raise ValueError("a label is no text")
        return set(labels)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no record of a result: {type(error).__name__}: {error}") from error


def _segmentation(meta: dict[str, str], name: str) -> Segmentation:
    size = orjson.loads(meta["image_size"])
    skipped = skipped_in(meta)
    answered: list[tuple[Any, list[Any], list[float]]] = [
        (prompt, rles, scores)
        for prompt, rles, scores in zip(
            orjson.loads(meta["prompts"]),
            orjson.loads(meta["rle"]),
            orjson.loads(meta["scores"]),
            strict=True,
        )
        if prompt is not None
    ]
    indexes = [index for index, prompt in enumerate(orjson.loads(meta["prompts"])) if prompt is None]
    if indexes != [each.index for each in skipped]:
        raise ValueError("its prompts and its skipped prompts do not fit")
    prompts = orjson.dumps({"prompts": [prompt for prompt, _, _ in answered]})
    return Segmentation(
        job_id=meta["job_id"],
        name=name,
        prompts=tuple(parse_prompts(prompts, name, UNLIMITED).values()),
        masks=tuple(
            tuple(mask_of(rle, score).compressed() for rle, score in zip(rles, scores, strict=True))
            for _, rles, scores in answered
        ),
        model=ModelInfo(
            meta["model"],
            meta["device"],
            meta["checkpoint_sha256"] or None,
            meta.get("precision") or None,
            meta.get("engine") or None,
            meta.get("encoder_sha256") or None,
            meta.get("detector") or None,
            meta.get("detector_sha256") or None,
        ),
        size=(size["height"], size["width"]),
        image_sha256=meta["image_sha256"],
        seconds=orjson.loads(meta["seconds"]),
        exif="ignore" if meta.get("exif") == "ignore" else "apply",
        image_file=meta["image_file"],
        skipped=skipped,
        image_path=meta.get("image_path", ""),
    )
