"""The JSON Schema of prompt files, for editors and other programs."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from sampoll.core.jobs import ALONE_KINDS, PROMPT_KINDS, Prompt
from sampoll.inputs.prompt_file import SCHEMA_KEY, Prompts

SCHEMA_FILE = Path(__file__).with_name("prompt.schema.json")
"""What `prompt_file_schema` returns, as a file of this package, where editors find it."""


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
        {"required": ["text"]},
    ],
    "allOf": [
        {
            "if": {"required": [alone]},
            "then": {"properties": {kind: False for kind in PROMPT_KINDS if kind != alone}},
        }
        for alone in ALONE_KINDS
    ],
    "dependentRequired": {"score_thresh": ["text"]},
}


def prompt_file_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a prompt file. It cannot express the order of a box's corners, nor the
    content of a mask."""
    either: TypeAdapter[Prompt | Prompts] = TypeAdapter(Prompt | Prompts)
    kinds = either.json_schema(ref_template="#/$defs/{model}", schema_generator=_Schema)["$defs"]
    kinds["Prompt"].update(_HAS_TARGET)
    del kinds["Prompt"]["properties"]["label"]["default"]  # its description says it
    kinds["Prompt"]["properties"]["id"]["anyOf"].insert(1, {"type": "integer"})  # which is read as text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prompt file of sampoll",
        "$defs": {name: kind for name, kind in kinds.items() if name != "Prompts"},
        "anyOf": [_as_document(kinds["Prompt"]), _as_document(kinds["Prompts"])],
    }


def _as_document(kind: dict[str, Any]) -> dict[str, Any]:
    """The same with a "$schema", which only the outermost object of a file may have."""
    named = {SCHEMA_KEY: {"type": "string", "description": "The JSON Schema for editors."}}
    return {**kind, "properties": {**named, **kind["properties"]}}
