"""Words on a CPU: detectors and SAM 3 beside transformers' own pipelines, in turns, each way in a process of
its own.

    python -m benchmarks.words [--models owlv2,grounding-dino,sam3] [--full] [--images 2] [--texts 1,4]
                               [--rounds 1] [--json FILE]

Weights are random and of official size (OWLv2 base, Grounding DINO tiny): boxes and masks mean nothing,
times do. SAM 3 has a few blocks of its trunk and of its encoder of words; with --full, all of them, which
take 3.4 GB of disk and twice that of memory. Each way looks for the same texts in the same images: detectors
for boxes, SAM 3 for masks. Seconds are those of the processor, for an image with all its texts; memory is the
most that the process ever had resident.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from skimage import data

from benchmarks.hub_directories import write_grounding_dino, write_owlv2, write_sam3
from benchmarks.measuring import in_turns, markdown, peak_memory_bytes, write_json
from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import Prompt, RgbImage
from sampoll.models.registry import find_factory
from sampoll.models.shared.hub_model import imported_transformers

WAYS = ("transformers", "sampoll")
TEXTS = ("a cat.", "a red car.", "dog.", "a horse.")
"""Of at most 16 tokens, each of which is a letter here."""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--texts", default="1,4")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    # A model, a way, a directory, the number of texts.
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        model, way, directory, texts = options.one
        seconds = MODELS[model][way](Path(directory), images(options.images), TEXTS[: int(texts)])
        print(json.dumps({"seconds": seconds / options.images, "bytes": peak_memory_bytes()}))
        return
    rows: list[list[object]] = []
    for model in options.models.split(","):
        with tempfile.TemporaryDirectory() as directory:
            write(model, Path(directory), is_full=options.full)
            for texts in map(int, options.texts.split(",")):
                rows += compared(model, Path(directory), texts, options)
    print(markdown(("model", "texts", "way", "CPU seconds an image", "ratio", "memory, GB"), rows))
    write_json(options.json, {"rows": rows, "images": options.images})


def write(model: str, directory: Path, *, is_full: bool) -> None:
    torch.manual_seed(0)
    if model == "owlv2":
        write_owlv2(directory)
    elif model == "grounding-dino":
        write_grounding_dino(directory)
    else:
        write_sam3(directory, is_full=is_full)


def compared(model: str, directory: Path, texts: int, options: argparse.Namespace) -> list[list[object]]:
    memory: dict[str, int] = {}

    def once(way: str) -> float:
        command = ["--one", model, way, str(directory), str(texts), "--images", str(options.images)]
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.words", *command],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(run.stdout.splitlines()[-1])
        print(model, texts, way, found, file=sys.stderr)
        memory[way] = max(memory.get(way, 0), found["bytes"])
        return float(found["seconds"])

    samples = in_turns({way: lambda way=way: once(way) for way in WAYS}, options.rounds)  # type: ignore[misc]
    first = samples[WAYS[0]].median
    return [
        [
            model,
            texts,
            way,
            f"{sample.median:.2f}",
            f"{sample.median / first:.2f}",
            f"{memory[way] / 1e9:.2f}",
        ]
        for way, sample in samples.items()
    ]


def images(count: int) -> list[RgbImage]:
    return [getattr(data, PHOTOGRAPHS[number % len(PHOTOGRAPHS)])()[..., :3] for number in range(count)]


@torch.inference_mode()
def boxes_by_transformers(directory: Path, photographs: Sequence[RgbImage], texts: Sequence[str]) -> float:
    """Its pipeline, which sees each image anew for each text."""
    transformers = imported_transformers("python -m benchmarks.words")
    pipeline = transformers.pipeline("zero-shot-object-detection", model=str(directory), device="cpu")
    begun = time.process_time()
    for image in photographs:
        pipeline([{"image": Image.fromarray(image), "candidate_labels": list(texts)}])
    return time.process_time() - begun


@torch.inference_mode()
def boxes_by_sampoll(directory: Path, photographs: Sequence[RgbImage], texts: Sequence[str]) -> float:
    from sampoll.models.detectors import detector_in

    detector = detector_in(directory, torch.device("cpu"), 1)
    begun = time.process_time()
    for image in photographs:
        [features] = detector.features([image])
        for _, found in detector.found([(features, text) for text in texts]):
            list(found.best(detector.threshold, features.size))
    return time.process_time() - begun


@torch.inference_mode()
def masks_by_transformers(directory: Path, photographs: Sequence[RgbImage], texts: Sequence[str]) -> float:
    """Its model and processor, as its documentation shows them: each image anew for each text."""
    transformers = imported_transformers("python -m benchmarks.words")
    model = transformers.Sam3Model.from_pretrained(directory).eval()
    processor = transformers.Sam3Processor.from_pretrained(directory)
    begun = time.process_time()
    for image in photographs:
        for text in texts:
            inputs = processor(images=Image.fromarray(image), text=text, return_tensors="pt")
            answer = model(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
            processor.post_process_instance_segmentation(
                answer, threshold=THRESHOLD, target_sizes=[image.shape[:2]]
            )
    return time.process_time() - begun


def masks_by_sampoll(directory: Path, photographs: Sequence[RgbImage], texts: Sequence[str]) -> float:
    options = ModelSettings(model="sam3", checkpoint=directory, device="cpu", precision="fp32")
    segmenter = find_factory(options)(options)
    prompts = [Prompt(text=text, score_thresh=THRESHOLD) for text in texts]
    begun = time.process_time()
    for image in photographs:
        segmenter.decode([(segmenter.embed([image])[0], prompts)])
    return time.process_time() - begun


THRESHOLD = 0.5
DETECTORS = {"transformers": boxes_by_transformers, "sampoll": boxes_by_sampoll}
MODELS = {
    "owlv2": DETECTORS,
    "grounding-dino": DETECTORS,
    "sam3": {"transformers": masks_by_transformers, "sampoll": masks_by_sampoll},
}


if __name__ == "__main__":
    main()
