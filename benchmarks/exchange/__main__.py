"""Prints both tables."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.exchange.compare import Comparison, compared
from benchmarks.exchange.readers import READERS
from benchmarks.exchange.scene import Exports, Scene, Thing, exported, sampoll, scene
from benchmarks.exchange.writers import WRITERS

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchange", description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="how many images of 5 objects each")
    parser.add_argument("--tools", type=lambda names: names.split(","), help="which tools, and all of them")
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    tools = arguments.tools or [tool for tool in READERS if find_spec(tool)]
    if missing := [tool for tool in tools if not find_spec(tool)]:
        parser.error(f"not installed: {', '.join(missing)}")
    drawn = scene(arguments.images)
    with tempfile.TemporaryDirectory() as folder:
        exports = exported(drawn, Path(folder))
        read = list(_in_turn(tools, READERS, lambda each: compared(drawn, each(exports))))
        written = list(_in_turn(tools, WRITERS, lambda each: _imported(drawn, exports, each)))
    pixels = sum(
        int(each.mask.sum()) for things in drawn.values() for each in things if each.mask is not None
    )
    print(f"\nWhat each tool reads of sampoll's exports, of {pixels} pixels:", _table(read), sep="\n")
    print("\nWhat sampoll prompts import reads of what each tool writes:", _table(written), sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({"read": read, "written": written}, indent=2))
    return 0


def _in_turn(
    tools: Sequence[str],
    ways: Mapping[str, Mapping[str, Any]],
    compare: Callable[[Any], Comparison],
) -> Iterator[Row]:
    for tool in tools:
        for format, way in ways.get(tool, {}).items():
            row: Row = {"tool": tool, "version": _version(tool), "format": format}
            try:
                yield {**row, **asdict(compare(way))}
            except Exception as error:  # noqa: BLE001  code of any tool
                yield {**row, "error": f"{type(error).__name__}: {error}"}


def _version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:
        return "?"


def _imported(drawn: Scene, exports: Exports, write: Any) -> Comparison:
    with tempfile.TemporaryDirectory(dir=exports.root) as folder:
        source, pairs = Path(folder) / "set", Path(folder) / "pairs"
        source.mkdir()
        kind, path = write(drawn, exports, source)
        images = ("--images", exports.images)
        said = sampoll("prompts", "import", "--from", kind, path, *images, "--to", pairs, accept=(0, 1))
        print(f"{kind} of {path.name}: {said}", file=sys.stderr)
        # The data set may have put its images into folders; their names tell them apart.
        found = {each.stem: _prompts(json.loads(each.read_text())) for each in pairs.rglob("*.json")}
    return compared(
        {name: [Thing(each.label, each.box) for each in things] for name, things in drawn.items()}, found
    )


def _prompts(document: Row) -> list[Thing]:
    prompts = document.get("prompts", [document])
    corners = ("x0", "y0", "x1", "y1")
    return [Thing(each["label"], tuple(each["box"][corner] for corner in corners)) for each in prompts]


HEAD = """
| tool | format | objects | with their label | pixels lost | pixels added | in holes | boxes differ by |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def _table(rows: Sequence[Row]) -> str:
    return HEAD + "\n".join(f"| {' | '.join(map(str, _cells(row)))} |" for row in rows)


def _cells(row: Row) -> Sequence[object]:
    start = (f"{row['tool']} {row['version']}", row["format"])
    if "error" in row:
        return (*start, f"none: {row['error'].partition(':')[0]}", *[""] * 5)
    pixels = ("pixels_lost", "pixels_added", "hole_pixels_added")
    return (
        *start,
        f"{row['found']} of {row['expected']}",
        row["matched"],
        *(row[key] if row["has_masks"] else "" for key in pixels),
        f"{row['box_pixels']:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
