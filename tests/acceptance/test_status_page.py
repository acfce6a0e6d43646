"""The status page of a simulated service in a real browser: looks, keyboard, updates."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.axe import violations
from support.browsers import SCHEMES, WIDTHS, chromium, page_of
from support.outside import MODEL, ODD, Outside, started

from sampoll.core.errors import BadImage, StorageTrouble, UnreadableInput
from sampoll.core.events import (
    Backlog,
    BatchStarted,
    InputScanned,
    JobDone,
    JobFailed,
    ModelLoaded,
    PassedOver,
    Paused,
)
from sampoll.monitoring import thumbnails
from sampoll.monitoring.server import Receive, Scope, Send, serving
from sampoll.spool.unpaired import Leftovers, Reason, Unpaired

LONG = f"{ODD}{'a-very-long-name' * 15}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MIN_INTERVAL_SECONDS", 0.0)


def starting(directory: Path) -> Outside:
    return Outside(directory, with_thumbnails=True)


def busy(directory: Path) -> Outside:
    """A service with some of everything, and with hostile names."""
    outside = Outside(directory, with_thumbnails=True, place=LONG)
    outside.happens(ModelLoaded(replace(MODEL, name=LONG)), InputScanned(Backlog(412, 3, 2, 1, 9.0, 2)))
    outside.happens(*started("a", "b", *(f"{LONG} {number}" for number in range(50))))
    outside.happens(BatchStarted((f"{LONG} 3",)), JobDone("a", "a", "a"))
    outside.happens(*(JobFailed(f"{LONG} {n}", "id", BadImage(LONG)) for n in range(30)))
    outside.happens(PassedOver("sub/", UnreadableInput("cannot be listed: Permission denied")))
    outside.leftovers = Leftovers([Unpaired(f"{LONG}.jpg", Reason.NO_PROMPT, "has no prompt")])
    outside.draws("first", LONG, "third")
    return outside


def paused(directory: Path) -> Outside:
    outside = busy(directory)
    outside.happens(Paused(StorageTrouble("the disk is full"), returns_jobs=True))
    return outside


def network(directory: Path) -> Outside:
    return Outside(directory, has_input=False)


@contextmanager
def shown(browser: Browser, outside: Outside, path: str = "") -> Iterator[Page]:
    with (
        serving("127.0.0.1", 0, outside.application) as url,
        page_of(browser, f"{url}/{path}", WIDTHS["desktop"], home=url) as page,
    ):
        yield page


@pytest.mark.parametrize(
    ("scene", "path"),
    [(starting, ""), (busy, ""), (paused, ""), (network, ""), (busy, "pictures/2")],
)
def test_pages_fit_the_window_and_break_no_rule_of_axe(
    browser: Browser, tmp_path: Path, scene: Callable[[Path], Outside], path: str
) -> None:
    with shown(browser, scene(tmp_path), path) as page:
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        for width, scheme in product(WIDTHS.values(), SCHEMES):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(page) == [], (width, scheme)


def test_what_is_old_says_so_until_the_service_answers_again(browser: Browser, tmp_path: Path) -> None:
    with serving("127.0.0.1", 0, busy(tmp_path).application) as url:
        page = browser.new_page()
        page.goto(f"{url}/")
        page.context.set_offline(True)
        page.evaluate("update()")
        as_of = page.locator("#as-of").inner_text()
        warning = page.get_by_text(f"The service does not answer. What stands here is from {as_of}")
        assert warning.is_visible()
        assert page.title() == "no answer: sampoll"
        assert page.get_by_text("working", exact=True).is_hidden()
        assert violations(page) == []
        page.context.set_offline(False)
        page.evaluate("update()")
        assert warning.count() == 0
        assert page.title() == "working: sampoll"
        page.close()


def test_times_are_those_of_the_viewer_whose_zone_is_named(browser: Browser, tmp_path: Path) -> None:
    with serving("127.0.0.1", 0, busy(tmp_path).application) as url:
        for zone, offset, hours in (("Asia/Kolkata", "GMT+5:30", 5.5), ("Etc/UTC", "GMT+0", 0)):
            context = browser.new_context(timezone_id=zone, locale="de-DE")
            page = context.new_page()
            page.goto(f"{url}/")
            [(utc, local)] = page.locator("#as-of time").evaluate_all(
                "times => times.map(time => [Date.parse(time.dateTime), time.textContent])"
            )
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", local)
            shown_at = page.evaluate("text => Date.parse(text.replace(' ', 'T') + 'Z')", local)
            assert (shown_at - utc) / 3_600_000 == hours
            assert f"({offset})" in page.locator(".zone").inner_text()
            page.evaluate("update()")
            assert page.locator("#failures time").first.inner_text()[:10] == local[:10]
            context.close()


def test_an_update_keeps_the_focus_open_details_and_loaded_pictures(browser: Browser, tmp_path: Path) -> None:
    outside = busy(tmp_path)
    with shown(browser, outside) as page:
        page.locator("summary").click()
        link = page.get_by_role("link", name="third")
        link.focus()
        page.evaluate("document.querySelector('.pictures img').mark = 1")
        page.evaluate("headline.firstChild.mark = 1")
        outside.draws("fourth")
        outside.happens(JobDone("b", "b", "b"))
        page.evaluate("update()")
        page.get_by_role("link", name="fourth").wait_for()
        assert page.evaluate("document.activeElement.textContent.trim()") == "third"
        assert page.locator("details").evaluate("details => details.open")
        assert page.evaluate("[...document.querySelectorAll('.pictures img')].map(image => image.mark)") == [
            None,
            1,
            None,
            None,
        ]
        assert page.evaluate("headline.firstChild.mark") == 1


def test_the_page_and_its_pictures_work_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, busy(tmp_path)) as page:

        def press(key: str) -> str:
            page.keyboard.press(key)
            focused = "document.activeElement.labels?.[0].innerText ?? document.activeElement.innerText"
            return str(page.evaluate(focused)).strip()

        assert press("Tab") == "update every five seconds"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert press("Tab") == "as a table"
        page.keyboard.press("Enter")
        assert page.get_by_role("columnheader", name="minute").is_visible()
        assert press("Tab") == "third"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="third").wait_for()
        assert press("Tab") == "back to the status page"
        assert press("Tab") == "older"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="a-very-long-name").wait_for()
        picture = page.get_by_role("img")
        assert picture.evaluate("image => image.complete && image.naturalWidth") == 32
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Jobs").wait_for()


def test_updates_can_be_switched_off_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    outside = busy(tmp_path)
    with shown(browser, outside) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        outside.happens(JobDone("b", "b", "b"))
        page.evaluate("update()")
        assert "1 done" in page.locator("#hour").inner_text()
        page.keyboard.press("Space")
        page.evaluate("update()")
        page.get_by_text("2 done", exact=True).wait_for()
        assert page.evaluate("document.activeElement.id") == "live"


def test_without_scripts_the_page_is_whole_and_in_utc(browser: Browser, tmp_path: Path) -> None:
    with serving("127.0.0.1", 0, busy(tmp_path).application) as url:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{url}/")
        assert page.get_by_text("times in UTC").is_visible()
        assert page.get_by_text("update every five seconds").is_hidden()
        assert page.get_by_role("link", name="third").is_visible()
        context.close()


def test_a_page_behind_a_proxy_finds_its_parts(browser: Browser, tmp_path: Path) -> None:
    inner = busy(tmp_path).application

    async def below(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, "path": scope["path"].removeprefix("/gpu1/sampoll")}, receive, send)

    with (
        serving("127.0.0.1", 0, below) as url,
        page_of(browser, f"{url}/gpu1/sampoll/", WIDTHS["desktop"], home=f"{url}/gpu1/sampoll/") as page,
    ):
        page.evaluate("update()")
        page.get_by_role("link", name="third").click()
        page.get_by_role("link", name="back to the status page").click()
        page.get_by_role("heading", name="Jobs").wait_for()
