"""`sampoll report`, as people see it in a browser, from a file."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.browsers import WIDTHS, chromium, page_of
from support.folders import BOX, Folders, drop_pair
from support.process import sampoll

BOXES = ("--model", "support.fakes:boxes")
SCRIPT = "<script>alert(1)</script>"
RESULTS = 1000


@dataclass(frozen=True)
class Written:
    """An output with a report, and the output of the command."""

    folders: Folders
    said: str

    @property
    def url(self) -> str:
        return (self.folders.output / "report.html").as_uri()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A thousand results, and a failed pair; some have HTML in their names and labels."""
    root = tmp_path_factory.mktemp("report")
    folders = Folders(root / "in", root / "out")
    folders.input.mkdir()
    drop_pair(folders.input, "cat", {"prompts": [{**BOX, "label": SCRIPT}, BOX]})
    drop_pair(folders.input, "<img src=x onerror=alert(2)> & 'quoted' \"#?%41", {**BOX, "label": "odd"})
    drop_pair(folders.input, "<b>bad", {**BOX, SCRIPT: 1})
    run = sampoll("run", *folders.flags, *BOXES, "--overlay")
    assert run.stdout.startswith("2 done, 1 failed"), run.stderr
    _copy_records(folders.output, RESULTS - 2)
    report = sampoll("report", folders.output, "--input", folders.input)
    assert report.returncode == 0, report.stderr
    return Written(folders, report.stdout)


def _copy_records(output: Path, count: int) -> None:
    """More results like that of cat, each with another score and size."""
    record, overlay = json.loads((output / "cat.json").read_text()), (output / "overlay/cat.jpg").read_bytes()
    for number in range(count):
        name = f"copy {number}"
        meta = {
            **record["meta"],
            "scores": json.dumps([[number / count, 0.0]]),
            "image_size": json.dumps({"width": 100 + number, "height": 10}),
            "files": json.dumps({f"overlay/{name}.jpg": ""}),
        }
        (output / f"{name}.json").write_text(json.dumps({**record, "id": name, "meta": meta}))
        (output / "overlay" / f"{name}.jpg").write_bytes(overlay)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Browser, written: Written) -> Iterator[Page]:
    with page_of(browser, written.url, WIDTHS[request.param]) as page:
        yield page


def names_shown(page: Page) -> list[str]:
    return page.locator("#gallery li:not([hidden]) h3").all_text_contents()


def test_the_command_prints_the_path_and_the_content_of_the_report(written: Written) -> None:
    assert written.said == f"{written.folders.output / 'report.html'}: 1000 results, 1 failed pairs\n"


def test_nothing_is_wider_than_the_window_and_everything_is_there(page: Page) -> None:
    assert page.title() == "sampoll: 1000 results"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#gallery li").count() == RESULTS
    assert page.locator("h1").text_content() == "1000 results, 1 failed"
    stages = page.locator("section[aria-labelledby=stages] tbody td:first-child").all_text_contents()
    assert stages == ["image decoding", "embedding", "mask decoding"]


def test_names_labels_and_errors_are_text_whatever_they_look_like(page: Page) -> None:
    assert page.locator("#gallery script, #gallery b, [onerror]").count() == 0
    card = page.locator("#gallery li[data-name=cat]")
    assert f"{SCRIPT}, object" in (card.text_content() or "")
    assert page.locator("td.message").evaluate("cell => cell.getBoundingClientRect().right <= innerWidth")
    failed = page.locator("section[aria-labelledby=failed] tbody tr").all_text_contents()
    assert len(failed) == 1
    assert failed[0].startswith("<b>bad")
    assert f"bad-prompt: <b>bad.json: {SCRIPT}: is not a known key" in failed[0]


def test_pictures_are_loaded_when_they_come_into_view_also_those_of_odd_names(page: Page) -> None:
    loaded = "image => image.complete && image.naturalWidth > 0"
    everywhere = f"Array.from(document.images).filter({loaded}).length"
    page.wait_for_function(f"{everywhere} > 0")
    assert page.evaluate(everywhere) < RESULTS / 2
    odd = page.locator("#gallery li", has_text="quoted").locator("img")
    odd.scroll_into_view_if_needed()
    page.wait_for_function(loaded, arg=odd.element_handle())
    assert odd.get_attribute("loading") == "lazy"
    assert not re.match(r"[a-z]+:|/", odd.get_attribute("src") or "")


def test_a_search_looks_for_all_words_in_names_and_labels(page: Page) -> None:
    page.get_by_label("Search").fill("COPY 99")
    assert len(names_shown(page)) == 17  # 99, 199, ... 899, and 990 to 997
    assert page.locator("#count").text_content() == "17 shown"

    page.get_by_label("Search").fill("odd")
    assert len(names_shown(page)) == 1

    page.get_by_label("Search").fill("<script>")
    assert "cat" in names_shown(page)

    page.get_by_label("Search").fill("")
    assert len(names_shown(page)) == RESULTS


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("name", "<img src=x"),
        ("score", "copy 0"),
        ("-score", "copy 997"),
        ("-pixels", "copy 997"),
        ("-objects", "cat"),
    ],
)
def test_results_can_be_sorted(page: Page, key: str, first: str) -> None:
    page.get_by_label("Sort by").select_option(key)

    shown = names_shown(page)
    assert len(shown) == RESULTS
    assert shown[0].startswith(first)


def test_an_output_without_results_has_a_report_that_says_so(browser: Browser, tmp_path: Path) -> None:
    run = sampoll("report", tmp_path)

    assert run.stdout == f"{tmp_path / 'report.html'}: 0 results\n"
    with page_of(browser, (tmp_path / "report.html").as_uri(), 390) as page:
        assert page.locator("h1").text_content() == "0 results"
        assert "Failed pairs are in the input, which was not given" in (page.text_content("body") or "")


def test_a_result_without_an_overlay_shows_its_mask(folders: Folders) -> None:
    drop_pair(folders.input, "cat")
    sampoll("run", *folders.flags, *BOXES)

    sampoll("report", folders.output)

    assert '<img src="cat.png"' in (folders.output / "report.html").read_text()


def test_without_an_output_there_is_no_report(tmp_path: Path) -> None:
    run = sampoll("report", tmp_path / "none")

    assert (run.returncode, run.stderr) == (66, f"sampoll: no output directory {tmp_path / 'none'}\n")
