"""Writes the pages and schemas that are made from the code: `python docs/reference.py`.

With --check, compares them.
"""

import html
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sampoll.config.fields import Setting, all_settings
from sampoll.config.schema import settings_schema
from sampoll.config.settings import Settings
from sampoll.config.template import SCHEMA_FILE
from sampoll.inputs import prompt_schema

DOCS = Path(__file__).parent
COMMANDS = DOCS / "commands.md"
SETTINGS = DOCS / "settings.md"
BEGIN, END = "<!-- made by docs/reference.py: begin -->\n", "<!-- made by docs/reference.py: end -->\n"

MORE = {
    "prompt": "prompts.md#one-prompt-for-a-folder",
    "on-exist": "spool.md#names-that-are-taken",
    "skip-done": "spool.md#running-again",
    "durability": "reliability.md#power-cuts",
    "model": "how-to/models.md",
    "checkpoint": "how-to/models.md#a-file-of-weights",
    "pull": "how-to/models.md",
    "detector": "how-to/models.md#words-for-any-model",
    "precision": "performance.md#precision",
    "engine": "performance.md#engines",
    "cpu-streams": "performance.md#many-cores",
    "compile": "performance.md#on-a-gpu",
    "embedding-memory": "performance.md#known-images",
    "on-bad-prompt": "prompts.md#bad-prompts",
    "max-mask-bytes": "performance.md#memory",
    "mask-policy": "formats.md#what-a-score-means",
    "simplify": "formats.md#clean-masks",
    "format": "formats.md#other-formats",
    "overlay": "formats.md#to-look-at",
    "redis-url": "redis.md#the-server",
    "stream": "streams.md",
    "report": "spool.md#running-again",
    "http": "operations.md#over-http",
    "metrics-file": "operations.md#metrics",
    "stall": "operations.md#sampoll-status",
    "log-format": "operations.md#logs",
    "progress": "operations.md#on-a-terminal",
    "quiet": "operations.md#logs",
}
"""Where more is said about a setting."""


def settings_tables() -> str:
    """A table for each section of the settings."""
    by_section: dict[str, list[Setting]] = {name: [] for name in Settings.model_fields}
    for setting in all_settings():
        by_section[setting.section].append(setting)
    return "\n".join(_section(name, settings) for name, settings in by_section.items())


def _section(name: str, settings: list[Setting]) -> str:
    kind = Settings.model_fields[name].annotation
    lines = [
        f"### [{name}]",
        "",
        str(kind.__doc__),
        "",
        "| name | values | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *map(_row, settings), ""])


def _row(setting: Setting) -> str:
    short = setting.extra("short")
    name = f"`{setting.key}`" + (f" (`{short}`)" if short else "")
    if not setting.is_flag:
        name += f", no flag: {' or '.join(f'`{each}`' for each in setting.variables)}"
    is_switch = setting.field.annotation is bool
    values = "`true`, `false`" if is_switch else ", ".join(_value(v) for v in _values(setting))
    default = f"`{setting.default}`" if setting.default else ""
    more = f" [More]({MORE[setting.key]})" if setting.key in MORE else ""
    return f"| {name} | {values} | {default} | {setting.help}{more} |"


def _values(setting: Setting) -> list[str]:
    return [value for value in setting.extra("metavar").split("|") if value]


def _value(value: str) -> str:
    """A word to write as it is, or the kind of value that goes there."""
    return value if value.isupper() else f"`{value}`"


def command_pages() -> str:
    """What typer itself says of every command, as Markdown."""
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "commands.md"
        made = ["typer", "sampoll.cli.main", "utils", "docs", "--name", "sampoll", "--title", "Commands"]
        subprocess.run([sys.executable, "-m", *made, "--output", page], check=True, capture_output=True)
        text = html.unescape(page.read_text(encoding="utf-8"))
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page that holds something made, as it should be."""
    yield COMMANDS, command_pages()
    before, _, rest = SETTINGS.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    yield SETTINGS, f"{before}{BEGIN}\n{settings_tables()}\n{END}{after}"
    for file, schema in (
        (SCHEMA_FILE, settings_schema()),
        (prompt_schema.SCHEMA_FILE, prompt_schema.prompt_file_schema()),
    ):
        text = json.dumps(schema, indent=2) + "\n"
        yield file, text
        yield DOCS / file.name, text


def main() -> int:
    """The exit code: 1 if --check finds a page that is not as it should be."""
    stale = [(page, text) for page, text in pages() if not page.exists() or page.read_text() != text]
    for page, text in stale:
        sys.stdout.write(f"{page.name} is {'not as the code says' if '--check' in sys.argv else 'made'}\n")
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
