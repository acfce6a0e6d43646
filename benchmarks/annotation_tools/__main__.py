"""Runs the tools that are named, one after the other."""

import argparse
import sys
from pathlib import Path

from benchmarks.annotation_tools import label_studio, x_anylabeling

TOOLS = {"label-studio": label_studio.run, "x-anylabeling": x_anylabeling.run}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.annotation_tools",
        description=__doc__,
        epilog="Other flags are those of sampoll serve http; --model grabcut by default.",
    )
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(TOOLS)}; all by default")
    parser.add_argument("--venvs", type=Path, default=Path("venvs"), help="where the tools are installed")
    parser.add_argument("--clicks", type=int, default=20, help="how many, for the time of a click")
    arguments, flags = parser.parse_known_args()
    if unknown := [tool for tool in arguments.tools if tool not in TOOLS]:
        parser.error(f"no such tool: {', '.join(unknown)}")
    for tool in arguments.tools or TOOLS:
        TOOLS[tool](arguments.venvs, flags or ["--model", "grabcut"], arguments.clicks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
