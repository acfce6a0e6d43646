"""The families of models on a CPU, in turns: encoders by engine and precision, decoding, memory, and the
cheapest one from files to files beside the loop around SAM that people ran before.

    python -m benchmarks.families [--models vit_b,edgetam] [--rounds 3] [--int8] [--files] [--json FILE]

Weights are random: masks mean nothing, times do. Seconds are those of the processor, of all its cores
together, because they depend less on what else the machine does; ratios are to the first model. Errors are
those of an encoder's output, relative L2, against torch in float32; of several levels, the largest.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from skimage import data
from torch import Tensor

from benchmarks.measuring import Sample, in_turns, markdown, write_json
from benchmarks.models import random_network, random_sam, relative_error
from benchmarks.pipeline import HEIGHT, WIDTH, photograph
from benchmarks.whole import by_sampoll, by_the_loop
from sampoll.core.jobs import Box, Prompt, RgbImage
from sampoll.inputs.decode import decode_image
from sampoll.models.shared.conversion import prepared_photograph
from sampoll.models.shared.device import variants
from sampoll.models.shared.network import ImageEncoder, Levels, Network
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.quantize import quantized_encoder
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.torch_device import PRECISIONS

CPU = torch.device("cpu")
SAM2 = "sam2.1_hiera_base_plus,sam2.1_hiera_small,sam2.1_hiera_tiny"
MODELS = f"vit_b,{SAM2},sam_hq_vit_tiny,mobile_sam,edgetam"
PROMPTS = (1, 8, 32)
IMAGES_A_ROUND = 2
FASTEST = ("openvino", "bf16")


def segmenter(name: str, engine: str, precision: str, prompt_batch: int = 32) -> PromptableSegmenter:
    """A model with random weights, in one of the ways to run it here."""
    network = random_network(name)
    encoder = encoder_of(network, engine, precision) if engine == "openvino" else None
    return PromptableSegmenter(
        name, network, CPU, precision=precision, encoder=encoder, prompt_batch=prompt_batch
    )


def encoder_of(network: Network, engine: str, precision: str) -> ImageEncoder:
    """The encoder of a network that is not used for anything else."""
    if engine == "torch":
        return network.encoder(PRECISIONS[precision]).eval().requires_grad_(False)
    model = converted(network.encoder(torch.float32))
    if precision == "int8":
        images = [image_of(name) for name in ("astronaut", "chelsea", "coffee")]
        model = quantized_encoder(model, network.rules, images, lambda image: image)
    return OpenVinoEncoder(model, network.rules.img_size, precision)


def image_of(name: str) -> RgbImage:
    """A photograph that comes with scikit-image."""
    photo: RgbImage = getattr(data, name)()
    return photo


def processor_seconds(act: Callable[[], object]) -> float:
    begun = time.process_time()
    act()
    return time.process_time() - begun


@dataclass(frozen=True)
class Encoding:
    """The encoder alone, by model, in one of the ways to run it."""

    seconds: dict[str, Sample]
    errors: dict[str, float]
    """Of a photograph, relative L2."""


def encoding(
    names: Sequence[str], engine: str, precision: str, rounds: int, exact: Mapping[str, Levels]
) -> Encoding:
    """Of prepared images; `exact` is what torch makes of them in float32."""
    acts, errors = {}, {}
    for name in names:
        network = random_network(name)
        images = prepared_photograph(network.rules)
        acts[name] = partial(inferred, encoder_of(network, engine, precision), images)
        levels = zip(acts[name](), exact[name], strict=True)
        errors[name] = max(relative_error(ours, theirs) for ours, theirs in levels)
    seconds = in_turns({name: partial(processor_seconds, act) for name, act in acts.items()}, rounds)
    return Encoding(seconds, errors)


def inferred(encoder: ImageEncoder, images: Tensor) -> Levels:
    with torch.inference_mode():
        return encoder(images)


def exact_levels(name: str) -> Levels:
    network = random_network(name)
    return inferred(encoder_of(network, "torch", "fp32"), prepared_photograph(network.rules))


def decoding(names: Sequence[str], prompts: int, rounds: int) -> dict[str, Sample]:
    """From an embedding and so many boxes to masks, by model."""
    image = decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)
    boxes = [Prompt(box=Box(10.0 * n, 10.0 * n, 10.0 * n + 400, 10.0 * n + 300)) for n in range(prompts)]
    acts: dict[str, Callable[[], object]] = {}
    for name in names:
        model = segmenter(name, "torch", "fp32")
        [embedding] = model.embed([image])
        acts[name] = partial(model.decode, [(embedding, boxes)])
        acts[name]()
    return in_turns({name: partial(processor_seconds, act) for name, act in acts.items()}, rounds)


def filing(name: str, rounds: int) -> dict[str, Sample]:
    """Seconds an image from files to files: the loop around vit_b, and `name` in sampoll."""
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        root, way = Path(scratch) / "pairs", FASTEST if FASTEST in variants("cpu") else variants("cpu")[-1]
        acts = {
            "reference loop, vit_b": partial(by_the_loop, root, random_sam("vit_b"), CPU, IMAGES_A_ROUND),
            f"sampoll, {name}, {', '.join(way)}": partial(
                by_sampoll, root, segmenter(name, *way), 10 * IMAGES_A_ROUND
            ),
        }
        return in_turns(acts, rounds)


def memory_gib(name: str, engine: str, precision: str) -> float:
    """The peak of a process that makes the model, embeds one image and decodes one box."""
    command = [sys.executable, "-m", "benchmarks.families", "--memory-of", name, engine, precision]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_memory_of(name: str, engine: str, precision: str) -> None:
    model = segmenter(name, engine, precision)
    [embedding] = model.embed([decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)])
    model.decode([(embedding, [Prompt(box=Box(10, 10, 400, 300))])])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def table(title: str, columns: Mapping[str, Mapping[str, Sample]]) -> str:
    """Medians with ratios to the first row, by model and column."""
    names = list(next(iter(columns.values())))
    rows = []
    for name in names:
        cells = []
        for samples in columns.values():
            first, own = samples[names[0]].median, samples[name]
            cells.append(f"{own.median:.2f} ({own.median / first:.2f})")
        rows.append([name, *cells])
    return f"{title}\n\n{markdown(['', *columns], rows)}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("--models", default=MODELS, help="their names with commas; ratios are to the first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--int8", action="store_true", help="quantize the encoders, and measure that too")
    parser.add_argument("--files", action="store_true", help="measure the last model from files to files too")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.memory_of:
        print_memory_of(*given.memory_of)
        return

    names = given.models.split(",")
    ways = variants("cpu")
    encoder_ways = [*ways, *([("openvino", "int8")] if given.int8 else [])]
    exact = {name: exact_levels(name) for name in names}
    encoded = {", ".join(way): encoding(names, *way, given.rounds, exact) for way in encoder_ways}
    seconds = {way: found.seconds for way, found in encoded.items()}
    print(table(f"{given.rounds} rounds: processor seconds of the encoder alone", seconds))
    rows = [[name, *(f"{found.errors[name]:.1e}" for found in encoded.values())] for name in names]
    print(f"Errors of its output\n\n{markdown(['', *encoded], rows)}\n")
    decoded = {f"{count} boxes": decoding(names, count, given.rounds) for count in PROMPTS}
    print(table("Processor seconds to decode boxes of one image, torch, fp32", decoded))
    memory = {name: [memory_gib(name, *way) for way in ways] for name in names}
    peaks = [[name, *(f"{peak:.2f}" for peak in by_way)] for name, by_way in memory.items()]
    print(f"Peak memory in GiB\n\n{markdown(['', *map(', '.join, ways)], peaks)}\n")
    filed = filing(names[-1], given.rounds) if given.files else {}
    if filed:
        [loop, _] = filed.values()
        print(markdown(["", "seconds an image", "times as fast"], [
            [name, f"{sample.median:.2f}", f"{loop.median / sample.median:.1f}"]
            for name, sample in filed.items()
        ]))  # fmt: skip
    write_json(
        given.json,
        {
            "encoder_seconds": seconds_of(seconds),
            "encoder_errors": {way: found.errors for way, found in encoded.items()},
            "decoder_seconds": seconds_of(decoded),
            "peak_gib": memory,
            "file_seconds": {name: list(sample.seconds) for name, sample in filed.items()},
        },
    )


def seconds_of(columns: Mapping[str, Mapping[str, Sample]]) -> dict[str, dict[str, list[float]]]:
    return {
        way: {name: list(sample.seconds) for name, sample in samples.items()}
        for way, samples in columns.items()
    }


if __name__ == "__main__":
    main()
