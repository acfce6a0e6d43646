"""Example pairs: drawn scenes with light, shadow and grain, which have true masks, and a photograph."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sampoll.core.errors import OutputUnavailable, translated_os_errors
from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.core.results import BoolMask, Mask
from sampoll.files.atomic import created_file
from sampoll.files.files import read_if_regular
from sampoll.formats.png import encode
from sampoll.inputs.photograph import photograph
from sampoll.inputs.prompt_file import prompts_document

WIDTH, HEIGHT = 640, 480
SEED = 20

_ORANGE, _BLUE, _RED = (214, 128, 38), (52, 92, 190), (178, 40, 52)


@dataclass(frozen=True)
class DemoPair:
    """A drawn image, its prompts, and for each of them the true mask."""

    name: str
    image: RgbImage
    prompts: tuple[Prompt, ...]
    truths: tuple[BoolMask, ...]


def demo_pairs() -> Iterator[DemoPair]:
    """The same pairs every time: a box, points, both together, and two prompts for one image."""
    ball = _ellipse((220, 270), (92, 92))
    book = _ellipse((420, 260), (120, 64))
    image = _drawn((ball, _ORANGE))
    yield DemoPair("box", image, (Prompt(box=_around(ball), label="ball"),), (ball,))
    yield DemoPair("points", _drawn((book, _BLUE)), (_points((420, 260), (60, 60)),), (book,))
    both = Prompt(points=(Point(420, 260, 1), Point(220, 270, 0)), box=_around(book))
    yield DemoPair("both", _drawn((ball, _ORANGE), (book, _RED)), (both,), (book & ~ball,))
    apart = _ellipse((500, 330), (70, 90))
    two = (Prompt(box=_around(ball), id="left"), Prompt(box=_around(apart), id="right"))
    yield DemoPair("two", _drawn((ball, _RED), (apart, _BLUE)), two, (ball, apart))


def write_demo(directory: Path) -> int:
    """Writes the photograph and all drawn pairs into `directory`/in, and their truths into `directory`/truth;
    returns how many pairs are in `directory`/in."""
    pairs = list(demo_pairs())
    real = photograph()
    with translated_os_errors("write the demo to", directory):
        for part in ("in", "truth"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        _write_input(directory / "in" / real.file_name, real.content, (real.prompt,))
        for pair in pairs:
            write_pair(pair, directory / "in")
            _write_truths(pair, directory / "truth")
    return 1 + len(pairs)


def write_pair(pair: DemoPair, directory: Path) -> None:
    """Writes the image and the prompt file into `directory`."""
    _, content = cv2.imencode(".jpg", pair.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    _write_input(directory / f"{pair.name}.jpg", content.tobytes(), pair.prompts)


def _write_input(image_file: Path, content: bytes, prompts: Sequence[Prompt]) -> None:
    _write_file(image_file, content)
    listed: Any = prompts_document(prompts)
    document = listed[0] if len(listed) == 1 else {"prompts": listed}
    _write_file(image_file.with_suffix(".json"), json.dumps(document, indent=2).encode() + b"\n")


def _write_truths(pair: DemoPair, directory: Path) -> None:
    for index, truth in enumerate(pair.truths):
        suffix = f".{index}.png" if len(pair.truths) > 1 else ".png"
        _write_file(directory / f"{pair.name}{suffix}", encode(Mask.from_array(truth, 1.0)))


def _write_file(path: Path, content: bytes) -> None:
    """Writes a file; an existing file of that name is not replaced."""
    try:
        with created_file(path) as file:
            file.write(content)
    except FileExistsError as error:
        if read_if_regular(path) != content:
            message = f"{path} is there already: choose another directory for the demo"
            raise OutputUnavailable(message) from error


def _drawn(*objects: tuple[BoolMask, tuple[int, int, int]]) -> RgbImage:
    """Coloured objects on a table, the first one on top; lit from the left, a little blurred and grainy."""
    noise = np.random.default_rng(SEED)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    grain = cv2.GaussianBlur(noise.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 9)
    table = np.array([96, 112, 92], np.float32) * (1.25 - 0.5 * y / HEIGHT + 0.6 * grain)[..., None]
    scene: NDArray[np.floating] = table
    for mask, colour in reversed(objects):
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        shadow = np.roll(mask.astype(np.float32), (16, 14), (0, 1))
        scene = scene * (1 - 0.35 * cv2.GaussianBlur(shadow, (0, 0), 9))[..., None]
        across = (x - columns[0]) / (columns[-1] - columns[0]) + (y - rows[0]) / (rows[-1] - rows[0])
        shaded = np.array(colour, np.float32) * (1.25 - 0.35 * across + 0.25 * grain)[..., None]
        scene = np.where(mask[..., None], shaded, scene)
    scene = cv2.GaussianBlur(scene, (0, 0), 0.8) + noise.normal(0, 3, scene.shape)
    return np.clip(scene, 0, 255).astype(np.uint8)


def _ellipse(centre: tuple[int, int], axes: tuple[int, int]) -> BoolMask:
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    return cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, thickness=-1).astype(np.bool_)


def _around(mask: BoolMask) -> Box:
    """A box as a person would draw it, with a margin of a few pixels on each side."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return Box(*(float(v) for v in (columns[0] - 6, rows[0] - 6, columns[-1] + 7, rows[-1] + 7)))


def _points(foreground: tuple[int, int], background: tuple[int, int]) -> Prompt:
    return Prompt(points=(Point(*foreground, 1), Point(*background, 0)))
