"""A real browser for tests of pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

expect.set_options(timeout=60_000)  # its own five seconds are too few for a busy machine
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WIDTHS = {"phone": 390, "desktop": 1440}
Scheme: TypeAlias = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's chromium, without a window. Without it, a test fails on CI and is skipped elsewhere."""
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def page_of(
    browser: Browser, url: str, width: int, home: str = "file://", scheme: Scheme = "light"
) -> Iterator[Page]:
    """A page that has loaded without errors, and requests only addresses that begin with `home`."""
    trouble: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(home) else trouble.append(request.url))
    page.goto(url)
    yield page
    page.close()
    assert trouble == [], trouble
