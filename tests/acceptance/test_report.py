"""`sampoll report`, as people see it in a browser, from a file."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.axe import violations
from support.browsers import SCHEMES, WIDTHS, Scheme, chromium, page_of
from support.folders import BOX, Folders, drop_pair, names_in
from support.process import sampoll, until

BOXES = ("--model", "support.fakes:boxes")
SCRIPT = "<script>alert(1)</script>"
BIDI = "\u202egpj.exe"
RESULTS = 1000
IS_LOADED = "image => image.complete && image.naturalWidth > 0"


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
    """A thousand results and a failed pair: two pages. Some have HTML in their names and labels."""
    root = tmp_path_factory.mktemp("report")
    folders = Folders(root / "in", root / "out")
    folders.input.mkdir()
    drop_pair(folders.input, "cat", {"prompts": [{**BOX, "label": SCRIPT}, {**BOX, "label": BIDI}]})
    drop_pair(folders.input, "<img src=x onerror=alert(2)> & 'quoted' \"#?%41", {**BOX, "label": "odd"})
    drop_pair(folders.input, "<b>bad", {**BOX, SCRIPT: 1})
    run = sampoll("run", *folders.flags, *BOXES, "--overlay")
    assert run.stdout.startswith("2 done, 1 failed"), run.stderr
    _copy_records(folders.output, RESULTS - 2)
    report = sampoll("report", folders.output, "--input", folders.input)
    assert report.returncode == 0, report.stderr
    return Written(folders, report.stdout)


def _copy_records(output: Path, count: int) -> None:
    """More results like that of cat, each with another score."""
    record, overlay = json.loads((output / "cat.json").read_text()), (output / "overlay/cat.jpg").read_bytes()
    prompts = json.dumps([{**BOX, "label": "copied"}, {**BOX, "label": "twice"}])
    for number in range(count):
        name = f"copy {number}"
        meta = {
            **record["meta"],
            "prompts": prompts,
            "scores": json.dumps([[number / count], [0.25]]),
            "files": json.dumps({f"overlay/{name}.jpg": ""}),
        }
        (output / f"{name}.json").write_text(json.dumps({**record, "id": name, "meta": meta}))
        (output / "overlay" / f"{name}.jpg").write_bytes(overlay)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, written: Written) -> Iterator[Page]:
    with page_of(browser, written.url, WIDTHS["desktop"]) as page:
        yield page


def wait_for(page: Page, condition: str) -> None:
    """Waits for a condition in JavaScript. Not by `page.wait_for_function`, which the page's policy stops."""
    until(lambda: page.evaluate(condition), condition)


def names_shown(page: Page) -> list[str]:
    return page.locator("#gallery li:not([hidden]) h3").all_text_contents()


def test_the_command_prints_the_path_and_the_content_of_the_report(written: Written) -> None:
    assert written.said == f"{written.folders.output / 'report.html'}: 1000 results, 1 failed pair\n"


