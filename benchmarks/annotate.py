"""How long a click on the annotation page takes until its mask is there, beside the decoder call alone.

    python -m benchmarks.annotate [--models vit_b,mobile_sam,grabcut] [--clicks 100] [--size 1920x1080]
                                  [--browser] [--home DIR] [--json FILE]

The command runs in a process of its own, and has embedded the image. A click sends what the page sends for
it: all points of the object, 1 to 5 of them, and receives the mask. "Decoder alone" is one call of the same
segmenter with the same prompts, in this process, in turns with the clicks. "While embedding" are clicks
during which the next image is embedded. With --browser, the time in Chromium from the release of the button
until the mask is decoded and handed to the drawing.

Weights are random, and masks would be noise: in the place of each comes an ellipse, once the decoder has made
its own. Figures of a busy machine say little: the load is printed.
"""

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from benchmarks.ellipses import ellipse
from benchmarks.measuring import markdown, write_json
from benchmarks.pipeline import photograph
from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import Point, Prompt, RgbImage
from sampoll.core.protocols import CacheableSegmenter, Segmenter
from sampoll.core.results import Mask, ModelInfo
from sampoll.inputs.decode import decode_image
from sampoll.models.registry import find_factory, load_segmenter

IMAGES = 24
CLICKS_A_NEXT = 5
"""So often another image is to be embedded next, where that is measured."""
MODELS = ("vit_b", "mobile_sam", "grabcut")
WARM_UP = 5


