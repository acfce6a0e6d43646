"""Makes the pictures of README, front page and quickstart with sampoll: `python docs/pictures.py`.

With --check, compares them.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
ON_GITHUB = '<img src="docs/images/{file}" width="400" alt="{alt}">'
ON_THE_SITE = '![{alt}](images/{file}){{ width="400" }}'
PAGES = {README: ON_GITHUB, DOCS / "index.md": ON_THE_SITE, DOCS / "quickstart.md": ON_THE_SITE}
"""The pages that show the pictures, and how each names one."""
BEGIN, END = "<!-- made by docs/pictures.py: begin -->\n", "<!-- made by docs/pictures.py: end -->\n"

PHOTOGRAPH, OVERLAY = "coffee.jpg", "coffee-overlay.jpg"
ALT = {
    PHOTOGRAPH: "A photograph: a cup of coffee and a spoon on a red saucer, on a wooden table.",
    OVERLAY: "The same photograph: the prompt's box is drawn in white around the saucer, the mask in blue "
    "over cup, saucer and spoon, up to their edges.",
}
MAX_DIFFERENCE = 1.0
"""Mean difference of pixels up to which pictures are the same: versions of OpenCV round differently."""


@dataclass(frozen=True)
class Example:
    """The demo's photograph with its prompt, and what sampoll made of them."""

    pictures: Mapping[str, bytes]
    prompt: str
    model: str


def example() -> Example:
    """What the commands of the quickstart read and write."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        for command in ("demo .", "run in out --model grabcut --overlay"):
            arguments = [sys.executable, "-m", "sampoll", *command.split()]
            subprocess.run(arguments, cwd=here, check=True, capture_output=True)
        record = json.loads((here / "out" / "coffee.json").read_bytes())
        return Example(
            {
                PHOTOGRAPH: (here / "in" / "done" / "coffee.jpg").read_bytes(),
                OVERLAY: (here / "out" / "overlay" / "coffee.jpg").read_bytes(),
            },
            json.dumps(json.loads((here / "in" / "done" / "coffee.json").read_bytes())),
            record["meta"]["model"],
        )


def figure(made: Example, picture: str) -> str:
    """The photograph, its result beside it or below it, its prompt, and a caption, as Markdown."""
    pictures = "\n".join(picture.format(file=file, alt=ALT[file]) for file in made.pictures)
    return f"""
{pictures}

```json
{made.prompt}
```

*`coffee.jpg`, and what `sampoll run --overlay` makes of it with the model {made.model}, which needs no
weights, and this prompt, `coffee.json`. Photograph: Rachel Michetti, CC0, from scikit-image.*

"""


def outdated(made: Example) -> Iterator[tuple[Path, bytes]]:
    """Each picture and page that is not as it should be, and its content as it should be."""
    for file, content in made.pictures.items():
        if not is_same_picture(path := DOCS / "images" / file, content):
            yield path, content
    for page, picture in PAGES.items():
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        right = f"{before}{BEGIN}{figure(made, picture)}{END}{rest.partition(END)[2]}"
        if text != right:
            yield page, right.encode()


def is_same_picture(path: Path, content: bytes) -> bool:
    if not path.exists():
        return False
    old, new = (cv2.imdecode(np.frombuffer(file, np.uint8), 1) for file in (path.read_bytes(), content))
    return old.shape == new.shape and float(cv2.absdiff(old, new).mean()) <= MAX_DIFFERENCE


def main() -> int:
    """The exit code: 1 if --check finds a picture or a page that is not as it should be."""
    checks = "--check" in sys.argv
    found = list(outdated(example()))
    for path, content in found:
        sys.stdout.write(f"{path.name} is {'outdated' if checks else 'made'}\n")
        if not checks:
            path.write_bytes(content)
    return int(bool(found) and checks)


if __name__ == "__main__":
    sys.exit(main())