def test_the_pages_have_no_script_and_no_style_but_in_files(written: Written) -> None:
    output = written.folders.output
    for path in (output / "report.html", output / "report/2.html"):
        text = path.read_text()
        assert "default-src 'none'" in text
        assert "unsafe" not in text
        tags = re.sub('"[^"]*"', '""', text)
        assert re.findall(r"<script(?! src=)|<style|\sstyle=|<[^>]*\son[a-z]+=", tags) == []
    assert names_in(output / "report") == ["2.html", "data", "pictures", "report.css", "report.js"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_everybody_can_use_it(
    browser: Browser, folders: Folders, width: str, scheme: Scheme
) -> None:
    _drop_examples(folders)
    with page_of(browser, (folders.output / "report.html").as_uri(), WIDTHS[width], scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("summary").first.click()
        assert violations(page) == []

        page.locator("a.picture").last.click()
        page.locator("#facts .masks button").first.click()

        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []


def _drop_examples(folders: Folders) -> None:
    """A report about a result of two labels, one with a skipped prompt, and a failed pair."""
    drop_pair(folders.input, "bad", {"bx": 1})
    drop_pair(folders.input, "some", {"prompts": [BOX, {"box": {"x0": 1, "y0": 1, "x1": 0, "y1": 2}}]})
    drop_pair(folders.input, "two", {"prompts": [{**BOX, "label": "cat"}, {**BOX, "label": "dog"}]})
    sampoll("run", *folders.flags, *BOXES, "--on-bad-prompt", "skip")
    report = sampoll("report", folders.output, "--input", folders.input)
    assert report.stdout.endswith("2 results, 1 failed pair\n"), report.stderr


def test_names_labels_and_errors_are_text_whatever_they_look_like(page: Page) -> None:
    assert page.title() == "sampoll: 1,000 results, page 1 of 2"
    assert page.locator("h1").text_content() == "1,000 results, 1 failed pair"
    assert page.locator("#gallery script, #gallery b b, #gallery h3 *, [onerror]").count() == 0
    card = page.locator("#gallery li[data-name=cat]").text_content() or ""
    assert SCRIPT in card
    assert r"\u202egpj.exe" in card
    assert "\u202e" not in page.content()
    failed = page.locator("#gallery li.failed").all_text_contents()
    assert len(failed) == 1
    assert "<b>bad" in failed[0]
    assert f"<b>bad.json: {SCRIPT}: is not a known key" in failed[0]


def test_labels_are_counted_and_lead_to_their_results(page: Page) -> None:
    link = page.locator("tbody th a", has_text="odd")
    row = page.locator("tr", has=page.locator("a", has_text="odd"))
    figures = [figure.strip() for figure in row.locator("td").all_inner_texts()]
    # masks, results, mean score, mean area, smallest and largest area, share of 32 x 24 pixels
    assert figures[:2] + figures[3:] == ["1", "1", "192", "192", "192", "25.0 %"]

    link.click()

    wait_for(page, "document.getElementById('label').value === 'odd'")
    assert len(names_shown(page)) == 1
    assert "None on other pages." in (page.locator("#elsewhere").text_content() or "")


def test_pictures_are_loaded_when_they_come_into_view_also_those_of_odd_names(page: Page) -> None:
    everywhere = f"Array.from(document.images).filter({IS_LOADED}).length"
    wait_for(page, f"{everywhere} > 0")
    assert page.evaluate(everywhere) < RESULTS / 2
    odd = page.locator("#gallery li", has_text="quoted").locator("img")
    odd.scroll_into_view_if_needed()
    until(lambda: odd.evaluate(IS_LOADED), "the picture")
    assert odd.get_attribute("loading") == "lazy"
    assert not re.match(r"[a-z]+:|/", odd.get_attribute("src") or "")


def test_filters_look_for_all_words_and_for_one_mask_with_label_and_score(page: Page) -> None:
    page.locator("#text").fill("COPY 98")
    assert len(names_shown(page)) == 19  # 98, 198, ... 898, and 980 to 989

    page.locator("#label").select_option("twice")
    assert len(names_shown(page)) == 19
    page.locator("#from").fill("0.9")
    assert names_shown(page) == []  # these scores belong to masks of the other label
    page.locator("#label").select_option("copied")
    assert len(names_shown(page)) == 11  # 980 to 989, and 898, whose score is shown as 0.900
    page.locator("#to").fill("0.95")
    assert names_shown(page) == ["copy 898"]

    page.locator("button[type=reset]").click()
    until(lambda: len(names_shown(page)) == 1000, "all cards")
    page.locator("#text").fill("<script> not a known key")
    assert names_shown(page) == ["<b>bad"]


def test_failed_pairs_can_be_shown_alone_or_left_out(page: Page) -> None:
    page.locator("#show").select_option("failed pairs")
    assert names_shown(page) == ["<b>bad"]

    page.locator("#show").select_option("results")
    assert "<b>bad" not in names_shown(page)
    assert page.locator("#count").text_content() == "999 of 1,000 shown on this page"


def test_what_a_filter_finds_on_other_pages_is_a_link_that_keeps_it(page: Page) -> None:
    page.locator("#text").fill("copy 99")
    page.locator("#sort").select_option("lowest score first")

    page.locator("#elsewhere a", has_text="page 2 (1)").click()

    page.wait_for_url("**/report/2.html#*")
    until(lambda: len(names_shown(page)) == 1, "the filter")
    assert names_shown(page) == ["copy 997"]
    page.locator("#elsewhere a", has_text="page 1 (16)").click()
    until(lambda: len(names_shown(page)) == 16, "the filter")
    assert names_shown(page)[:2] == ["copy 99", "copy 199"]


def test_links_to_many_other_pages_stay_within_the_window(browser: Browser, written: Written) -> None:
    with page_of(browser, written.url, WIDTHS["phone"]) as page:
        page.locator("#text").fill("copy")
        until(lambda: page.locator("#elsewhere a").count() == 1, "what is on page 2")
        page.evaluate(
            "const link = document.querySelector('#elsewhere a');"
            "for (let more = 0; more < 30; more++) link.after(link.cloneNode(true))"
        )

        assert page.evaluate("document.querySelector('#elsewhere').scrollWidth <= innerWidth")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_results_can_be_sorted(page: Page) -> None:
    firsts = {}
    for key in ("", "lowest", "-highest", "-masks", "-at"):
        page.locator("#sort").select_option(key)
        shown = names_shown(page)
        assert len(shown) == 1000
        firsts[key] = shown[0]

    assert firsts[""] == "<b>bad"
    assert firsts["lowest"] == "copy 0"
    assert firsts["-highest"] == "copy 996"
    assert firsts["-masks"] == "cat"


def test_a_picture_is_opened_enlarged_and_left_by_the_keyboard(browser: Browser, folders: Folders) -> None:
    _drop_examples(folders)
    with page_of(browser, (folders.output / "report.html").as_uri(), WIDTHS["desktop"]) as page:
        page.keyboard.press("Tab")
        for _ in range(30):
            if page.evaluate("document.activeElement.matches('li.result:nth-child(3) a.picture')"):
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        wait_for(page, "document.getElementById('viewer').open")
        until(lambda: page.locator("#large").evaluate(IS_LOADED), "the picture")
        assert page.locator("#viewer h2").text_content() == "two"

        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.locator("#scale").text_content() == "225 %"
        before = page.evaluate("document.getElementById('stage').scrollLeft")
        page.keyboard.press("ArrowRight")
        wait_for(page, f"document.getElementById('stage').scrollLeft > {before}")

        page.keyboard.press("0")
        page.keyboard.press("ArrowLeft")
        assert page.locator("#viewer h2").text_content() == "some"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")  # to the masks
        page.keyboard.press("Tab")  # to the first of them
        page.keyboard.press("Enter")
        assert page.locator("#frame").is_visible()
        page.keyboard.press("Escape")

        assert not page.evaluate("document.getElementById('viewer').open")
        assert page.evaluate("document.activeElement.closest('li').dataset.name") == "two"


def test_a_failed_pair_has_its_image_and_the_command_that_retries_it(folders: Folders) -> None:
    drop_pair(folders.input, "it's -- bad", {"bx": 1})
    sampoll("run", *folders.flags, *BOXES)

    sampoll("report", folders.output, "--input", folders.input)

    text = (folders.output / "report.html").read_text()
    [picture] = re.findall(r'<img src="([^"]+)"', text)
    assert (folders.output / picture).read_bytes().startswith(b"\xff\xd8")
    [command] = re.findall(r"<code>(sampoll failed [^<]+)</code>", text)
    retry = sampoll(*shlex.split(command.replace("&#39;", "'").replace("&#34;", '"'))[1:])
    assert retry.stdout.startswith("1 to be tried again"), retry.stderr


def test_an_output_without_results_has_a_report_that_says_so(browser: Browser, tmp_path: Path) -> None:
    run = sampoll("report", tmp_path)

    assert run.stdout == f"{tmp_path / 'report.html'}: 0 results\n"
    with page_of(browser, (tmp_path / "report.html").as_uri(), 390) as page:
        assert page.locator("h1").text_content() == "0 results"
        assert "Failed pairs are in the input, which was not given" in (page.text_content("body") or "")
        assert violations(page) == []


def test_a_report_is_refused_where_another_program_has_its_names(folders: Folders) -> None:
    folders.output.mkdir()
    (folders.output / "report.html").write_text("mine")

    run = sampoll("report", folders.output)

    assert run.returncode == 73
    assert (
        "report.html was not written by sampoll, or was changed since: move it away, then run sampoll report"
        in run.stderr
    )
    assert (folders.output / "report.html").read_text() == "mine"
    assert names_in(folders.output) == ["report.html"]


def test_without_an_output_there_is_no_report(tmp_path: Path) -> None:
    run = sampoll("report", tmp_path / "none")

    assert (run.returncode, run.stderr) == (66, f"sampoll: no output directory {tmp_path / 'none'}\n")
