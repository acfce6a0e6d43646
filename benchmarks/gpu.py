"""SAM on a CUDA device: the encoder by batch size, the whole path from pixels to masks, and files to files.

    python -m benchmarks.gpu [--models vit_b,vit_h] [--batch-sizes 1,4,8,16] [--images 200] [--json FILE]

Weights are random, so masks mean nothing; times and rounding errors do. The reference is segment_anything's
own code in float32 on the same device. Ends with 1 if an error is larger than its precision allows.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import in_turns, markdown, write_json
from benchmarks.models import GFLOP_AN_IMAGE, exit_if_too_far, random_sam, relative_error
from benchmarks.pipeline import photograph
from benchmarks.whole import HEIGHT, WIDTH, by_sampoll, by_the_loop
from sampoll.core.jobs import Box, Prompt
from sampoll.engine.pipeline import executors_on
from sampoll.inputs.decode import decode_image
from sampoll.models.sam.network import sam_network
from sampoll.models.sam.original import OriginalSam
from sampoll.models.shared.fidelity import Fidelity, compare
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.torch_device import PRECISIONS
from sampoll.models.shared.vit import Encoder

CUDA = torch.device("cuda")
PROMPT = Prompt(box=Box(1, 1, WIDTH - 2, HEIGHT - 2))
REFERENCE_IMAGES = 16


def seconds_of(act: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    act()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def matrix_peak() -> float:
    """The TFLOP/s of a large bfloat16 product: what this device can do at best."""
    a, b = torch.randn(2, 8192, 8192, device=CUDA, dtype=torch.bfloat16)
    for _ in range(3):
        a @ b
    seconds = min(seconds_of(lambda: a @ b) for _ in range(10))
    return 2 * 8192**3 / seconds / 1e12


@torch.inference_mode()
def encoder(name: str, batch_sizes: Sequence[int], compiled_batch: int, rounds: int) -> dict[str, Any]:
    """Images a second of the original and of ours, and the error of ours."""
    sam = random_sam(name).to(CUDA)
    images = torch.randn(max(batch_sizes), 3, 1024, 1024, device=CUDA)
    two = min(2, len(images))
    exact = torch.cat([sam.image_encoder(images[i : i + 1]) for i in range(two)])

    variants: dict[str, Callable[[], float]] = {
        "segment_anything, fp32, one by one": lambda: seconds_of(lambda: sam.image_encoder(images[:1]))
    }
    errors = {}
    for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        ours = Encoder(copy.deepcopy(sam.image_encoder), dtype).to(CUDA)
        errors[precision] = relative_error(ours(images[:two])[0], exact)
        sizes = batch_sizes if precision == "bf16" else [compiled_batch]
        for size in sizes:
            variants[f"{precision}, {size} at once"] = partial(_per_image, ours, images[:size])
        if precision == "bf16":
            ours = copy.deepcopy(ours)
            compiling = seconds_of(partial(ours.compile_for, compiled_batch))
            errors["bf16 compiled"] = relative_error(ours(images[:compiled_batch])[0][:two], exact)
            key = f"bf16 compiled, {compiled_batch} at once"
            variants[key] = partial(_per_image, ours, images[:compiled_batch])
    for variant in variants.values():
        variant()
    samples = in_turns(variants, rounds)
    return {
        "images_a_second": {key: 1 / sample.median for key, sample in samples.items()},
        "range": {key: [1 / sample.range[1], 1 / sample.range[0]] for key, sample in samples.items()},
        "errors": errors,
        "compiling_seconds": compiling,
    }


def _per_image(ours: Encoder, images: torch.Tensor) -> float:
    return seconds_of(lambda: ours(images)) / len(images)


def pixels_to_masks(segmenter: PromptableSegmenter, batch: int) -> float:
    """Seconds an image from decoded pixels to packed masks, with one box an image."""
    images = [np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for i in range(batch)]

    def path() -> None:
        segmenter.decode([(embedding, [PROMPT]) for embedding in segmenter.embed(images)])

    path()
    return min(seconds_of(path) for _ in range(5)) / batch


def fidelity_of(name: str) -> dict[str, Fidelity]:
    """What each precision changes, on one photograph."""
    variants = {
        f"torch, {precision}": PromptableSegmenter(
            name, sam_network(random_sam(name)), CUDA, precision=precision
        )
        for precision in PRECISIONS
    }
    image = decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)
    _, found = compare(OriginalSam(random_sam(name).to(CUDA)), variants, [image])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--models", default="vit_b")
    parser.add_argument("--batch-sizes", default="1,2,4,8,16")
    parser.add_argument("--compiled-batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=200, help="for the run from files to files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device")
    batch_sizes = [int(size) for size in given.batch_sizes.split(",")]

    torch.backends.cudnn.allow_tf32 = False  # the reference of all errors computes in float32
    peak = matrix_peak()
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}; a large bf16 product runs at {peak:.0f} TFLOP/s\n")
    fidelity: dict[str, Fidelity] = {}
    document: dict[str, Any] = {"device": device, "torch": torch.__version__, "peak_tflops": peak}
    for name in given.models.split(","):
        figures = encoder(name, batch_sizes, given.compiled_batch, given.rounds)
        rates = figures["images_a_second"]
        [original, *_] = rates.values()
        rows = [
            [
                key,
                f"{rate:.1f}",
                "{:.1f} to {:.1f}".format(*figures["range"][key]),
                f"{rate / original:.1f}",
                f"{rate * GFLOP_AN_IMAGE[name] / 1000 / peak:.0%}",
            ]
            for key, rate in rates.items()
        ]
        print(markdown([f"{name}, encoder", "images/s", "range", "x the original", "of the peak"], rows))
        errors = ", ".join(f"{key} {error:.1e}" for key, error in figures["errors"].items())
        print(f"\nRelative error of the embeddings: {errors}.")
        print(f"Compiling took {figures['compiling_seconds']:.0f} s.\n")

        found = fidelity_of(name)
        rows = [[key, f"{one.logits_error:.1e}", f"{one.mean_iou:.4f}"] for key, one in found.items()]
        print(markdown([f"{name}, fidelity", "error of the logits", "mean IoU"], rows) + "\n")
        fidelity |= {f"{name}, {key}": one for key, one in found.items()}

        segmenter = PromptableSegmenter(
            name, sam_network(random_sam(name)), CUDA, precision="bf16", prompt_batch=64
        )
        segmenter.compile_for(given.compiled_batch)
        torch.cuda.reset_peak_memory_stats()
        path = pixels_to_masks(segmenter, given.compiled_batch)
        with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
            root = Path(scratch) / "pairs"
            ours = by_sampoll(
                root, segmenter, given.images, batch_size=given.compiled_batch, executors=executors_on("cuda")
            )
            theirs = by_the_loop(root, random_sam(name), CUDA, REFERENCE_IMAGES)
        figures |= {"path_seconds": path, "folder_seconds": ours, "reference_seconds": theirs}
        figures["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        print(
            markdown(
                [f"{name}, 1080p, one box an image", "images/s"],
                [
                    ["pixels to masks on the device", f"{1 / path:.1f}"],
                    [f"files to files, {given.images} images", f"{1 / ours:.1f}"],
                    [f"reference loop, {REFERENCE_IMAGES} images", f"{1 / theirs:.1f}"],
                ],
            )
        )
        print(
            f"\nFiles to files: {theirs / ours:.1f} x the reference, {path / ours:.0%} of the device's path."
        )
        document[name] = figures
    write_json(given.json, document)
    exit_if_too_far(fidelity)


if __name__ == "__main__":
    main()