class WithEllipses:
    """A segmenter that does all its work, and answers with ellipses."""

    def __init__(self, segmenter: CacheableSegmenter[Any]) -> None:
        self._own = segmenter
        self.embedding_key = f"{segmenter.embedding_key}-ellipses"
        self.embedding_bytes = segmenter.embedding_bytes

    @property
    def info(self) -> ModelInfo:
        return self._own.info

    def embed(self, images: Sequence[RgbImage]) -> list[Any]:
        return self._own.embed(images)

    def decode(self, work: Sequence[tuple[Any, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        self._own.decode(work)
        sizes = [self.image_size(embedding) for embedding, _ in work]
        masks = [Mask.from_array(ellipse(size), 0.9) for size in sizes]
        return [[[mask] for _ in prompts] for mask, (_, prompts) in zip(masks, work, strict=True)]

    def image_size(self, embedding: Any) -> tuple[int, int]:
        return self._own.image_size(embedding)

    def packed(self, embedding: Any) -> Mapping[str, np.ndarray[Any, Any]]:
        return self._own.packed(embedding)

    def unpacked(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
        return self._own.unpacked(arrays)


def _loaded(options: ModelSettings, name: str) -> Segmenter[Any]:
    own = options.model_copy(update={"model": name})
    segmenter = load_segmenter(own, find_factory(own))
    return segmenter if name == "grabcut" else WithEllipses(cast("CacheableSegmenter[Any]", segmenter))


def vit_b(options: ModelSettings) -> Segmenter[Any]:
    return _loaded(options, "vit_b")


def mobile_sam(options: ModelSettings) -> Segmenter[Any]:
    return _loaded(options, "mobile_sam")


def grabcut(options: ModelSettings) -> Segmenter[Any]:
    return _loaded(options, "grabcut")


def write_weights(name: str, path: Path) -> None:
    import torch

    from benchmarks.models import random_sam, random_weights

    torch.save(random_sam(name).state_dict() if name == "vit_b" else random_weights(name), path)


@contextmanager
def page(
    model: str, folder: Path, weights: Sequence[str], env: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """`sampoll annotate`, ready; its URL and its token."""
    module = f"benchmarks.annotate:{model}"
    command = ["annotate", str(folder), "--no-browser", "--model", module, *weights]
    with subprocess.Popen(
        [sys.executable, "-m", "sampoll", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = re.search(r"(http://\S+)/#token=(\S+)", process.stdout.readline())
        assert found is not None
        for line in process.stderr:
            if "ready" in line:
                break
        try:
            yield found[1], found[2]
        finally:
            process.terminate()
            process.communicate()


class Client:
    """Asks as the page does, on one connection."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(url.partition("://")[2])
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"/annotate/v1/{path}", content, self._headers)
        answer = self._connection.getresponse()
        received = answer.read()
        if answer.status >= 300:
            raise RuntimeError(received.decode())
        return received

    def opened(self, number: int) -> Any:
        while not json.loads(self.ask("GET", "images"))["is_complete"]:
            pass
        return json.loads(self.ask("GET", f"images/{number}"))


def prompts_of(count: int, width: int, height: int) -> list[Prompt]:
    random = np.random.default_rng(0)
    return [
        Prompt(
            points=tuple(
                Point(float(random.integers(width)), float(random.integers(height)), int(label > 0))
                for label in range(1 + number % 5, 0, -1)
            )
        )
        for number in range(count)
    ]


def document(prompt: Prompt) -> dict[str, Any]:
    return {"points": [{"x": point.x, "y": point.y, "label": point.label} for point in prompt.points]}


def seconds_of(act: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - begun


def in_chromium(url: str, token: str, clicks: int) -> list[float]:
    """From the release of the button until the page says that the mask is there."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.browsers import chromium

    taken: list[float] = []
    with chromium() as browser:
        shown = browser.new_page(viewport={"width": 1440, "height": 900})
        shown.goto(f"{url}/#token={token}")
        shown.locator("#done:enabled").wait_for()
        shown.evaluate(
            """() => {
                const said = document.getElementById('said');
                window.times = [];
                let begun = 0;
                addEventListener('pointerup', () => { begun = performance.now(); }, true);
                new MutationObserver(() => {
                    if (/mask/i.test(said.textContent) && begun) {
                        window.times.push(performance.now() - begun);
                        begun = 0;
                    }
                }).observe(said, { childList: true });
            }"""
        )
        frame = shown.locator("#stage").bounding_box()
        assert frame is not None
        random = np.random.default_rng(0)
        for number in range(clicks):
            x, y = (float(value) for value in random.uniform(0.3, 0.7, 2))
            if number % 5 == 0:
                shown.keyboard.press("Backspace")  # the next object
            shown.mouse.click(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])
            while len(taken) <= number:
                taken = [each / 1000 for each in shown.evaluate("() => window.times")]
        shown.close()
    return taken


def measured(model: str, options: argparse.Namespace, scratch: Path) -> dict[str, list[float]]:
    width, height = map(int, options.size.split("x"))
    folder = scratch / model
    folder.mkdir()
    content = photograph(width, height)
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    for number in range(IMAGES):
        buffer = io.BytesIO()
        Image.fromarray(np.roll(pixels, number, axis=1)).save(buffer, "JPEG", quality=90)
        (folder / f"{number:02}.jpg").write_bytes(buffer.getvalue())
    home, weights = options.home or scratch / "home", []
    if model != "grabcut":
        write_weights(model, scratch / f"{model}.pt")
        weights = ["--checkpoint", str(scratch / f"{model}.pt")]
    own = ModelSettings(checkpoint=Path(weights[1]) if weights else None, home=home)
    segmenter = globals()[model](own)
    image = decode_image((folder / "00.jpg").read_bytes(), "00.jpg", 10**9)
    [embedding] = segmenter.embed([image])
    prompts = prompts_of(options.clicks + WARM_UP, width, height)
    env = {**os.environ, "SAMPOLL_HOME": str(home), "SAMPOLL_QUIET": "false"}
    seconds: dict[str, list[float]] = {"decoder alone": [], "click": []}
    with page(model, folder, weights, env) as (url, token):
        client = Client(url, token)
        path = f"masks/{client.opened(0)['image_sha256']}"
        for prompt in prompts:
            seconds["decoder alone"].append(seconds_of(segmenter.decode, [(embedding, [prompt])]))
            seconds["click"].append(seconds_of(client.ask, "POST", path, document(prompt)))
        seconds = {name: taken[WARM_UP:] for name, taken in seconds.items()}
        if model != "grabcut":
            seconds["while embedding"] = []
            for number, prompt in enumerate(prompts[WARM_UP:]):
                if number % CLICKS_A_NEXT == 0:
                    client.ask("POST", f"images/{1 + number // CLICKS_A_NEXT % (IMAGES - 1)}/prepare")
                asked = seconds_of(client.ask, "POST", path, document(prompt))
                seconds["while embedding"].append(asked)
        if options.browser:
            seconds["in Chromium"] = in_chromium(url, token, options.clicks)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--clicks", type=int, default=100)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--home", type=Path, help="keeps converted models there for the next time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found, rows = {}, []
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        for model in options.models.split(","):
            found[model] = measured(model, options, Path(scratch))
            for name, taken in found[model].items():
                p50, p99 = (f"{1000 * value:.1f}" for value in np.percentile(taken, (50, 99)))
                rows.append([model, name, len(taken), p50, p99])
    print(markdown(("model", "what", "times", "p50, ms", "p99, ms"), rows))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    write_json(options.json, {"seconds": found, "load": os.getloadavg()})


if __name__ == "__main__":
    main()
