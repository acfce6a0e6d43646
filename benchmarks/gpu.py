"""Promptable models on a CUDA device: the encoder by batch size, prompts, the whole path from pixels to
masks, files to files, and each part that could be what limits a run.

    python -m benchmarks.gpu [--models vit_b,vit_l,vit_h,sam2.1_hiera_base_plus] [--parts encoder,prompts,...]
                             [--seconds 540] [--json FILE]

Weights are random, so masks mean nothing; times and rounding errors do. The reference is the authors' code in
float32 on the same device for the models of SAM 1, and our own in float32 for the others. After --seconds, no
further part is begun: those that are left are named. Ends with 1 if an error is larger than its precision
allows. With `--device cpu`, the same code runs without a CUDA device, except what only that has.
"""

import argparse
import copy
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.file_workers import file_workers
from benchmarks.gpu_parts import (
    PROMPT,
    decoder_alone,
    decoding,
    in_little_memory,
    random_images,
    seconds_of,
)
from benchmarks.measuring import Sample, in_turns, markdown, write_json
from benchmarks.models import (
    GFLOP_AN_IMAGE,
    exit_if_too_far,
    random_network,
    random_sam,
    relative_error,
)
from benchmarks.pipeline import HEIGHT, WIDTH, photograph
from benchmarks.whole import by_sampoll, by_the_loop
from sampoll.engine.pipeline import executors_on
from sampoll.inputs.decode import decode_image
from sampoll.models.sam.network import sam_network
from sampoll.models.sam.original import OriginalSam
from sampoll.models.shared.fidelity import Fidelity, compare
from sampoll.models.shared.network import Levels, Network, TorchEncoder
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.torch_device import PRECISIONS

MODELS = "vit_b,sam2.1_hiera_base_plus,vit_l,vit_h"
REFERENCE_IMAGES = 16
LEFT_BYTES = int(1.2 * 2**30)
LITTLE_MEMORY_BATCH = 16


@dataclass
class Run:
    """What is asked for, and what was found so far."""

    device: torch.device
    batch_sizes: Sequence[int]
    batch: int
    images: int
    prompts: Sequence[int]
    workers: Sequence[int]
    rounds: int
    peak: float | None
    """The TFLOP/s of this device at best."""
    document: dict[str, Any] = field(default_factory=dict)
    fidelity: dict[str, Fidelity] = field(default_factory=dict)

    @property
    def compiles(self) -> bool:
        return self.device.type == "cuda"


Part: TypeAlias = Callable[[Run, str], dict[str, Any]]
"""Measures a model, prints what it found, and returns the figures."""


def network_of(name: str) -> Network:
    """With the weights of `random_sam` for the models that it has."""
    return sam_network(random_sam(name)) if name in GFLOP_AN_IMAGE else random_network(name)


def segmenter_of(run: Run, name: str, precision: str = "bf16", prompt_batch: int = 64) -> PromptableSegmenter:
    return PromptableSegmenter(
        name, network_of(name), run.device, precision=precision, prompt_batch=prompt_batch
    )


def matrix_peak() -> float:
    """The TFLOP/s of a large bfloat16 product: what this device can do at best."""
    a, b = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ b
    seconds = min(seconds_of(lambda: a @ b) for _ in range(10))
    return 2 * 8192**3 / seconds / 1e12


@torch.inference_mode()
def encoder(run: Run, name: str) -> dict[str, Any]:
    """Images a second of the original and of ours, and the error of ours."""
    size = network_of(name).rules.img_size
    images = torch.randn(max(run.batch_sizes), 3, size, size, device=run.device)
    few = images[:2]
    reference, act = _reference(run, name)
    exact = [act(image[None]) for image in few]
    variants = {reference: partial(_per_image, act, images[:1])}
    errors: dict[str, float] = {}
    compiling = 0.0
    for precision, dtype in PRECISIONS.items():
        ours = network_of(name).encoder(dtype).to(run.device)
        errors[precision] = _error(ours(few), exact)
        for count in run.batch_sizes if precision == "bf16" else [run.batch]:
            variants[f"{precision}, {count} at once"] = partial(_per_image, ours, images[:count])
        if precision == "bf16" and run.compiles and hasattr(ours, "compile_for"):
            compiled: Any = copy.deepcopy(ours)
            compiling = seconds_of(partial(compiled.compile_for, run.batch))
            errors["bf16 compiled"] = _error([level[:2] for level in compiled(images[: run.batch])], exact)
            key = f"bf16 compiled, {run.batch} at once"
            variants[key] = partial(_per_image, compiled, images[: run.batch])
    for variant in variants.values():
        variant()
    samples = in_turns(variants, run.rounds)
    gflop = GFLOP_AN_IMAGE.get(name) or _gflop(act, images[:1])
    original = samples[reference].median
    rows = [
        [
            key,
            f"{1 / sample.median:.1f}",
            "{:.1f} to {:.1f}".format(*(1 / seconds for seconds in reversed(sample.range))),
            f"{original / sample.median:.1f}",
            "" if run.peak is None else f"{gflop / sample.median / 1000 / run.peak:.0%}",
        ]
        for key, sample in samples.items()
    ]
    print(markdown([f"{name}, encoder", "images/s", "range", "x the reference", "of the peak"], rows))
    print("\nRelative error of the embeddings: " + ", ".join(f"{k} {e:.1e}" for k, e in errors.items()) + ".")
    print(f"Compiling took {compiling:.0f} s.\n" if compiling else "")
    return {
        "seconds": _seconds(samples),
        "errors": errors,
        "compiling_seconds": compiling,
        "gflop": gflop,
    }


