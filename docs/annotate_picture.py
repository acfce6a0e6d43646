"""Makes the picture of the annotation page with sampoll and chromium: `python docs/annotate_picture.py`.

Not compared by a test, because fonts and chromium differ between machines.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "annotate.jpg"
sys.path.insert(0, str(DOCS.parent / "tests"))
SIZE = (1200, 720)
CUP, SPOON = (0.12, 0.03, 0.81, 0.98), (0.52, 0.13, 0.74, 0.85)
"""Boxes in the photograph, as shares of its width and height."""


def drag(page: Page, corners: tuple[float, float, float, float]) -> None:
    """A box in the image, which is shown as a whole, 600 x 400 pixels."""
    frame = page.locator("#canvas").bounding_box()
    assert frame is not None
    scale = min((frame["width"] - 16) / 600, (frame["height"] - 16) / 400)
    left = frame["x"] + (frame["width"] - 600 * scale) / 2
    top = frame["y"] + (frame["height"] - 400 * scale) / 2
    x0, y0, x1, y1 = (share * scale * side for share, side in zip(corners, (600, 400) * 2, strict=True))
    page.mouse.move(left + x0, top + y0)
    page.mouse.down()
    page.mouse.move(left + x1, top + y1, steps=3)
    page.mouse.up()
    expect(page.locator("#said")).to_contain_text("Mask, score")


def label(page: Page, text: str) -> None:
    page.get_by_label("Label of this object").fill(text)
    page.get_by_label("Label of this object").press("Enter")


def main() -> None:
    from support.browsers import chromium

    with tempfile.TemporaryDirectory() as directory, chromium() as browser:
        here = Path(directory)
        sampoll = [sys.executable, "-m", "sampoll"]
        subprocess.run([*sampoll, "demo", "."], cwd=here, check=True, capture_output=True)
        (here / "in").rename(here / "photographs")
        (here / "photographs" / "coffee.json").unlink()
        command = [*sampoll, "annotate", "photographs", "--model", "grabcut", "--no-browser"]
        with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.goto(process.stdout.readline().strip())
            page.get_by_role("option", name=re.compile("coffee")).click()
            expect(page.locator("#image-title")).to_have_text("coffee.jpg")
            drag(page, CUP)
            label(page, "cup")
            page.keyboard.press("n")
            drag(page, SPOON)
            label(page, "spoon")
            expect(page.locator("#saved")).to_have_text("The draft is saved.")
            page.evaluate(
                "() => { document.getElementById('place').textContent = 'photographs, with grabcut'; }"
            )
            page.screenshot(path=PICTURE, type="jpeg", quality=82)
            page.close()
            process.terminate()
    sys.stdout.write(f"{PICTURE.name} is made: {PICTURE.stat().st_size // 1024} KB\n")


if __name__ == "__main__":
    main()
