"""Words on a CPU: detectors beside transformers' own pipeline, in turns, each way in a process of its own.

    python -m benchmarks.words [--detectors owlv2,grounding-dino] [--images 2] [--texts 1,4] [--rounds 1]
                               [--json FILE]

Weights are random and of official size (OWLv2 base, Grounding DINO tiny): boxes mean nothing, times do. Each
way finds boxes for the same texts in the same images. Seconds are those of the processor, for an image with
all its texts; memory is the most that the process ever had resident.
"""

import argparse
import json
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from skimage import data

from benchmarks.measuring import in_turns, markdown, peak_memory_bytes, write_json
from sampoll.core.jobs import RgbImage

WAYS = ("transformers", "sampoll")
TEXTS = ("a cat.", "a red car.", "dog.", "a horse.")
"""Of at most 16 tokens, each of which is a letter here."""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--detectors", default="owlv2,grounding-dino")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--texts", default="1,4")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # a way, a directory, the number of texts
    options = parser.parse_args()
    if options.one:
        way, directory, texts = options.one
        seconds = (by_sampoll if way == "sampoll" else by_transformers)(
            Path(directory), images(options.images), TEXTS[: int(texts)]
        )
        print(json.dumps({"seconds": seconds / options.images, "bytes": peak_memory_bytes()}))
        return
    rows: list[list[object]] = []
    for detector in options.detectors.split(","):
        with tempfile.TemporaryDirectory() as directory:
            official(detector, Path(directory))
            for texts in map(int, options.texts.split(",")):
                rows += compared(detector, Path(directory), texts, options)
    print(markdown(("detector", "texts", "way", "CPU seconds an image", "ratio", "memory, GB"), rows))
    write_json(options.json, {"rows": rows, "images": options.images})


def compared(detector: str, directory: Path, texts: int, options: argparse.Namespace) -> list[list[object]]:
    memory: dict[str, int] = {}

    def once(way: str) -> float:
        command = ["--one", way, str(directory), str(texts), "--images", str(options.images)]
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.words", *command],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(run.stdout.splitlines()[-1])
        print(detector, texts, way, found, file=sys.stderr)
        memory[way] = max(memory.get(way, 0), found["bytes"])
        return float(found["seconds"])

    samples = in_turns({way: lambda way=way: once(way) for way in WAYS}, options.rounds)  # type: ignore[misc]
    first = samples[WAYS[0]].median
    return [
        [
            detector,
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
def by_transformers(directory: Path, photographs: Sequence[RgbImage], texts: Sequence[str]) -> float:
    """Its pipeline, which sees each image anew for each text."""
    transformers = imported()
    pipeline = transformers.pipeline("zero-shot-object-detection", model=str(directory), device="cpu")
    begun = time.process_time()
    for image in photographs:
        pipeline([{"image": Image.fromarray(image), "candidate_labels": list(texts)}])
    return time.process_time() - begun


@torch.inference_mode()
def by_sampoll(directory: Path, photographs: Sequence[RgbImage], texts: Sequence[str]) -> float:
    from sampoll.models.detectors import detector_in

    detector = detector_in(directory, torch.device("cpu"), 1)
    begun = time.process_time()
    for image in photographs:
        [features] = detector.features([image])
        for _, found in detector.found([(features, text) for text in texts]):
            list(found.best(detector.threshold, image.shape[:2]))
    return time.process_time() - begun


def imported() -> Any:
    from sampoll.models.shared.hub_model import imported_transformers

    return imported_transformers("python -m benchmarks.words")


def official(detector: str, directory: Path) -> None:
    """A directory as the Hub has it, with random weights and a tokenizer that knows letters."""
    transformers = imported()
    torch.manual_seed(0)
    if detector == "owlv2":
        config = transformers.Owlv2Config(vision_config={"image_size": 960, "patch_size": 16})
        model = transformers.Owlv2ForObjectDetection(config)
        transformers.Owlv2ImageProcessor().save_pretrained(directory)
        names = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
        vocabulary = {name: number for number, name in enumerate(names)}
        vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
        tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)
    else:
        model = transformers.GroundingDinoForObjectDetection(transformers.GroundingDinoConfig())
        transformers.GroundingDinoImageProcessor().save_pretrained(directory)
        vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
        letters = [*_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
        vocabulary |= {letter: 2000 + number for number, letter in enumerate(letters)}
        tokenizer = transformers.BertTokenizer(vocab=vocabulary)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


_LETTERS = [*string.ascii_lowercase, "."]


if __name__ == "__main__":
    main()
