"""The JSON Schema of settings files, for editors and other programs."""

from collections.abc import Iterator, Mapping
from typing import Any

from sampoll.config.fields import Setting, all_settings
from sampoll.config.settings import Settings


def settings_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a TOML file with settings. It cannot express the bounds of sizes and
    times, nor how addresses are written."""
    made = Settings.model_json_schema(by_alias=True)
    of_sections = {
        name: made["$defs"][section["$ref"].rpartition("/")[2]]["properties"]
        for name, section in made["properties"].items()
    }
    sections: dict[str, Any] = {
        name: {
            "type": "object",
            "description": Settings.model_fields[name].annotation.__doc__,
            "properties": {},
            "additionalProperties": False,
        }
        for name in of_sections
    }
    for setting in all_settings():
        described = _described(setting, of_sections[setting.section][setting.key])
        sections[setting.section]["properties"][setting.key] = described
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings file of sampoll",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }


def _described(setting: Setting, made: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of one setting without what only the command line needs, and without null, which TOML has
    not."""
    options = list(_options(made))
    values = {"anyOf": options} if len(options) > 1 else options[0]
    default = {} if made["default"] is None else {"default": made["default"]}
    return {"description": setting.help, **values, **default}


def _options(made: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The alternatives of a value, those of alternatives included."""
    if "anyOf" not in made:
        yield {key: value for key, value in made.items() if key in _KEYWORDS}
        return
    for option in made["anyOf"]:
        if option != {"type": "null"}:
            yield from _options(option)


_KEYWORDS = frozenset(
    {"type", "const", "enum", "items", "minimum", "maximum", "minLength", "pattern", "format", "writeOnly"}
)
