"""What surrounds the model, step by step, beside the libraries that are usually taken for it.

    python -m benchmarks.files [--rounds 9] [--json FILE]

Photographs and masks of 1080p and 12 megapixels; the masks are an ellipse, and blobs with long outlines.
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from PIL import Image
from skimage import measure

from benchmarks.ellipses import ellipse
from benchmarks.measuring import Sample, in_turns, markdown, write_json
from benchmarks.pipeline import photograph
from benchmarks.reference import opex_record
from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import BoolMask, Mask, ModelInfo, Segmentation
from sampoll.formats.geometry.contours import outer_contours
from sampoll.formats.opex import Opex
from sampoll.formats.png import encode
from sampoll.inputs.decode import decode_image

SIZES = {"1080p": (1080, 1920), "12 megapixels": (3000, 4000)}
INPUT_SIDE = 1024
AT_LEAST_SECONDS = 0.02
"""Short steps are repeated until they have taken so long."""


def blobs(size: tuple[int, int]) -> BoolMask:
    """About a third of the pixels, in parts as large as a sixtieth of the image."""
    height, width = size
    coarse = np.random.default_rng(0).normal(size=(height // 60, width // 60)).astype(np.float32)
    smooth: BoolMask = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) > 0.3
    return smooth


MASKS: dict[str, Callable[[tuple[int, int]], BoolMask]] = {"ellipse": ellipse, "blobs": blobs}


def seconds_of(step: Callable[[], object]) -> float:
    count, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < AT_LEAST_SECONDS:
        step()
        count += 1
    return elapsed / count


def decoding(size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    content = photograph(size[1], size[0])
    return {
        "PIL": lambda: np.asarray(Image.open(io.BytesIO(content)).convert("RGB")),
        "cv2": lambda: cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR),
        "sampoll": lambda: decode_image(content, "photograph.jpg", 10**9),
    }


def resizing(size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """To what the model takes; `fp32` has Pillow's filter, and the other precisions torch's."""
    pixels = decode_image(photograph(size[1], size[0]), "photograph.jpg", 10**9)
    scale = INPUT_SIDE / max(size)
    height, width = (round(side * scale) for side in size)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return {
        "PIL": lambda: np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)),
        "sampoll": lambda: F.interpolate(planes, (height, width), mode="bilinear", antialias=True),
    }


def packing(pixels: BoolMask) -> dict[str, Callable[[], object]]:
    mask = Mask.from_array(pixels, 0.9)
    gray = pixels.view(np.uint8) * 255
    return {
        "PIL": lambda: Image.fromarray(pixels).save(io.BytesIO(), "PNG", bits=1),
        "cv2": lambda: cv2.imencode(".png", gray, [cv2.IMWRITE_PNG_BILEVEL, 1]),
        "sampoll": lambda: encode(mask),
    }


def outlining(pixels: BoolMask) -> dict[str, Callable[[], object]]:
    mask = Mask.from_array(pixels, 0.9)
    return {
        "skimage": lambda: measure.find_contours(np.pad(pixels, 1).astype(np.uint8), 0.5),
        "cv2": lambda: cv2.findContours(pixels.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE),
        "sampoll": lambda: list(outer_contours(mask)),
    }


def recording(pixels: BoolMask) -> dict[str, Callable[[], object]]:
    """The OPEX file, contours and all."""
    mask = Mask.from_array(pixels, 0.9)
    prompts = (Prompt(box=Box(1, 1, 9, 9)),)
    segmentation = Segmentation("job", "a", prompts, ((mask,),), ModelInfo("m"), mask.size, "ab", {})
    return {
        "skimage and fast-opex": lambda: opex_record("a", pixels, 0.9),
        "sampoll": lambda: Opex().render(segmentation, ()),
    }


def steps(size: tuple[int, int]) -> dict[str, dict[str, Callable[[], object]]]:
    """The ways to do each step, the usual one first."""
    found = {"decode a JPEG": decoding(size), "resize": resizing(size)}
    for name, draw in MASKS.items():
        pixels = draw(size)
        found[f"PNG, {name}"] = packing(pixels)
        found[f"contours, {name}"] = outlining(pixels)
        found[f"OPEX, {name}"] = recording(pixels)
    return found


def shown(samples: dict[str, Sample]) -> list[str]:
    """What the usual way takes, what cv2 does where there is one, what ours does, and the ratio."""
    usual, *between, ours = samples.items()
    milliseconds = [f"{1000 * sample.median:.2f}" for _, sample in (usual, ours)]
    cv2_too = f"{1000 * between[0][1].median:.2f}" if between else ""
    return [
        f"{usual[0]} {milliseconds[0]}",
        cv2_too,
        milliseconds[1],
        f"{usual[1].median / ours[1].median:.1f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    rows, document = [], {}
    for size_name, size in SIZES.items():
        first_and_last = {}
        for step, ways in steps(size).items():
            samples = in_turns({name: partial(seconds_of, way) for name, way in ways.items()}, given.rounds)
            rows.append([size_name, step, *shown(samples)])
            document[f"{size_name}, {step}"] = {name: list(s.seconds) for name, s in samples.items()}
            medians = [sample.median for sample in samples.values()]
            first_and_last[step] = medians[0], medians[-1]
        for mask in MASKS:
            parts = [first_and_last[step] for step in ("decode a JPEG", f"PNG, {mask}", f"OPEX, {mask}")]
            usual, ours = map(sum, zip(*parts, strict=True))
            row = [f"{1000 * usual:.2f}", "", f"{1000 * ours:.2f}", f"{usual / ours:.1f}"]
            rows.append([size_name, f"from JPEG to PNG and OPEX, {mask}", *row])
    print(f"one thread, milliseconds, medians of {given.rounds} rounds\n")
    print(markdown(["", "step", "the usual way", "cv2", "sampoll", "x the usual way"], rows))
    write_json(given.json, {"seconds": document})


if __name__ == "__main__":
    main()
