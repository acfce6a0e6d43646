"""SAM on a CPU, in turns with segment_anything's own code: the encoder, and files to files.

    python -m benchmarks.cpu [--model vit_b] [--rounds 3] [--int8] [--json FILE] [--svg DIR]

Weights are random, so masks mean nothing; times and rounding errors do. Ends with 1 if an error is larger
than its precision allows.
"""

import argparse
import copy
import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from benchmarks.measuring import Sample, in_turns, markdown, peak_memory_bytes, write_json
from benchmarks.models import exit_if_too_far, random_sam
from benchmarks.pipeline import HEIGHT, WIDTH, photograph
from benchmarks.plots import bars, write_svg
from benchmarks.whole import by_sampoll, by_the_loop
from sampoll.core.jobs import RgbImage
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.inputs.decode import decode_image
from sampoll.models.sam.network import sam_network
from sampoll.models.sam.original import OriginalSam
from sampoll.models.shared.device import variants
from sampoll.models.shared.fidelity import Fidelity, compare
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.quantize import quantized
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.vit import exportable

CPU = torch.device("cpu")
ORIGINAL = "segment_anything, fp32"
LOOP = "reference loop"
IMAGES_A_ROUND = 2
KNOWN_IMAGES = 20


def segmenters(name: str, sam: Sam, image: RgbImage, *, int8: bool) -> dict[str, PromptableSegmenter]:
    """Every way to run the model here, by engine and precision."""
    graph = converted(exportable(copy.deepcopy(sam).image_encoder))

    def segmenter(engine: str, precision: str, model: Any = graph) -> PromptableSegmenter:
        encoder = OpenVinoEncoder(model, 1024, precision) if engine == "openvino" else None
        return PromptableSegmenter(
            name, sam_network(copy.deepcopy(sam)), CPU, precision=precision, encoder=encoder, prompt_batch=4
        )

    found = {f"{engine}, {precision}": segmenter(engine, precision) for engine, precision in variants("cpu")}
    if int8:
        by_torch = segmenter("torch", "bf16")
        pixels = [image, image[::-1].copy(), image[:, ::-1].copy()]
        model = quantized(graph, pixels, lambda one: by_torch.preprocessed(one)[None].numpy())
        found["openvino, int8"] = segmenter("openvino", "int8", model)
    return found


def encoding(
    sam: Sam, ways: Mapping[str, PromptableSegmenter], image: RgbImage, rounds: int
) -> tuple[dict[str, Sample], dict[str, Fidelity]]:
    """Seconds from pixels to embedding, and what is different about the answers."""
    _, fidelity = compare(OriginalSam(sam), ways, [image])  # the warm-up too
    predictor = SamPredictor(sam)
    acts: dict[str, Callable[[], object]] = {ORIGINAL: partial(predictor.set_image, image)}
    acts |= {name: partial(way.embed, [image]) for name, way in ways.items()}
    return in_turns({name: partial(seconds_of, act) for name, act in acts.items()}, rounds), fidelity


def filing(sam: Sam, ways: Mapping[str, PromptableSegmenter], rounds: int) -> dict[str, Sample]:
    """Seconds an image from files to files; the last one for images whose embeddings are known."""
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        root = Path(scratch) / "pairs"
        acts = {LOOP: partial(by_the_loop, root, sam, CPU, IMAGES_A_ROUND)}
        acts |= {name: partial(by_sampoll, root, way, IMAGES_A_ROUND) for name, way in ways.items()}
        name, way = list(ways.items())[-1]
        embeddings = EmbeddingCache(way, 2**30)
        write_known(way, embeddings)
        acts[f"{name}, known images"] = partial(by_sampoll, root, way, KNOWN_IMAGES, embeddings=embeddings)
        return in_turns(acts, rounds)


def write_known(way: PromptableSegmenter, embeddings: EmbeddingCache[Any]) -> None:
    """What all the images of the run look like is the same, only their sha256 are not."""
    content = photograph(WIDTH, HEIGHT)
    [embedding] = way.embed([decode_image(content, "photograph.jpg", 10**9)])
    for number in range(KNOWN_IMAGES):
        embeddings.put(hashlib.sha256(content + b"%d" % number).hexdigest(), embedding)


def seconds_of(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def table(
    title: str, samples: Mapping[str, Sample], more: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> str:
    """Seconds, and for each variant what `columns` has of it under the headers `more`."""
    [reference, *_] = samples.values()
    rows = []
    for name, sample in samples.items():
        row = [name, f"{sample.median:.2f}", "{:.2f} to {:.2f}".format(*sample.range)]
        ratio = f"{reference.median / sample.median:.1f}"
        rows.append([*row, ratio, *columns.get(name, [""] * len(more))])
    return f"{title}\n\n{markdown(['', 'seconds an image', 'range', 'ratio', *more], rows)}\n"


def _errors(found: Fidelity) -> list[str]:
    return [f"{found.embedding_error:.1e}", f"{found.logits_error:.1e}", f"{found.mean_iou:.4f}"]


def shares(encoded: Mapping[str, Sample], filed: Mapping[str, Sample]) -> dict[str, list[str]]:
    """The speed from files to files, of that of the encoder alone: nothing can be faster than the encoder."""
    return {
        name: [f"{encoded[name].median / sample.median:.0%}"]
        for name, sample in filed.items()
        if name in encoded
    }


def ratios(samples: Mapping[str, Sample]) -> dict[str, float]:
    [reference, *_] = samples.values()
    return {name: reference.median / sample.median for name, sample in samples.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__)
    parser.add_argument("--model", default="vit_b", choices=["vit_b", "vit_l", "vit_h"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--int8", action="store_true", help="quantize, and measure that too")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--svg", type=Path, help="draw the ratios into this directory")
    given = parser.parse_args(arguments)

    image = decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)
    sam = random_sam(given.model)
    ways = segmenters(given.model, sam, image, int8=given.int8)
    encoded, fidelity = encoding(sam, ways, image, given.rounds)
    filed = filing(sam, ways, given.rounds)

    size = f"{given.model}, {WIDTH}x{HEIGHT}, {given.rounds} rounds"
    errors = {name: _errors(found) for name, found in fidelity.items()}
    print(table(f"{size}: from pixels to embedding", encoded, ["embedding", "logits", "mean IoU"], errors))
    of_encoder = shares(encoded, filed)
    print(table(f"{size}: from files to files", filed, ["of the encoder's speed"], of_encoder))
    print(f"Peak memory of this benchmark: {peak_memory_bytes() / 2**30:.1f} GiB.")
    write_svg(given.svg, "cpu-encoder", bars(f"{given.model}: encoder, times as fast", ratios(encoded), "x"))
    write_svg(
        given.svg, "cpu-files", bars(f"{given.model}: files to files, times as fast", ratios(filed), "x")
    )
    write_json(
        given.json,
        {
            "model": given.model,
            "encoder_seconds": {name: list(sample.seconds) for name, sample in encoded.items()},
            "file_seconds": {name: list(sample.seconds) for name, sample in filed.items()},
            "logits_errors": {name: found.logits_error for name, found in fidelity.items()},
        },
    )
    exit_if_too_far(fidelity)


if __name__ == "__main__":
    main()
