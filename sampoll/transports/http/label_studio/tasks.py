"""What Label Studio asks for: tasks, and the regions of them that are prompts.

Places are in per cent of the image as the browser shows it, which applies the orientation of EXIF.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sampoll.core.errors import BadPrompt, BadRequest

POINTS, BOXES = ("keypointlabels", "keypoint"), ("rectanglelabels", "rectangle")
OF_DETECTOR = "prediction"
"""The origin of regions that no person has drawn."""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class ToolPrompt:
    """One object: points as (x, y, label) and a box, in per cent, whose corners may be outside the image.
    `label` is its name, None if it has none."""

    label: str | None
    points: Sequence[tuple[float, float, int]] = ()
    box: Sequence[tuple[float, float]] = ()
    """The four corners, if there is a box."""

    def document(self, size: tuple[int, int]) -> Json:
        """The prompt as in a prompt file, for an image of this (H, W)."""
        height, width = size
        document: dict[str, Any] = {} if self.label is None else {"label": self.label}
        if self.points:
            document["points"] = [
                {"x": _pixels(x, width, width - 1), "y": _pixels(y, height, height - 1), "label": label}
                for x, y, label in self.points
            ]
        if self.box:
            (xs, ys) = zip(*self.box, strict=True)
            document["box"] = {
                "x0": _pixels(min(xs), width, width),
                "y0": _pixels(min(ys), height, height),
                "x1": _pixels(max(xs), width, width),
                "y1": _pixels(max(ys), height, height),
            }
        return document


def _pixels(per_cent: float, extent: int, most: int) -> float:
    return min(max(per_cent * extent / 100, 0.0), most)


@dataclass(frozen=True)
class AskedImage:
    """The prompts for one image of a task. `shown_size` is the (H, W) with which the browser shows it, if
    that is known; `item_index` is its place in a list of images; `rotation` is how the user has turned the
    view, which changes no coordinates."""

    to_name: str
    prompts: Sequence[ToolPrompt]
    shown_size: tuple[int, int] | None = None
    item_index: int | None = None
    rotation: float = 0.0


@dataclass(frozen=True)
class Task:
    """`data` has the addresses of its images."""

    id: str
    data: Json = field(repr=False)
    document: Json = field(repr=False)


def tasks_in(document: Json) -> Sequence[Task]:
    """The tasks of a request; BadRequest if it has none."""
    tasks = document.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(each, dict) for each in tasks):
        raise BadRequest("must be a list of tasks", field="tasks")
    return [Task(str(each.get("id", "")), _mapping(each.get("data")), each) for each in tasks]


def asked_by_user(document: Json) -> Sequence[Json] | None:
    """The regions that a user has just drawn; None for a request without a user."""
    context = _mapping(document.get("params")).get("context")
    return None if context is None else _regions(_mapping(context).get("result"))


def prompt_of_user(regions: Sequence[Json]) -> AskedImage | None:
    """What a user has drawn for one object, None if that is nothing any more.

    Label Studio sends all regions of the same type and label. Of points, those that were drawn as prompts
    have `is_positive`; of boxes, none has, so the last one counts, which is the newest.
    """
    points = [each for each in regions if each.get("type") in POINTS and "is_positive" in each]
    boxes = [each for each in regions if each.get("type") in BOXES and each.get("origin") != OF_DETECTOR]
    drawn = [*points, *boxes[-1:]]
    if not drawn:
        return None
    at = [(*_place(each), int(each["is_positive"] is True)) for each in points]
    box = _corners(boxes[-1]) if boxes else ()
    return _asked(drawn[-1], [ToolPrompt(_label(drawn[-1]), at, box)])


def prompts_of_task(task: Task) -> Sequence[AskedImage]:
    """Each point and each box of the newest prediction that has some, or else of the newest annotation, as an
    object of its own; for each image that has some."""
    for results in (*_newest(task.document.get("predictions")), *_newest(task.document.get("annotations"))):
        drawn = [each for each in results if each.get("type") in (*POINTS, *BOXES)]
        if drawn:
            return list(_by_image(drawn))
    return []


def _by_image(drawn: Sequence[Json]) -> Iterator[AskedImage]:
    by_image: dict[tuple[str, int | None], list[Json]] = {}
    for region in drawn:
        by_image.setdefault((str(region.get("to_name")), _index(region)), []).append(region)
    for regions in by_image.values():
        yield _asked(regions[0], [_prompt_of(each) for each in regions])


def _prompt_of(region: Json) -> ToolPrompt:
    if region.get("type") in BOXES:
        return ToolPrompt(_label(region), box=_corners(region))
    return ToolPrompt(_label(region), [(*_place(region), 1)])


def _asked(region: Json, prompts: Sequence[ToolPrompt]) -> AskedImage:
    rotation = region.get("image_rotation")
    return AskedImage(
        str(region.get("to_name")),
        prompts,
        _shown_size(region),
        _index(region),
        float(rotation) if isinstance(rotation, int | float) else 0.0,
    )


def _shown_size(region: Json) -> tuple[int, int] | None:
    width, height = region.get("original_width"), region.get("original_height")
    return (height, width) if isinstance(width, int) and isinstance(height, int) else None


def _place(region: Json) -> tuple[float, float]:
    value = _mapping(region.get("value"))
    return _number(value, "x"), _number(value, "y")


def _corners(region: Json) -> Sequence[tuple[float, float]]:
    """The corners of a box. A rotation turns it around its upper left corner, clockwise, in pixels."""
    value, (x, y) = _mapping(region.get("value")), _place(region)
    width, height = _number(value, "width"), _number(value, "height")
    angle = math.radians(_number(value, "rotation")) if value.get("rotation") else 0.0
    shape = (
        _number(region, "original_width") / _number(region, "original_height")
        if angle and region.get("original_height")
        else 1.0
    )
    across, down = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    return [
        (
            x + i * width * across[0] + j * height / shape * down[0],
            y + i * width * shape * across[1] + j * height * down[1],
        )
        for i in (0, 1)
        for j in (0, 1)
    ]


def _label(region: Json) -> str | None:
    value = _mapping(region.get("value"))
    labels = value.get(str(region.get("type"))) or value.get("labels")
    return labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], str) else None


def _index(region: Json) -> int | None:
    index = region.get("item_index")
    return index if type(index) is int else None


def _number(value: Json, key: str) -> float:
    number = value.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise BadPrompt("must be a number", field=f"value.{key}")
    return float(number)


def _newest(answers: Any) -> Iterator[Sequence[Json]]:
    """The regions of predictions, or of annotations that were not cancelled, the newest first."""
    known = [each for each in answers if isinstance(each, dict)] if isinstance(answers, list) else []
    known.sort(key=lambda each: each["id"] if type(each.get("id")) is int else 0, reverse=True)
    return (_regions(each.get("result")) for each in known if not each.get("was_cancelled"))


def _regions(result: Any) -> Sequence[Json]:
    return [each for each in result if isinstance(each, dict)] if isinstance(result, list) else []


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def prompt_file(prompts: Sequence[ToolPrompt], size: tuple[int, int]) -> bytes:
    """The prompts as a prompt file, for an image of this (H, W)."""
    return orjson.dumps({"prompts": [each.document(size) for each in prompts]})
