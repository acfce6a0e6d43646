"""The site that mkdocs makes of docs/."""

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest
from playwright.sync_api import Browser
from support.browsers import chromium, page_of
from support.process import REPOSITORY

FOUND_BY = {
    "resume": "spool/#resume-a-run",
    "cvat": "how-to/cvat/",
    "gpu": "how-to/docker/",
    "cron": "how-to/cron/",
}
"""Where the search leads."""
CODE_WIDTH = 109
"""Characters in a line of code, with the indentation that it has in a list."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("material") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs the docs extra")
    made = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(made)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_the_index_of_the_search_has_the_words_that_users_look_for(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text())["docs"]

    for word, place in FOUND_BY.items():
        assert place in [page["location"] for page in index if word in page["title"].lower()]


@pytest.mark.parametrize("word", FOUND_BY)
def test_the_search_leads_to_the_page_or_section_about_a_word(
    browser: Browser, address: str, word: str
) -> None:
    with page_of(browser, address, 1440, home=address) as page:
        page.get_by_role("textbox", name="Search").click()
        page.keyboard.type(word)
        results = page.locator(".md-search-result__link")
        results.first.wait_for()
        found = [link.get_attribute("href") for link in results.all()]

    assert address + FOUND_BY[word] in found[:3]


def test_no_line_of_code_is_longer_than_the_site_shows() -> None:
    for page in sorted((REPOSITORY / "docs").rglob("*.md")):
        for code in re.findall(r"^ *```\w*\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE):
            assert [line for line in code.splitlines() if len(line) > CODE_WIDTH] == [], page


def test_code_of_that_length_does_not_scroll_at_1280_pixels(browser: Browser, address: str) -> None:
    with page_of(browser, f"{address}how-to/cron/", 1280, home=address) as page:
        for place, characters in (
            ("article > pre code, article > div pre code", CODE_WIDTH),
            ("li pre code", CODE_WIDTH - 2),
        ):
            code = page.locator(place).first
            code.evaluate(f"code => code.textContent = 'x'.repeat({characters})")
            assert code.evaluate("code => code.scrollWidth <= code.clientWidth")


@pytest.mark.parametrize(
    ("system", "follows", "other", "chosen"),
    [("light", "default", "dark", "slate"), ("dark", "slate", "light", "default")],
)
def test_colours_follow_the_system_until_others_are_chosen(
    browser: Browser, address: str, system: Literal["light", "dark"], follows: str, other: str, chosen: str
) -> None:
    scheme = "document.body.dataset.mdColorScheme"
    page = browser.new_page(color_scheme=system)
    page.goto(address)
    assert page.evaluate(scheme) == follows

    page.locator(f"input[data-md-color-media='(prefers-color-scheme: {other})']").dispatch_event("click")
    assert page.evaluate(scheme) == chosen
    page.close()


def test_every_picture_has_an_alternative_text(site: Path) -> None:
    pictures = [
        picture for page in site.rglob("*.html") for picture in re.findall("<img[^>]*>", page.read_text())
    ]

    assert len(pictures) >= 6
    assert [picture for picture in pictures if not re.search('alt="[^"]+"', picture)] == []
