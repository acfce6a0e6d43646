"""The annotation page in a real browser: by mouse, by keyboard alone, and with the rules of axe-core."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from support.annotating import ROOT, Served, annotating, draft_of
from support.axe import violations
from support.browsers import WIDTHS, chromium, page_of
from support.folders import names_in
from support.http_serving import client_of
from support.images import encoded
from support.process import running_sampoll, until

from sampoll.app.annotate import previews
from sampoll.app.annotate.drafts import Drafts
from sampoll.app.annotate.folder import ImageFolder

LEFT, TOP, RIGHT, BOTTOM = 40, 30, 110, 90
"""The object in the images of these tests."""
STAGE_MARGIN = 8


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images with a red ellipse on a green ground."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    pixels = np.full((120, 160, 3), (40, 120, 60), np.uint8)
    centre = ((LEFT + RIGHT) // 2, (TOP + BOTTOM) // 2)
    cv2.ellipse(pixels, centre, ((RIGHT - LEFT) // 2, (BOTTOM - TOP) // 2), 0, 0, 360, (200, 40, 40), -1)
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").write_bytes(encoded(pixels))
    return folder


class Opened:
    """The page, as a person sees it who knows where the pixels of the image are."""

    def __init__(self, page: Page, width: int = 160, height: int = 120) -> None:
        self.page = page
        self._size = (width, height)

    def hears(self, text: str | re.Pattern[str]) -> None:
        """Waits for what the page says."""
        expect(self.page.locator("#said")).to_contain_text(text)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where the middle of a pixel of the image is on the screen, while the whole image is shown."""
        frame: Any = self.page.evaluate(
            """() => {
                const stage = document.getElementById('stage');
                const { left, top } = stage.getBoundingClientRect();
                const { clientLeft, clientTop, clientWidth, clientHeight } = stage;
                return [left + clientLeft, top + clientTop, clientWidth, clientHeight];
            }"""
        )
        left, top, width, height = frame
        scale = min((width - 2 * STAGE_MARGIN) / self._size[0], (height - 2 * STAGE_MARGIN) / self._size[1])
        return (
            left + (width - self._size[0] * scale) / 2 + (x + 0.5) * scale,
            top + (height - self._size[1] * scale) / 2 + (y + 0.5) * scale,
        )

    def click(self, x: float, y: float, *, right: bool = False) -> None:
        self.page.mouse.click(*self.place(x, y), button="right" if right else "left")

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.page.mouse.move(*self.place(x0 - 0.5, y0 - 0.5))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(x1 - 0.5, y1 - 0.5), steps=3)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def colour(self, x: float, y: float) -> list[int]:
        """What is shown at a pixel of the image, in BGR."""
        left, top = self.place(x, y)
        picture = self.page.screenshot(clip={"x": left, "y": top, "width": 1, "height": 1})
        pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        return list(pixels[0, 0])

    @property
    def objects(self) -> list[str]:
        return self.page.locator(".object .choose").all_inner_texts()


@contextmanager
def shown(browser: Browser, served: Served, width: int = WIDTHS["desktop"]) -> Iterator[Opened]:
    """The page with its first image."""
    with page_of(browser, served.address, width, home=served.url) as page:
        opened = Opened(page)
        opened.hears("120 pixels")
        yield opened


