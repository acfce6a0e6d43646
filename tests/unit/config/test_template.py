import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.process import REPOSITORY

from sampoll.app.init import write_settings_file
from sampoll.config.fields import all_settings
from sampoll.config.resolve import describe, resolve
from sampoll.config.schema import settings_schema
from sampoll.config.template import SCHEMA_FILE, template
from sampoll.core.errors import ConfigurationError, StorageTrouble, UsageError


def with_defaults_set() -> str:
    """The template without the # before the settings that have a default."""
    defaults = {setting.key for setting in all_settings() if setting.field.default is not None}
    lines = [
        line.removeprefix("#") if line[1:].partition(" ")[0] in defaults else line
        for line in template().splitlines()
    ]
    return "\n".join(lines)


def is_valid(document: Any) -> bool:
    return jsonschema.Draft202012Validator(settings_schema()).is_valid(document)


def test_a_settings_file_to_start_from_sets_nothing(tmp_path: Path) -> None:
    write_settings_file(tmp_path / "sampoll.toml")

    resolved = resolve({}, {}, tmp_path / "sampoll.toml")

    assert not resolved.origins
    assert resolved.settings == resolve({}, {}).settings


def test_it_shows_each_setting_once_with_its_default(tmp_path: Path) -> None:
    (tmp_path / "sampoll.toml").write_text(with_defaults_set())

    resolved = resolve({}, {}, tmp_path / "sampoll.toml")

    assert resolved.settings == resolve({}, {}).settings
    shown = [line[1:].partition(" = ")[0] for line in template().splitlines() if " = " in line]
    assert shown == [setting.key for setting in all_settings()]


def test_each_setting_is_valid_toml_when_its_mark_is_removed() -> None:
    keys = {setting.key for setting in all_settings()}
    lines = [
        line.removeprefix("#") if line[1:].partition(" = ")[0] in keys else line
        for line in template().splitlines()
    ]

    assert {key for section in tomllib.loads("\n".join(lines)).values() for key in section} == keys


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sampoll.toml"
    match kind:
        case "file":
            path.write_text("# mine")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "nowhere")

    with pytest.raises(UsageError, match=r"sampoll\.toml is there already"):
        write_settings_file(path)

    assert list(tmp_path.iterdir()) == [path]
    assert kind != "file" or path.read_text() == "# mine"
    assert kind != "link" or path.is_symlink()


def test_a_folder_that_is_missing_is_an_error() -> None:
    with pytest.raises(StorageTrouble, match=r"cannot write /nonexistent/sampoll\.toml"):
        write_settings_file(Path("/nonexistent/sampoll.toml"))


def test_the_first_line_names_the_schema_for_editors() -> None:
    first = template().splitlines()[0]

    assert first == f"#:schema {SCHEMA_FILE.as_uri()}"
    assert json.loads(SCHEMA_FILE.read_text()) == settings_schema()


def test_the_schema_accepts_what_is_shipped_and_printed() -> None:
    jsonschema.Draft202012Validator.check_schema(settings_schema())
    files = sorted((REPOSITORY / "configs").rglob("*.toml"))

    assert files
    for text in (*(file.read_text() for file in files), describe(resolve({}, {})), with_defaults_set()):
        assert is_valid(tomllib.loads(text)), text


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"spool": {"min-free": "64M", "settle": "90s", "done": "elsewhere", "on-exist": "fail"}}, True),
        ({"outputs": {"format": "png,coco"}}, True),
        ({"outputs": {"format": ["png", "coco"]}}, True),
        ({"model": {"batch-size": "auto"}}, True),
        ({"redis": {"redis-url": "redis://host", "redis-password": "secret"}}, True),
        ({"spool": {"setle": 1}}, False),
        ({"settle": 1}, False),
        ({"spool": {"settle": "soon"}}, False),
        ({"spool": {"min-free": "64MB"}}, False),
        ({"spool": {"on-exist": "overwrite"}}, False),
        ({"model": {"batch-size": 0}}, False),
        ({"spool": {"continuous": 3}}, False),
        ({"outputs": {"format": 3}}, False),
    ],
)
def test_the_schema_and_the_settings_agree(document: Any, expected: bool, tmp_path: Path) -> None:
    [(section, values)] = document.items()
    lines = [f"[{section}]"] if isinstance(values, dict) else [f"{section} = {json.dumps(values)}"]
    below = values if isinstance(values, dict) else {}
    lines += [f"{key} = {json.dumps(value)}" for key, value in below.items()]
    (tmp_path / "sampoll.toml").write_text("\n".join(lines))

    assert is_valid(document) is expected
    if expected:
        resolve({}, {}, tmp_path / "sampoll.toml")
    else:
        with pytest.raises(ConfigurationError):
            resolve({}, {}, tmp_path / "sampoll.toml")
