"""The Python API beside loops around segment_anything's SamPredictor: the same arrays and prompts, in turns.

    python -m benchmarks.python [--model vit_b|vit_l|vit_h|small] [--device cpu] [--images 4] [--rounds 3]
                                [--json FILE]

Weights are random. The small model, with which all of it takes seconds, has so little to compute that the
ratios show what is around a model. All masks are made as boolean arrays, which is what a loop gets.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

import sampoll
from benchmarks.measuring import Sample, in_turns, markdown, write_json
from benchmarks.models import random_sam, small_sam
from benchmarks.pipeline import HEIGHT, WIDTH, photograph
from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import RgbImage
from sampoll.inputs.decode import decode_image
from sampoll.models.sam.network import sam_network
from sampoll.models.shared.device import chosen_precision
from sampoll.models.shared.segmenter import PromptableSegmenter

LOOP = "SamPredictor"
PRECISIONS = ("fp32", "auto")
"""With the first one, masks equal those of the loop; the second is the default."""
CLICKS = 10
SMALL = "small"


def sam_named(name: str) -> Sam:
    return small_sam() if name == SMALL else random_sam(name)


def _factory(name: str) -> Callable[[ModelSettings], PromptableSegmenter]:
    def build(options: ModelSettings) -> PromptableSegmenter:
        return PromptableSegmenter(
            name,
            sam_network(sam_named(name)),
            torch.device(options.device),
            options.mask_policy,
            precision=chosen_precision(options.precision, options.device),
            prompt_batch=options.prompt_batch_on(options.device),
        )

    return build


small, vit_b, vit_l, vit_h = map(_factory, (SMALL, "vit_b", "vit_l", "vit_h"))


@dataclass(frozen=True)
class Work:
    """Arrays, and a box for each of several prompts of one of them."""

    images: Sequence[RgbImage]
    boxes: Sequence[tuple[float, float, float, float]]


def work_of(images: int, prompts: int) -> Work:
    """Photographs that differ, and boxes over each of them."""
    pixels = decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)
    random = np.random.default_rng(0)
    corners = random.uniform((0, 0), (WIDTH / 2, HEIGHT / 2), (prompts, 2))
    boxes = [(x, y, x + WIDTH / 3, y + HEIGHT / 3) for x, y in corners.tolist()]
    return Work([np.roll(pixels, 7 * number, axis=1) for number in range(images)], boxes)


def by_the_loop(predictor: SamPredictor, work: Work) -> dict[str, Callable[[], object]]:
    """What a program does with segment_anything itself."""

    def predict(box: Sequence[float]) -> Any:
        return predictor.predict(box=np.array(box), multimask_output=True)[0]

    def images() -> None:
        for image in work.images:
            predictor.set_image(image)
            predict(work.boxes[0])

    def prompts() -> None:
        predictor.set_image(work.images[0])
        for box in work.boxes:
            predict(box)

    def clicks() -> None:
        for box in work.boxes[:CLICKS]:
            predict(box)

    return {"images": images, "prompts": prompts, "clicks": clicks}


def by_sampoll(model: sampoll.Model, work: Work) -> dict[str, Callable[[], object]]:
    """The same by sampoll. A pixel that is new each time keeps it from knowing an image already; that of the
    clicks it knows, as the loop does."""
    turn, known = iter(range(10**9)), work.images[-1].copy()

    def unknown(image: RgbImage) -> RgbImage:
        image[0, 0] = np.frombuffer(next(turn).to_bytes(3, "little"), np.uint8)
        return image

    def images() -> None:
        items = ({"image": unknown(image), "box": work.boxes[0]} for image in work.images)
        for result in model.segment_many(items):
            assert isinstance(result, sampoll.Result), result
            _ = result.masks

    def one_by_one() -> None:
        for image in work.images:
            _ = model.segment(unknown(image), box=work.boxes[0]).masks

    def prompts() -> None:
        boxes = [{"box": box} for box in work.boxes]
        _ = model.segment(unknown(work.images[0]), prompts=boxes).masks

    def clicks() -> None:
        for box in work.boxes[:CLICKS]:
            _ = model.segment(known, box=box).masks

    return {"images": images, "images, one by one": one_by_one, "prompts": prompts, "clicks": clicks}


def seconds_of(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def measured(
    models: Mapping[str, sampoll.Model], predictor: SamPredictor, work: Work, rounds: int
) -> dict[str, dict[str, Sample]]:
    """Seconds of each task, by who does it."""
    loop = by_the_loop(predictor, work)
    ours = {name: by_sampoll(model, work) for name, model in models.items()}
    for acts in (loop, *ours.values()):  # the warm-up; afterwards, the images of the clicks are known
        for act in acts.values():
            act()
    found = {}
    for task in next(iter(ours.values())):
        acts = {LOOP: loop[task.partition(",")[0]], **{name: each[task] for name, each in ours.items()}}
        found[task] = in_turns({name: partial(seconds_of, act) for name, act in acts.items()}, rounds)
    return found


def table(found: Mapping[str, Mapping[str, Sample]], counts: Mapping[str, int]) -> str:
    rows = []
    for task, samples in found.items():
        reference = samples[LOOP].median
        for name, sample in samples.items():
            each = 1000 * sample.median / counts[task.partition(",")[0]]
            rows.append([task, name, f"{each:.1f}", f"{reference / sample.median:.2f}"])
    return markdown(["", "", "ms each", "ratio"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.python", description=__doc__)
    parser.add_argument("--model", default="vit_b", choices=["vit_b", "vit_l", "vit_h", SMALL])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)

    work = work_of(given.images, given.prompts)
    predictor = SamPredictor(sam_named(given.model).to(given.device))
    models = {
        f"sampoll, {precision}": sampoll.load(
            f"benchmarks.python:{given.model}", device=given.device, precision=precision
        )
        for precision in PRECISIONS
    }
    found = measured(models, predictor, work, given.rounds)
    for model in models.values():
        model.close()

    counts = {"images": given.images, "prompts": given.prompts, "clicks": min(CLICKS, given.prompts)}
    print(f"{given.model} on {given.device}, {WIDTH}x{HEIGHT}, {given.rounds} rounds\n")
    print(table(found, counts))
    figures = {task: {name: asdict(each) for name, each in by.items()} for task, by in found.items()}
    write_json(given.json, {"model": given.model, "images": given.images, "seconds": figures})


if __name__ == "__main__":
    main()