def prompts_in(path: Path) -> Any:
    return json.loads(path.read_bytes())["prompts"]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_an_object_is_marked_by_mouse_and_becomes_a_prompt_file_masks_and_coco(
    browser: Browser, folder: Path, tmp_path: Path, width: int
) -> None:
    output = tmp_path / "out"
    with (
        annotating(folder, model="grabcut", output=output) as served,
        shown(browser, served, width) as opened,
    ):
        page = opened.page
        page.locator("#stage").scroll_into_view_if_needed()
        before = opened.colour(75, 60)

        opened.drag(36, 26, 114, 94)
        opened.hears("Mask, score")
        assert opened.colour(75, 60) != before
        opened.click(75, 60)
        opened.click(10, 10, right=True)
        opened.hears("Mask, score")
        page.get_by_label("Label of this object").fill("ball")
        page.get_by_label("Label of this object").press("Enter")
        page.get_by_role("button", name="New object").click()
        page.get_by_label("corner of a box").check()
        page.locator("#stage").scroll_into_view_if_needed()
        opened.click(20, 20)
        opened.hears("First corner of a box")
        opened.click(119, 99)
        opened.hears("Mask, score")
        page.get_by_role("button", name="Done").click()
        opened.hears("a.json is written, and a.0.png, a.1.png, a.json")
        expect(page.locator("#image-title")).to_have_text("b.png")
        if width == WIDTHS["phone"]:
            page.get_by_role("button", name="Choose an image").click()
        page.get_by_role("option", name="c.png").click()
        opened.hears("c.png")
        expect(page.get_by_role("listbox")).to_be_visible(visible=width != WIDTHS["phone"])

        ball, second = prompts_in(folder / "a.json")
        assert ball["label"] == "ball"
        assert abs(np.array([*ball["box"].values()]) - [36, 26, 114, 94]).max() <= 1
        assert ball["points"] == [{"x": 75, "y": 60, "label": 1}, {"x": 10, "y": 10, "label": 0}]
        assert second == {"box": {"x0": 20, "y0": 20, "x1": 120, "y1": 100}}
    mask = cv2.imread(str(output / "a.0.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert (mask > 0).sum() == pytest.approx(np.pi * 35 * 30, rel=0.1)


def test_a_whole_annotation_is_done_by_keyboard_alone(browser: Browser, folder: Path) -> None:
    with annotating(folder) as served, shown(browser, served) as opened:
        expect(opened.page.locator("#stage")).to_be_focused()
        opened.press(*["Shift+ArrowLeft"] * 5, *["Shift+ArrowUp"] * 3, "x")
        opened.hears("First corner of a box at 75, 57")
        opened.press(*["Shift+ArrowRight"] * 9, *["Shift+ArrowDown"] * 4, "x")
        opened.hears("Mask, score 0.50")
        opened.press("l")
        opened.page.keyboard.type("cup")
        opened.press("Enter", "b", "u", "u", "r", "n", "o")
        opened.hears("Mask, score 0.50")
        opened.press("?")
        expect(opened.page.get_by_role("dialog")).to_be_visible()
        opened.press("Escape", "[", "]", "Backspace", "u", "d")
        opened.hears("a.json is written. Now: b.png")
        expect(opened.page.locator("#stage")).to_be_focused()
        opened.press(".")
        opened.hears("c.png")
        opened.press(".")
        opened.hears("This is the last image.")
        opened.press("i", "Home", "Enter")
        opened.hears("a.png")
    assert prompts_in(folder / "a.json") == [
        {"box": {"x0": 75, "y0": 57, "x1": 85, "y1": 62}, "label": "cup"},
        {"points": [{"x": 84, "y": 61, "label": 1}]},
    ]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_all_controls_are_reached_by_tab_in_the_order_in_which_they_are_seen(
    browser: Browser, folder: Path, width: int
) -> None:
    of_list = ["show-images"] if width == WIDTHS["phone"] else ["search", "unfinished", "list"]
    with annotating(folder) as served, shown(browser, served, width) as opened:
        opened.page.locator("#stage").scroll_into_view_if_needed()
        opened.click(75, 60)
        opened.hears("Mask, score")
        opened.page.locator("#show-help").focus()
        reached = []
        for _ in range(30):
            reached.append(
                opened.page.evaluate(
                    "document.activeElement.id || document.activeElement.value"
                    " || document.activeElement.className"
                )
            )
            opened.press("Tab")
        order = ["show-help", *of_list, "object", "undo", "stage", "choose", "remove"]
        order += ["new", "label", "previous", "next", "done", "discard"]
        places = [reached.index(name) for name in order]
        assert places == sorted(places)


@pytest.mark.parametrize("width", WIDTHS.values())
def test_the_page_fits_the_window_and_breaks_no_rule_of_axe(
    browser: Browser, folder: Path, width: int
) -> None:
    (folder / "a.json").write_text('{"points": []}')
    with annotating(folder, model="support.fakes:words") as served, shown(browser, served, width) as opened:
        opened.click(75, 60)
        opened.hears("Mask, score")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(opened.page) == []
        opened.press("?")
        expect(opened.page.get_by_role("dialog")).to_be_visible()
        assert violations(opened.page) == []


def test_zoomed_and_moved_a_click_marks_the_pixel_under_it(
    browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "PREVIEW_SIDE", 40)  # a quarter of the image's pixels
    with annotating(folder) as served, shown(browser, served) as opened:
        x, y = opened.place(100, 80)
        opened.page.mouse.move(x, y)
        opened.page.mouse.wheel(0, -300)
        opened.page.mouse.down(button="middle")
        opened.page.mouse.move(x - 60, y + 30, steps=2)
        opened.page.mouse.up(button="middle")
        opened.page.mouse.click(x - 60, y + 30)
        opened.hears("Mask, score")
        opened.page.get_by_role("button", name="Fit").click()
        opened.click(20, 30)
        opened.hears("Mask, score")
        opened.page.get_by_role("button", name="Done").click()
        opened.hears("is written")
    first, second = prompts_in(folder / "a.json")[0]["points"]
    assert (first, second) == ({"x": 100, "y": 80, "label": 1}, {"x": 20, "y": 30, "label": 1})


def test_what_was_marked_is_there_again_after_the_page_and_the_command_have_ended(
    browser: Browser, folder: Path
) -> None:
    with annotating(folder) as served, shown(browser, served) as opened:
        opened.click(75, 60)
        expect(opened.page.locator("#saved")).to_have_text("The draft is saved.")
        opened.page.reload()
        opened.hears("120 pixels. 1 object.")
        assert "token" not in opened.page.url
    with annotating(folder) as served, shown(browser, served) as opened:
        expect(opened.page.locator("#saved")).to_have_text("This is a draft.")
        assert len(opened.objects) == 1
        opened.page.get_by_role("button", name="Discard draft").click()
        opened.hears("The draft is discarded.")
        assert opened.objects == []
    assert names_in(folder) == ["a.png", "b.png", "c.png"]


def test_a_prompt_file_that_is_there_is_shown_and_corrected(browser: Browser, folder: Path) -> None:
    (folder / "a.json").write_text(
        '{"box": {"x0": 1, "y0": 2, "x1": 30, "y1": 40}, "label": "old", "id": "7"}'
    )
    with annotating(folder) as served, shown(browser, served) as opened:
        expect(opened.page.locator(".object")).to_contain_text("1 old")
        expect(opened.page.locator(".object")).to_contain_text("box 0.50")
        opened.click(75, 60)
        opened.press("l", "Control+a")
        opened.page.keyboard.type("new")
        opened.press("Control+Enter")
        opened.hears("a.json is written")
    assert prompts_in(folder / "a.json") == [
        {
            "box": {"x0": 1, "y0": 2, "x1": 30, "y1": 40},
            "label": "new",
            "id": "7",
            "points": [{"x": 75, "y": 60, "label": 1}],
        }
    ]


def test_words_are_looked_for_where_the_model_takes_them(browser: Browser, folder: Path) -> None:
    with annotating(folder, model="support.fakes:words") as served, shown(browser, served) as opened:
        opened.click(75, 60)
        opened.press("w")
        opened.page.keyboard.type("cat dog")
        opened.press("Enter")
        opened.hears("2 masks, best score 0.90.")
        opened.click(76, 60)
        opened.hears("Mask, score")
        opened.press("d")
        opened.hears("is written")
    assert [[*prompt] for prompt in prompts_in(folder / "a.json")] == [
        ["points"],
        ["text"],
        ["points"],
    ]
    with annotating(folder) as served, shown(browser, served) as opened:
        expect(opened.page.locator("#words-form")).to_be_hidden()
        expect(opened.page.locator(".object", has_text="cat dog")).to_contain_text("not for this model")
        expect(opened.page.locator(".object").first).to_contain_text("0.50")


def test_what_goes_wrong_is_said_and_nothing_is_lost(browser: Browser, folder: Path) -> None:
    with annotating(folder) as served:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(served.address)
        opened = Opened(page)
        opened.hears("120 pixels")
        opened.click(75, 60)
        opened.hears("Mask, score")
        (folder / "a.json").write_text("of someone else")
        opened.press("d")
        opened.hears("a.json: is not JSON")
        (folder / "a.json").unlink()
        image = (folder / "a.png").read_bytes()
        (folder / "a.png").unlink()
        opened.press("d")
        opened.hears("a.png: has gone")
        (folder / "a.png").write_bytes(image)
        opened.press(".")
        opened.hears("b.png")
        (folder / "c.png").write_bytes(b"no image")
        opened.press(".")
        opened.hears("c.png: is no image that can be read")
        opened.press("i", "Home", "Enter")
        opened.hears("120 pixels. 1 object.")
        page.context.set_offline(True)
        opened.click(10, 10)
        opened.hears("The command does not answer")
        expect(page.locator("#saved")).to_have_text("The draft is not saved.")
        page.context.set_offline(False)
        opened.click(20, 20)
        expect(page.locator("#saved")).to_have_text("The draft is saved.")
        opened.press("d")
        opened.hears("a.json is written")
        page.close()
    assert len(prompts_in(folder / "a.json")[0]["points"]) == 3


def test_a_second_window_is_told_that_the_first_has_changed_the_image(browser: Browser, folder: Path) -> None:
    with annotating(folder) as served, shown(browser, served) as opened:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(served.address)
        second = Opened(page)
        second.hears("120 pixels")
        opened.click(75, 60)
        expect(opened.page.locator("#saved")).to_have_text("The draft is saved.")
        second.click(10, 10)
        second.hears("a.png: was changed in another window")
        page.close()


def test_without_the_token_the_page_shows_nothing_of_the_folder(browser: Browser, folder: Path) -> None:
    with annotating(folder) as served, page_of(browser, f"{served.url}/", 1440, home=served.url) as page:
        Opened(page).hears("needs the whole address")
        assert "photographs" not in page.content()
        assert violations(page) == []


def test_of_a_large_folder_only_the_rows_in_sight_exist(
    browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*(f"{name}.png" for name in "abc"), *(f"img{number:06}.png" for number in range(100_000))]
    monkeypatch.setattr(ImageFolder, "_images", lambda _: ((name, False) for name in names))
    with annotating(folder) as served, shown(browser, served) as opened:
        page = opened.page
        expect(page.locator("#counts")).to_have_text("100003 images, 0 done")
        assert page.locator(".image").count() < 60
        opened.press("i", "End")
        expect(page.locator(".image", has_text="img099999.png")).to_be_visible()
        page.get_by_label("Search").fill("IMG05432")
        expect(page.locator("#counts")).to_have_text("10 found, 100003 images, 0 done")
        expect(page.locator(".image")).to_have_count(10)


def test_the_command_shows_the_token_to_its_user_alone(folder: Path, tmp_path: Path) -> None:
    opener, log = tmp_path / "opener", tmp_path / "log"
    opener.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/opened.part; mv {tmp_path}/opened.part {tmp_path}/opened\n'
    )
    opener.chmod(0o700)
    env = {"BROWSER": f"{opener} %s", "SAMPOLL_LOG_LEVEL": "debug", "SAMPOLL_LOG_FORMAT": "json"}
    arguments = ("annotate", folder, "--model", "grabcut")
    with log.open("wb") as file, running_sampoll(*arguments, log=file, env=env) as process:
        until((tmp_path / "opened").exists, "the browser")
        shown_page = Path((tmp_path / "opened").read_text().strip().removeprefix("file://"))
        [token] = re.findall(r"#token=([\w-]{43})", shown_page.read_text())
        assert shown_page.parent.stat().st_mode & 0o077 == 0
        until(lambda: "the model is ready" in log.read_text(), "the model")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    [address] = [line for line in log.read_text().splitlines() if token in line]
    assert re.fullmatch(
        r"http://127.0.0.1:\d+/#token=" + token, address
    )  # on standard output, not in the log
    assert not shown_page.exists()


def test_a_killed_command_has_kept_each_draft_that_it_acknowledged(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ("annotate", folder, "--model", "grabcut", "--no-browser")
    with log.open("wb") as file, running_sampoll(*arguments, log=file) as process:
        until(lambda: "the model is ready" in log.read_text(), "the model")
        [(url, token)] = re.findall(r"(http://\S+)/#token=(\S+)", log.read_text())
        with client_of(url) as client:
            client.headers["Authorization"] = f"Bearer {token}"
            until(lambda: client.get(f"{ROOT}/images").json()["is_complete"], "the list")
            opened = client.get(f"{ROOT}/images/0").json()
            for _ in range(3):
                answer = client.put(f"{ROOT}/images/0/draft", json=draft_of(opened, [{"label": "cat"}]))
                opened |= answer.raise_for_status().json()
        process.send_signal(signal.SIGKILL)
        process.wait()
    draft = Drafts(folder).of("a.png")
    assert draft is not None
    assert (draft.revision, draft.prompts) == (3, ({"label": "cat"},))