def _reference(run: Run, name: str) -> tuple[str, Callable[[torch.Tensor], Levels]]:
    if name in GFLOP_AN_IMAGE:
        original = random_sam(name).image_encoder.to(run.device)
        return "segment_anything, fp32, one by one", lambda images: (original(images),)
    ours = network_of(name).encoder(torch.float32).to(run.device)
    return "ours, fp32, one by one", ours


def _error(ours: Sequence[torch.Tensor], exact: Sequence[Levels]) -> float:
    """The largest of the levels', relative L2."""
    return max(
        relative_error(level, torch.cat([image[number] for image in exact]))
        for number, level in enumerate(ours)
    )


def _per_image(encoder: TorchEncoder | Callable[[torch.Tensor], Levels], images: torch.Tensor) -> float:
    return seconds_of(lambda: encoder(images)) / len(images)


def _gflop(encoder: Callable[[torch.Tensor], Levels], image: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        encoder(image)
    return float(counter.get_total_flops()) / 1e9


def fidelity(run: Run, name: str) -> dict[str, Any]:
    """What each precision changes, on one photograph; for the models of SAM 1."""
    if name not in GFLOP_AN_IMAGE:
        return {}
    variants = {f"torch, {precision}": segmenter_of(run, name, precision) for precision in PRECISIONS}
    image = decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)
    _, found = compare(OriginalSam(random_sam(name).to(run.device)), variants, [image])
    rows = [[key, f"{one.logits_error:.1e}", f"{one.mean_iou:.4f}"] for key, one in found.items()]
    print(markdown([f"{name}, fidelity", "error of the logits", "mean IoU"], rows) + "\n")
    run.fidelity |= {f"{name}, {key}": one for key, one in found.items()}
    return {key: {"logits": one.logits_error, "iou": one.mean_iou} for key, one in found.items()}


def prompts(run: Run, name: str) -> dict[str, Any]:
    """Prompts of one and of several images: together, one by one, and what a faster decoder would save."""
    ways = {
        "one by one": segmenter_of(run, name, prompt_batch=1),
        "64 at once": segmenter_of(run, name, prompt_batch=64),
    }
    masks = decoding(ways, run.batch, run.prompts, run.rounds)
    print(_milliseconds(f"{name}, images x prompts to masks", "ms a prompt", masks))
    calls = decoder_alone(network_of(name), run.device, run.prompts, run.rounds)
    print(_milliseconds(f"{name}, prompts in one call of the decoder", "ms a call", calls))
    return {"masks": _seconds(masks), "calls": _seconds(calls)}


