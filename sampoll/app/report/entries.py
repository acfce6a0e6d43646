"""What a report shows about each result and each failed pair."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sampoll.core.failures import FailedJob
from sampoll.core.jobs import DEFAULT_LABEL
from sampoll.core.names import kept_image, printable
from sampoll.formats.opex_record import skipped_in
from sampoll.formats.overlay import colour_of
from sampoll.inputs.coco_rle import checked_runs, compressed_runs

MAX_LISTED = 30
"""How many masks, and skipped prompts, of a result are listed; all are counted and drawn."""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """One mask. `area` is in pixels; `box` is left, top, right, bottom in pixels, inclusive, None without any
    pixel; `colour` is that of the overlay."""

    prompt: str
    label: str
    score: float
    area: int
    box: tuple[int, int, int, int] | None
    colour: str


@dataclass(frozen=True, slots=True)
class Result:
    """One result. `image` is the path of its image below the folder of finished images."""

    name: str
    image: str
    image_sha256: str
    exif: str
    files: Sequence[str]
    masks: Sequence[MaskFacts]
    skipped: Sequence[str]
    width: int
    height: int
    model: str
    seconds: Mapping[str, float]
    at: str


def result_of(record: bytes, name: str) -> Result:
    """What the record of the result `name` says; ValueError if it is no record of a result."""
    try:
        document = orjson.loads(record)
        meta = document["meta"]
        size = orjson.loads(meta["image_size"])
        width, height = int(size["width"]), int(size["height"])
        image_path = meta.get("image_path") or kept_image(name, meta["image_file"])
        return Result(
            name=printable(name),
            image=str(image_path),
            image_sha256=str(meta["image_sha256"]),
            exif="ignore" if meta.get("exif") == "ignore" else "apply",
            files=[str(file) for file in orjson.loads(meta["files"])],
            masks=list(_masks(meta, _boxes(document["objects"]), (height, width))),
            skipped=[printable(f"prompts[{each.index}]: {each.message}") for each in skipped_in(meta)],
            width=width,
            height=height,
            model=printable(str(meta["model"])),
            seconds={
                printable(str(stage)): float(took) for stage, took in orjson.loads(meta["seconds"]).items()
            },
            at=printable(str(document["timestamp"]).partition(".")[0]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"no record of a result: {type(error).__name__}: {error}") from error


def _masks(
    meta: Mapping[str, str], boxes: Mapping[tuple[str, str], tuple[int, int, int, int]], size: tuple[int, int]
) -> Iterator[MaskFacts]:
    """All masks in the order of the prompt file; a skipped prompt counts as one for the colours."""
    number = 0
    prompts, rles, scores = (orjson.loads(meta[key]) for key in ("prompts", "rle", "scores"))
    for index, (prompt, own_rles, own_scores) in enumerate(zip(prompts, rles, scores, strict=True)):
        if prompt is None:
            number += 1
            continue
        named = printable(str(prompt.get("id", index)))
        label = printable(str(prompt.get("label", DEFAULT_LABEL)))
        for mask, (rle, score) in enumerate(zip(own_rles, own_scores, strict=True)):
            yield MaskFacts(
                named,
                label,
                float(score),
                _area(rle, size),
                boxes.get((str(index), str(mask))),
                "#{:02x}{:02x}{:02x}".format(*colour_of(number)),
            )
            number += 1


def _area(rle: Mapping[str, Any], size: tuple[int, int]) -> int:
    runs, *own = checked_runs(compressed_runs(rle["counts"]), *rle["size"])
    if tuple(own) != size:
        raise ValueError("a mask has not the size of the image")
    return int(runs[1::2].sum())


def _boxes(objects: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """The box around all objects of a mask, by the index of its prompt and of the mask."""
    boxes: dict[tuple[str, str], tuple[int, int, int, int]] = {}
    for each in objects:
        key = each["meta"]["prompt"], each["meta"]["mask"]
        left, top, right, bottom = (int(each["bbox"][side]) for side in ("left", "top", "right", "bottom"))
        if key in boxes:
            other = boxes[key]
            left, top = min(left, other[0]), min(top, other[1])
            right, bottom = max(right, other[2]), max(bottom, other[3])
        boxes[key] = left, top, right, bottom
    return boxes


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for an entry. `path` is a URL relative to the output, None without one; `note` says what is
    not shown, and why."""

    path: str | None
    note: str = ""


