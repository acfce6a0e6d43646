"""Masks with parts, holes, lines and single pixels, and the data sets that sampoll makes of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.results import BoolMask, Mask, ModelInfo

REPOSITORY = Path(__file__).parents[2]
SIZES = ((64, 97), (120, 160), (75, 50))
LABELS = ("cat", "dog", "no", "猫")
"""One of them is a boolean in YAML, and one is not ASCII."""


@dataclass(frozen=True)
class Thing:
    """An object of an image. Its box extends from the first pixel to the end of the last one."""

    label: str
    box: tuple[float, ...]
    mask: BoolMask | None = None


Scene = Mapping[str, Sequence[Thing]]
"""The objects of each image, by its stem."""


class Drawn:
    """A segmenter whose masks are drawn in the image: bit k of red is the mask of the k-th prompt."""

    info = ModelInfo("drawn")

    def embed(self, images: Sequence[RgbImage]) -> Sequence[RgbImage]:
        return images

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return [
            [[Mask.from_array((image[:, :, 0] >> k) & 1 == 1, score=0.9)] for k in range(len(prompts))]
            for image, prompts in work
        ]


def build(_: ModelSettings) -> Drawn:
    return Drawn()


def thing(label: str, mask: BoolMask) -> Thing:
    rows, columns = np.nonzero(mask)
    return Thing(label, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), mask)


def scene(images: int) -> Scene:
    random = np.random.default_rng(0)
    drawn = {}
    for number in range(images):
        masks = _masks(random, SIZES[number % len(SIZES)])
        drawn[f"image{number}"] = [thing(LABELS[k % len(LABELS)], mask) for k, mask in enumerate(masks)]
    return drawn


def _masks(random: np.random.Generator, size: tuple[int, int]) -> Iterator[BoolMask]:
    """Two blobs with parts and holes; a ring in a ring; a line of one pixel; a single pixel."""
    height, width = size
    for blur in (3, 6):
        noise = cv2.GaussianBlur(random.standard_normal(size).astype(np.float32), (0, 0), blur)
        yield noise > np.quantile(noise, 0.7)
    canvas = np.zeros(size, np.uint8)
    centre = (width // 2, height // 2)
    cv2.circle(canvas, centre, min(size) // 3, 1, 3)
    cv2.circle(canvas, centre, min(size) // 6, 1, 2)
    yield canvas > 0
    canvas = np.zeros(size, np.uint8)
    ends = random.integers(0, (width, height), (2, 2)).tolist()
    cv2.line(canvas, ends[0], ends[1], 1)
    yield canvas > 0
    canvas = np.zeros(size, np.uint8)
    canvas[random.integers(0, height), random.integers(0, width)] = 1
    yield canvas > 0


@dataclass(frozen=True)
class Exports:
    """What sampoll has made of a scene. The images of YOLO are in its own folder, as its readers need."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "in/done"

    @property
    def coco(self) -> Path:
        return self.root / "out/coco/instances.json"

    @property
    def coco_polygons(self) -> Path:
        return self.root / "polygons/coco/instances.json"

    @property
    def yolo(self) -> Path:
        return self.root / "out/yolo"

    @property
    def labelme(self) -> Path:
        return self.root / "out/labelme"


def exported(scene: Scene, root: Path) -> Exports:
    """Runs sampoll on the scene, and links the images to where readers of YOLO look for them."""
    exports = Exports(root)
    (root / "in").mkdir(parents=True)
    for name, things in scene.items():
        _write_pair(root / "in", name, things)
    formats = [flag for kind in ("coco", "yolo", "labelme") for flag in ("--format", kind)]
    model = ("--model", f"{__name__}:{build.__name__}")
    sampoll("run", "-i", root / "in", "-o", root / "out", *model, *formats)
    (root / "polygons").mkdir()
    for record in (root / "out").glob("*.json"):
        os.link(record, root / "polygons" / record.name)
    sampoll("export", "--format", "coco", "--coco-polygons", root / "polygons")
    (exports.yolo / "images").mkdir()
    for image in exports.images.iterdir():
        if image.suffix == ".png":
            os.link(image, exports.yolo / "images" / image.name)
    return exports


def _write_pair(folder: Path, name: str, things: Sequence[Thing]) -> None:
    masks = [each.mask for each in things if each.mask is not None]
    pixels = np.zeros((*masks[0].shape, 3), np.uint8)
    for k, mask in enumerate(masks):
        pixels[:, :, 0] |= mask.astype(np.uint8) << k
    Image.fromarray(pixels).save(folder / f"{name}.png")
    corners = ("x0", "y0", "x1", "y1")
    prompts = [
        {"box": dict(zip(corners, map(float, each.box), strict=True)), "label": each.label} for each in things
    ]
    (folder / f"{name}.json").write_text(json.dumps({"prompts": prompts}))


def sampoll(*arguments: object, accept: Sequence[int] = (0,)) -> str:
    """What a command of sampoll's says."""
    run = subprocess.run(
        [sys.executable, "-m", "sampoll", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in accept:
        raise RuntimeError(f"sampoll {arguments[0]} exits with {run.returncode}: {run.stderr}")
    return run.stdout + run.stderr
