"""The prompt file: JSON in, prompts out, or one sentence that names the field at fault."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import DEFAULT_LABEL, Box, Everything, LowResMask, Point, Prompt
from sampoll.inputs.mask_prompt import decode_mask_prompt, encode_mask_prompt

_UTF8_BOM = b"\xef\xbb\xbf"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _whole(value: object) -> object:
    # Some senders write every number as a double, so 1.0 is a label too.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _label(value: object) -> object:
    if isinstance(value, bool) or value not in (0, 1):
        raise ValueError("must be 0 (background) or 1 (foreground)")
    return _whole(value)


def _mask(value: object) -> LowResMask:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return decode_mask_prompt(value)


_MaskInBase64 = Annotated[
    InstanceOf[LowResMask],
    BeforeValidator(_mask),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "A grayscale PNG of 256x256 pixels, or an .npy file of logits of that shape.",
        }
    ),
]
Coordinate = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class WirePoint(_Wire):
    x: Coordinate
    y: Coordinate
    label: Annotated[int, BeforeValidator(_label), Field(json_schema_extra={"enum": [0, 1]})]

    def value(self) -> Point:
        return Point(self.x, self.y, self.label)


class WireBox(_Wire):
    x0: Coordinate
    y0: Coordinate
    x1: Coordinate
    y1: Coordinate

    @model_validator(mode="after")
    def _corners_in_order(self) -> "WireBox":
        self.value()
        return self

    def value(self) -> Box:
        return Box(self.x0, self.y0, self.x1, self.y1)


class WireEverything(_Wire):
    """Segment whatever a grid of points finds; the words are segment_anything's."""

    points_per_side: Annotated[int, Field(ge=1, le=256), BeforeValidator(_whole)] = 32
    pred_iou_thresh: Threshold = 0.88
    stability_score_thresh: Threshold = 0.95
    stability_score_offset: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 1.0
    box_nms_thresh: Threshold = 0.7
    min_mask_region_area: Annotated[int, Field(ge=0, le=10**9), BeforeValidator(_whole)] = 0

    def value(self) -> Everything:
        return Everything(**self.model_dump())


class WirePrompt(_Wire):
    """What to segment."""

    model_config = ConfigDict(
        title="Prompt",
        json_schema_extra={
            "anyOf": [
                {"required": ["points"], "properties": {"points": {"minItems": 1}}},
                {"required": ["box"]},
                {"required": ["mask"]},
                {"required": ["everything"]},
            ],
            "if": {"required": ["everything"]},
            "then": {"properties": {"points": False, "box": False, "mask": False, "refine": False}},
        },
    )

    points: list[WirePoint] = Field([], description="Points on the object, and beside it.")
    box: WireBox | None = Field(None, description="A box around the object.")
    mask: _MaskInBase64 | None = Field(None, description="A first guess at the mask.")
    refine: Annotated[int, Field(ge=0, le=10), BeforeValidator(_whole)] = Field(
        0, description="How many times the answer is given back to the model as a mask."
    )
    everything: WireEverything | None = Field(
        None, description="All objects in the image, in the place of all of the above."
    )
    label: str = Field(DEFAULT_LABEL, min_length=1, description="What the object is called.")
    id: str | None = Field(None, description="The sender's own name for this prompt.")

    @model_validator(mode="after")
    def _something_to_segment(self) -> "WirePrompt":
        if self.everything is None and not self.points and self.box is None and self.mask is None:
            raise ValueError('needs "points" (at least one), a "box", a "mask", or "everything"')
        if self.everything is not None and (self.points or self.box or self.mask or self.refine):
            raise ValueError('"everything" cannot be combined with "points", "box", "mask" or "refine"')
        return self

    def value(self) -> Prompt:
        return Prompt(
            points=tuple(point.value() for point in self.points),
            box=self.box.value() if self.box else None,
            label=self.label,
            id=self.id,
            mask=self.mask,
            refine=self.refine,
            everything=self.everything.value() if self.everything else None,
        )


class WirePrompts(_Wire):
    """Many prompts for one image."""

    model_config = ConfigDict(title="Prompts")

    prompts: Annotated[list[WirePrompt], Field(min_length=1)]


def parse_prompts(
    content: bytes, file: str, at_most: int, *, ignores_unknown_keys: bool = False
) -> dict[str, Prompt]:
    """The prompts of a prompt file, in its order, by the place where each stands: "" for the only one of a
    file, otherwise "prompts[0]." and so on. BadPrompt names `file` and the field at fault.

    A file is one prompt, or `{"prompts": [...]}` with 1..at_most of them. A UTF-8 byte order mark is
    skipped; unknown keys, unless they are to be ignored, NaN and infinities are refused.
    """
    extra: Literal["ignore", "forbid"] = "ignore" if ignores_unknown_keys else "forbid"
    try:
        document = orjson.loads(content.removeprefix(_UTF8_BOM))
    except orjson.JSONDecodeError as error:
        raise BadPrompt(f"is not JSON in UTF-8: {error}", file=file) from error
    if not isinstance(document, dict):
        raise BadPrompt('must be a JSON object such as {"points": [...]} or {"box": {...}}', file=file)
    try:
        if "prompts" not in document:
            return {"": WirePrompt.model_validate(document, extra=extra).value()}
        wire = WirePrompts.model_validate(document, extra=extra).prompts
    except ValidationError as error:
        raise _first_of(error, file) from error
    if len(wire) > at_most:
        raise BadPrompt(f"has {len(wire)} prompts, at most {at_most} are allowed", file=file, field="prompts")
    return {f"prompts[{index}].": prompt.value() for index, prompt in enumerate(wire)}


def prompt_file_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a prompt file. That corners are in order, and what is inside a mask, it
    cannot say."""
    either: TypeAdapter[WirePrompt | WirePrompts] = TypeAdapter(WirePrompt | WirePrompts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prompt file of sampoll",
        **either.json_schema(ref_template="#/$defs/{model}"),
    }


def prompts_document(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """The prompts as they would stand in a prompt file's "prompts", defaults left out."""
    return [_prompt_document(prompt) for prompt in prompts]


def _prompt_document(prompt: Prompt) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if prompt.points:
        document["points"] = [{"x": p.x, "y": p.y, "label": p.label} for p in prompt.points]
    if prompt.box:
        box = prompt.box
        document["box"] = {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}
    if prompt.mask:
        document["mask"] = encode_mask_prompt(prompt.mask)
    if prompt.refine:
        document["refine"] = prompt.refine
    if prompt.everything:
        document["everything"] = asdict(prompt.everything)
    if prompt.label != DEFAULT_LABEL:
        document["label"] = prompt.label
    if prompt.id is not None:
        document["id"] = prompt.id
    return document


def field_path(location: Sequence[str | int]) -> str:
    """How a person writes the place: `points[2].x`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _first_of(error: ValidationError, file: str) -> BadPrompt:
    errors = error.errors(include_url=False)
    first = errors[0]
    message = _MESSAGES.get(first["type"], first["msg"]).removeprefix("Value error, ")
    if len(errors) > 1:
        message += f" (and {len(errors) - 1} more)"
    return BadPrompt(message, file=file, field=field_path(first["loc"]) or None)


_MESSAGES = {
    "extra_forbidden": "is not a known key",
    "missing": "is missing",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "model_type": "must be a JSON object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
