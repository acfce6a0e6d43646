"""SAM's image encoder on a CPU, in turns with segment_anything's own.

    python -m benchmarks.cpu [--model vit_b] [--rounds 3] [--json FILE]

Weights are random, so masks mean nothing; times and rounding errors do.
"""

import argparse
import copy
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from benchmarks.measuring import in_turns, markdown, peak_memory_bytes, write_json
from benchmarks.models import random_sam, relative_error
from sampoll.jobs import Box, Prompt, RgbImage
from sampoll.segmenters.sam.openvino_encoder import OpenVinoEncoder, converted
from sampoll.segmenters.sam.segmenter import SamSegmenter

CPU = torch.device("cpu")
WIDTH, HEIGHT = 1920, 1080
BOX = Box(400, 200, 1500, 900)


def seconds_of(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def original_logits(sam: Sam, image: RgbImage) -> tuple[torch.Tensor, torch.Tensor]:
    """SamPredictor's embedding and low-res logits, of the mask that it scores highest."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    _, scores, logits = predictor.predict(box=np.array(astuple(BOX)), multimask_output=True)
    return predictor.features, torch.from_numpy(logits[int(scores.argmax())])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__)
    parser.add_argument("--model", default="vit_b", choices=["vit_b", "vit_l", "vit_h"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)

    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    sam = random_sam(given.model)
    features, logits = original_logits(sam, image)
    predictor = SamPredictor(sam)
    variants: dict[str, Callable[[], float]] = {
        "segment_anything, fp32": lambda: seconds_of(lambda: predictor.set_image(image))
    }
    errors: dict[str, tuple[float, float]] = {}
    converted_model = converted(copy.deepcopy(sam).image_encoder)
    for engine, precision in itertools.product(("torch", "openvino"), ("fp32", "bf16")):
        by_openvino = OpenVinoEncoder(converted_model, 1024, precision) if engine == "openvino" else None
        segmenter = SamSegmenter(
            given.model, copy.deepcopy(sam), CPU, precision=precision, encoder=by_openvino
        )
        name = f"{engine}, {precision}"
        [embedding] = segmenter.embed([image])
        ours, _ = segmenter.low_res_logits(embedding, Prompt(box=BOX))
        errors[name] = (
            relative_error(embedding.features, features[0]),
            relative_error(ours, logits),
        )
        variants[name] = lambda segmenter=segmenter: seconds_of(  # type: ignore[misc]
            lambda: segmenter.embed([image])
        )
    samples = in_turns(variants, given.rounds)
    original = samples["segment_anything, fp32"].median
    print(f"{given.model}, one {WIDTH}x{HEIGHT} image from pixels to embedding, {given.rounds} rounds\n")
    print(
        markdown(
            ["", "seconds, median", "range", "x the original", "error of the embedding", "of the logits"],
            [
                [
                    name,
                    f"{sample.median:.1f}",
                    "{:.1f} to {:.1f}".format(*sample.range),
                    f"{original / sample.median:.1f}",
                    *(f"{error:.1e}" for error in errors.get(name, (0.0, 0.0))),
                ]
                for name, sample in samples.items()
            ],
        )
    )
    print(f"\npeak memory {peak_memory_bytes() / 2**30:.1f} GiB, all of them loaded")
    write_json(
        given.json,
        {
            "model": given.model,
            "seconds": {name: list(sample.seconds) for name, sample in samples.items()},
            "errors": errors,
        },
    )


if __name__ == "__main__":
    main()
