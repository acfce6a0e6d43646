"""The JSON Schema of prompt files, for editors and other programs."""

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from sampoll.core.jobs import Prompt
from sampoll.inputs.prompt_file import Prompts


class _Schema(GenerateJsonSchema):
    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> dict[str, Any]:
        """The schema of mask prompts, the only kind of value that is not plain JSON."""
        return {
            "type": "string",
            "contentEncoding": "base64",
            "description": "A grayscale PNG of 256x256 pixels, or an .npy file of logits of that shape.",
        }


_HAS_TARGET = {
    "anyOf": [
        {"required": ["points"], "properties": {"points": {"minItems": 1}}},
        {"required": ["box"]},
        {"required": ["mask"]},
        {"required": ["everything"]},
    ],
    "if": {"required": ["everything"]},
    "then": {"properties": {"points": False, "box": False, "mask": False, "refine": False}},
}


def prompt_file_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a prompt file. It cannot express the order of a box's corners, nor the
    content of a mask."""
    either: TypeAdapter[Prompt | Prompts] = TypeAdapter(Prompt | Prompts)
    schema = either.json_schema(ref_template="#/$defs/{model}", schema_generator=_Schema)
    prompt = schema["$defs"]["Prompt"]
    prompt.update(_HAS_TARGET)
    prompt["properties"]["id"]["anyOf"].insert(1, {"type": "integer"})  # which is read as text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prompt file of sampoll",
        **schema,
    }
