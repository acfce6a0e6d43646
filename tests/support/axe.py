"""The rules of axe-core: what a page needs for a screen reader, a keyboard, or weak eyes."""

from functools import cache
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def violations(page: Page) -> list[str]:
    """One line for each rule that the page breaks: the rule, how often, the first element, and why.

    The page has to name its background colours: axe takes what shows through of the browser for white, also
    in a dark one.
    """
    # preload would fetch style sheets, which a page from a file may not.
    # By the debugging protocol, not by a <script>: so it runs also where the page's own policy forbids that.
    page.evaluate(f"() => {{ if (!window.axe) {{ {_axe()} }} }}")
    found: dict[str, Any] = page.evaluate("rules => axe.run({ runOnly: rules, preload: false })", RULES)
    return [_line(rule) for rule in found["violations"]]


def _line(rule: dict[str, Any]) -> str:
    first = rule["nodes"][0]
    why = " ".join(first["failureSummary"].split())
    return f"{rule['id']}, {len(rule['nodes'])} times, first {' '.join(map(str, first['target']))}: {why}"