def whole(run: Run, name: str) -> dict[str, Any]:
    """From pixels to masks, and from files to files beside the loop that people ran before."""
    segmenter = segmenter_of(run, name)
    if run.compiles and name in GFLOP_AN_IMAGE:
        segmenter.compile_for(run.batch)
        torch.cuda.reset_peak_memory_stats()
    pixels = random_images(run.batch)

    def path() -> None:
        segmenter.decode([(embedding, [PROMPT]) for embedding in segmenter.embed(pixels)])

    path()
    on_device = min(seconds_of(path) for _ in range(run.rounds)) / run.batch
    loop_model = name if name in GFLOP_AN_IMAGE else "vit_b"
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        root = Path(scratch) / "pairs"
        by_executors = {
            executors: by_sampoll(root, segmenter, run.images, batch_size=run.batch, executors=executors)
            for executors in sorted({1, executors_on(str(run.device))})
        }
        loop_images = min(REFERENCE_IMAGES, run.images)
        loop = by_the_loop(root, random_sam(loop_model), run.device, loop_images)
    rows = [["pixels to masks on the device", on_device]]
    rows += [
        [f"files to files, {run.images} images, {executors} executors", seconds]
        for executors, seconds in by_executors.items()
    ]
    rows += [[f"reference loop, {loop_model}, {loop_images} images", loop]]
    print(
        markdown(
            [f"{name}, 1080p, one box an image", "images/s", "x the loop"],
            [[what, f"{1 / seconds:.1f}", f"{loop / seconds:.1f}"] for what, seconds in rows],  # type: ignore[operator]
        )
        + "\n"
    )
    memory = torch.cuda.max_memory_allocated() if run.compiles else 0
    return {
        "path_seconds": on_device,
        "folder_seconds": by_executors,
        "reference_seconds": loop,
        "memory_gib": memory / 2**30,
    }


def files(run: Run, _: str) -> dict[str, Any]:
    """What loading and rendering allow, in threads and in processes: the same for all models."""
    if "files" in run.document:
        return {}
    samples = file_workers(run.workers, run.rounds)
    print(_milliseconds("1080p, step and workers", "ms an image", samples))
    run.document["files"] = _seconds(samples)
    return {}


def memory(run: Run, name: str) -> dict[str, Any]:
    """Whether a batch that does not fit is halved until every image has its masks."""
    if not run.compiles:
        return {}
    outcomes = in_little_memory(segmenter_of(run, name), LITTLE_MEMORY_BATCH, LEFT_BYTES)
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    print(f"{name}, {LITTLE_MEMORY_BATCH} images with {LEFT_BYTES / 2**30:.1f} GiB left: {counts}\n")
    return {"outcomes": outcomes}


PARTS: Mapping[str, Part] = {
    "encoder": encoder,
    "whole": whole,
    "prompts": prompts,
    "files": files,
    "fidelity": fidelity,
    "memory": memory,
}


def _milliseconds(title: str, unit: str, samples: Mapping[str, Sample]) -> str:
    rows = [
        [
            key,
            f"{1000 * sample.median:.2f}",
            "{:.2f} to {:.2f}".format(*(1000 * seconds for seconds in sample.range)),
        ]
        for key, sample in samples.items()
    ]
    return markdown([title, unit, "range"], rows) + "\n"


def _seconds(samples: Mapping[str, Sample]) -> dict[str, list[float]]:
    return {key: list(sample.seconds) for key, sample in samples.items()}


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--parts", default=",".join(PARTS), help="what is measured, for each model")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--batch-sizes", default="1,2,4,8,16")
    parser.add_argument("--batch", type=int, default=8, help="of whole runs, and of the compiled encoder")
    parser.add_argument("--images", type=int, default=200, help="for the run from files to files")
    parser.add_argument("--prompts", default="1,8,64", help="numbers of prompts an image")
    parser.add_argument("--workers", default="1,4,8", help="threads or processes that load and render")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=540, help="after which no further part is begun")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device")

    began = time.monotonic()
    torch.backends.cudnn.allow_tf32 = False  # the reference of all errors computes in float32
    on_cuda = given.device == "cuda"
    run = Run(
        torch.device(given.device),
        _numbers(given.batch_sizes),
        given.batch,
        given.images,
        _numbers(given.prompts),
        _numbers(given.workers),
        given.rounds,
        matrix_peak() if on_cuda else None,
    )
    device = torch.cuda.get_device_name() if on_cuda else platform.processor() or platform.machine()
    peak = "" if run.peak is None else f"; a large bf16 product runs at {run.peak:.0f} TFLOP/s"
    print(f"{device}, torch {torch.__version__}{peak}\n")
    run.document |= {"device": device, "torch": torch.__version__, "peak_tflops": run.peak}
    left = []
    for part in given.parts.split(","):
        for name in given.models.split(","):
            if time.monotonic() - began > given.seconds:
                left.append(f"{part} of {name}")
                continue
            run.document.setdefault(name, {})[part] = PARTS[part](run, name)
            write_json(given.json, run.document)  # what was found remains, even if the process is killed
    if left:
        print(f"No time was left for: {', '.join(left)}")
    exit_if_too_far(run.fidelity)


if __name__ == "__main__":
    main()
