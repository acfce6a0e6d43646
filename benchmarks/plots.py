"""Bars in SVG, for the documentation."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

ROW, BAR, LABEL, WIDTH = 30, 18, 250, 760
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#334155}"
    ".title{font-weight:600}.bar{fill:#2563eb}.reference{fill:#94a3b8}"
    "@media(prefers-color-scheme:dark){text{fill:#cbd5e1}}"
)


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """One bar a value, longer for more; the first one, the reference, in gray."""
    longest = max(values.values())
    room = WIDTH - LABEL - 90
    parts = [f'<text class="title" x="0" y="18">{escape(title)}</text>']
    for number, (name, value) in enumerate(values.items(), start=1):
        y = ROW * number + 4
        length = max(1.0, room * value / longest)
        kind = "reference" if number == 1 else "bar"
        parts += [
            f'<text x="0" y="{y + 14}">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LABEL + length + 8:.1f}" y="{y + 14}">{value:.3g} {escape(unit)}</text>',
        ]
    height = ROW * (len(values) + 1) + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def write_svg(directory: Path | None, name: str, svg: str) -> None:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.svg").write_text(svg)