def result_entry(result: Result, picture: Picture) -> dict[str, Any]:
    """The values of a result's card, and of the filters in the page."""
    masks = result.masks
    pixels = max(1, result.width * result.height)
    labels = Counter(mask.label for mask in masks)
    scores = [mask.score for mask in masks]
    return {
        "kind": "result",
        "name": result.name,
        "picture": picture.path,
        "note": printable(picture.note),
        "labels": labels.most_common(MAX_LISTED),
        "other_labels": max(0, len(labels) - MAX_LISTED),
        "masks": [
            {
                "prompt": mask.prompt,
                "label": mask.label,
                "score": mask.score,
                "area": mask.area,
                "share": mask.area / pixels,
                "box": mask.box,
                "colour": mask.colour,
            }
            for mask in masks[:MAX_LISTED]
        ],
        "mask_count": len(masks),
        "lowest": min(scores, default=None),
        "highest": max(scores, default=None),
        "skipped": result.skipped[:MAX_LISTED],
        "skipped_count": len(result.skipped),
        "width": result.width,
        "height": result.height,
        "model": result.model,
        "seconds": result.seconds,
        "at": result.at,
        "filter": {
            "name": result.name,
            "text": f"{' '.join(labels)} {result.model}",
            "failed": False,
            "skipped": bool(result.skipped),
            "empty": any(mask.area == 0 for mask in masks),
            "scores": _scores_by_label(masks),
            "lowest": min(scores, default=0.0),
            "highest": max(scores, default=0.0),
            "masks": len(masks),
            "area": sum(mask.area for mask in masks),
            "pixels": result.width * result.height,
            "seconds": round(sum(result.seconds.values()), 6),
            "at": result.at,
        },
    }


def _scores_by_label(masks: Sequence[MaskFacts]) -> dict[str, list[float]]:
    """The different scores of each label, rounded as they are shown: at most about a thousand."""
    found: dict[str, set[float]] = {}
    for mask in masks:
        found.setdefault(mask.label, set()).add(round(mask.score, 3))
    return {label: sorted(scores) for label, scores in found.items()}


def failed_entry(job: FailedJob, picture: Picture, directory: Path) -> dict[str, Any]:
    """The values of a failed pair's card, and of the filters in the page."""
    last = job.last_failure
    message, at = printable(last.message), last.local_time
    return {
        "kind": "failed",
        "name": job.name,
        "picture": picture.path,
        "note": printable(picture.note),
        "code": printable(last.code),
        "message": message,
        "attempts": job.attempts,
        "at": at,
        "command": retry_command(job.name, directory),
        "filter": {
            "name": job.name,
            "text": f"{last.code} {message}",
            "failed": True,
            "skipped": False,
            "empty": False,
            "scores": {},
            "lowest": 0.0,
            "highest": 0.0,
            "masks": 0,
            "area": 0,
            "pixels": 0,
            "seconds": 0.0,
            "at": at,
        },
    }


def retry_command(name: str, directory: Path) -> str:
    """The command that has a failed pair tried again, for a shell."""
    return f"sampoll failed retry --input {_shell_word(str(directory.absolute()))} -- {_shell_word(name)}"


def _shell_word(text: str) -> str:
    """`text` as one word of bash, without characters that do not show."""
    if text.isprintable():
        return shlex.quote(text)
    shown = (
        chr(byte) if 32 < byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(shown)}'"
