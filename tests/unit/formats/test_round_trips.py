"""What sampoll exports, imported again as prompts: the same objects, and nothing is passed over."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import blank_image, encoded
from unit.formats.test_datasets import LABELS, ResultsOf

from sampoll.core.jobs import Box, Prompt
from sampoll.core.names import kept_image, result_path
from sampoll.core.protocols import Format
from sampoll.core.results import BoolMask, Mask, ModelInfo, Segmentation
from sampoll.formats.datasets.coco import Coco
from sampoll.formats.datasets.yolo import Yolo
from sampoll.formats.labelme import LabelMe
from sampoll.formats.opex import Opex
from sampoll.formats.options import FormatOptions
from sampoll.inputs.importers.registry import load_importer
from sampoll.inputs.importers.write_pairs import Imported, write_pairs
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import parse_prompts

NAMES = (
    "a",
    "b.c",
    "sub/a",
    "sub/d e",
    "sub/deeper/é",
    "cat~2",
    "at 10\u202fAM",
    "\U0001f469\u200d\U0001f680",
    "a\nb",
)
READABLE_LABELS = sorted(set(LABELS.values()) - {LABELS["a lone surrogate"]})
KEPT_IMAGES = "../in/done"


def drawn_mask(seed: int, height: int, width: int) -> BoolMask:
    """A mask of parts, holes, lines and single pixels, all of which may touch the edges; or of nothing."""
    random = np.random.default_rng(seed)
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(random.integers(0, 5)):
        start, end = random.integers(0, [width, height], (2, 2)).tolist()
        value = int(random.random() < 0.75)
        match random.integers(4):
            case 0:
                canvas[start[1], start[0]] = value
            case 1:
                cv2.line(canvas, start, end, value, 1)
            case 2:
                cv2.rectangle(canvas, start, end, value, -1)
            case _:
                radius, thickness = int(random.integers(1, 12)), int(random.choice([-1, 1, 3]))
                cv2.circle(canvas, start, radius, value, thickness)
    pixels: BoolMask = canvas.astype(np.bool_)
    return pixels


@st.composite
def results(draw: st.DrawFn) -> Sequence[Segmentation]:
    """Some results, sorted by name, of one or more prompts with one or more masks each."""
    made = []
    for name in sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))):
        height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        labels = draw(st.lists(st.sampled_from(READABLE_LABELS), min_size=1, max_size=3))
        masks = [
            tuple(
                Mask.from_array(drawn_mask(seed, height, width), 0.5)
                for seed in draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=2))
            )
            for _ in labels
        ]
        prompts = tuple(
            Prompt(box=Box(0, 0, 1, 1), label=label, id=f"p{k}") for k, label in enumerate(labels)
        )
        made.append(
            Segmentation(
                "id",
                name,
                prompts,
                tuple(masks),
                ModelInfo("boxes"),
                (height, width),
                "ab" * 32,
                {},
                image_file="x.png",
            )
        )
    return made


def exported_files(form: Format, made: Sequence[Segmentation], output: Path) -> None:
    for one in made:
        for artifact in form.render(one, []):
            path = output / result_path(one.name, artifact.suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(artifact.content)


@dataclass(frozen=True)
class RoundTrip:
    """How a format is written below an output, and where its importer finds it. Each side of a box comes back
    within so many pixels."""

    write: Callable[[Sequence[Segmentation], Path], None]
    source: str
    tolerance: float
    knows_images: bool = False
    keeps_ids: bool = False


OPTIONS = FormatOptions(kept_images=KEPT_IMAGES)
POLYGONS = FormatOptions(kept_images=KEPT_IMAGES, polygons=True)
SIMPLIFIED = FormatOptions(kept_images=KEPT_IMAGES, simplify_pixels=1)
SIMPLIFIED_POLYGONS = replace(SIMPLIFIED, polygons=True)
ROUND_TRIPS = {
    "coco": RoundTrip(
        lambda made, output: Coco(OPTIONS).write(ResultsOf(made), output / "coco"), "coco/instances.json", 0
    ),
    "coco polygons": RoundTrip(
        lambda made, output: Coco(POLYGONS).write(ResultsOf(made), output / "coco"), "coco/instances.json", 0
    ),
    "coco polygons simplified": RoundTrip(
        lambda made, output: Coco(SIMPLIFIED_POLYGONS).write(ResultsOf(made), output / "coco"),
        "coco/instances.json",
        1,
    ),
    "yolo": RoundTrip(
        lambda made, output: Yolo(OPTIONS).write(ResultsOf(made), output / "yolo"), "yolo", 0.51
    ),
    "labelme": RoundTrip(
        lambda made, output: exported_files(LabelMe(OPTIONS), made, output), "labelme", 1, knows_images=True
    ),
    "labelme simplified": RoundTrip(
        lambda made, output: exported_files(LabelMe(SIMPLIFIED), made, output),
        "labelme",
        2,
        knows_images=True,
    ),
    "opex": RoundTrip(
        lambda made, output: exported_files(Opex(OPTIONS), made, output), "", 1, keeps_ids=True
    ),
}


def imported(trip: RoundTrip, name: str, made: Sequence[Segmentation], root: Path) -> dict[str, list[Prompt]]:
    """The prompts of each pair after an export and an import, in which nothing is passed over."""
    done, output, target = root / "in/done", root / "out", root / "again"
    (root / "in/.sampoll").mkdir(parents=True)
    output.mkdir()
    for one in made:
        image = done / kept_image(one.name, one.image_file)
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(encoded(blank_image(*one.size)))
    trip.write(made, output)
    read = load_importer(name.split()[0])(output / trip.source, None if trip.knows_images else done)
    outcomes = list(write_pairs(read, target, DecodingOptions(), copies=False))
    assert all(isinstance(outcome, Imported) for outcome in outcomes), outcomes
    return {
        path.relative_to(target).as_posix().removesuffix(".json"): list(
            parse_prompts(path.read_bytes(), path.name, DecodingOptions().limits).values()
        )
        for path in sorted(target.rglob("*.json"))
    }


@pytest.mark.parametrize("name", ROUND_TRIPS)
@settings(max_examples=60)
@given(made=results())
def test_an_export_comes_back_as_the_same_objects(name: str, made: Sequence[Segmentation]) -> None:
    trip = ROUND_TRIPS[name]
    with tempfile.TemporaryDirectory() as folder:
        found = imported(trip, name, made, Path(folder))

    expected = {
        one.name: [
            (prompt, mask.box)
            for prompt, masks in zip(one.prompts, one.masks, strict=True)
            for mask in masks
            if mask.box
        ]
        for one in made
    }
    assert {name: [prompt.label for prompt in prompts] for name, prompts in found.items()} == {
        name: [prompt.label for prompt, _ in objects] for name, objects in expected.items() if objects
    }
    for result, prompts in found.items():
        for prompt, (original, exact) in zip(prompts, expected[result], strict=True):
            box = prompt.box
            assert box is not None
            assert not prompt.points
            assert prompt.id == original.id or not trip.keeps_ids
            ours = (box.x0, box.y0, box.x1, box.y1)
            theirs = (exact.left, exact.top, exact.right + 1, exact.bottom + 1)
            assert ours == pytest.approx(theirs, abs=trip.tolerance + 1e-3), (prompt, exact)
