"""Pairs a second through a watched folder, with a segmenter that costs nothing: what everything else costs.

python -m benchmarks.pipeline [--pairs 3000] [--size 64x48] [--rounds 5] [--json FILE]
"""

import argparse
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, get_args

import numpy as np
from PIL import Image

from benchmarks.ellipses import Ellipses, ellipse
from benchmarks.measuring import in_turns, markdown, peak_memory_bytes, write_json
from benchmarks.reference import poll_once
from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.spool import Durability, SpoolSettings
from sampoll.core.events import ignore_events
from sampoll.core.protocols import Segmenter
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.pipeline import Service, default_io_threads
from sampoll.formats.opex import Opex
from sampoll.formats.png import PngMask
from sampoll.inputs.decode import decode
from sampoll.inputs.options import DecodingOptions
from sampoll.spool.layout import Layout
from sampoll.transports.directory.transport import DirectoryOptions, directory_transport

BATCH_SIZE = 8
WIDTH, HEIGHT = 1920, 1080
"""A photograph of 1080p, where nothing else is asked for."""


def photograph(width: int, height: int) -> bytes:
    """A JPEG about as large as a photograph's."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
    pixels = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=2) + noise
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_pairs(directory: Path, prompt_suffix: str, *, count: int, width: int, height: int) -> None:
    """The same photograph `count` times, each with a box, and with another sha256."""
    write_copies(directory, prompt_suffix, photograph(width, height), count=count, width=width, height=height)


def write_copies(
    directory: Path, prompt_suffix: str, content: bytes, *, count: int, width: int, height: int
) -> None:
    """The pairs of `write_pairs` with an image file of this content."""
    prompt = json.dumps({"box": {"x0": 1, "y0": 1, "x1": width - 2, "y1": height - 2}})
    directory.mkdir(parents=True)
    for number in range(count):
        (directory / f"image{number:06d}.jpg").write_bytes(content + b"%d" % number)
        (directory / f"image{number:06d}{prompt_suffix}").write_text(prompt)
    os.sync()  # or the first to force anything to the disk would pay for these


def through_the_spool(root: Path, durability: Durability, write: Callable[[Path, str], None]) -> float:
    """Seconds from the first look at the input until every result is published."""
    shutil.rmtree(root, ignore_errors=True)
    write(root / "in", ".json")
    (root / "out").mkdir()
    return serve_folder(root, Ellipses(), BATCH_SIZE, durability)


def serve_folder(
    root: Path,
    segmenter: Segmenter[Any],
    batch_size: int,
    durability: Durability = "batch",
    executors: int = 1,
    embeddings: EmbeddingCache[Any] | None = None,
) -> float:
    """Seconds that a one-shot run takes for all pairs in root/in, the model being loaded."""
    layout = Layout(root / "in", root / "out", root / "in" / "done")
    settings = SpoolSettings(settle_seconds=0, give_up_seconds=0, durability=durability)
    options = DirectoryOptions(settings)
    known = None if embeddings is None else embeddings.known
    begun = time.perf_counter()
    with directory_transport(layout, options, ignore_events, set()) as transport:
        Service(
            transport=transport,
            decode=partial(decode, options=DecodingOptions(LimitSettings(max_pixels=10**9)), known=known),
            segmenter=segmenter,
            formats=[PngMask(), Opex()],
            batch_size=batch_size,
            max_wait_seconds=0.1,
            io_threads=default_io_threads(),
            executors=executors,
            embeddings=embeddings,
        ).run(Event())
    return time.perf_counter() - begun


def through_the_reference(root: Path, write: Callable[[Path, str], None]) -> float:
    """The same for the loop that people ran before."""
    shutil.rmtree(root, ignore_errors=True)
    write(root / "in", ".prompt")
    (root / "out").mkdir()
    begun = time.perf_counter()
    poll_once(
        root / "in", root / "out", lambda image, prompt: (ellipse((image.shape[0], image.shape[1])), 0.9)
    )
    return time.perf_counter() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--size", default="64x48", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    width, height = map(int, given.size.split("x"))

    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        write = partial(write_pairs, count=given.pairs, width=width, height=height)
        root = Path(scratch) / "spool"
        samples = in_turns(
            {
                "reference loop": lambda: through_the_reference(root, write),
                **{
                    f"--durability {durability}": partial(through_the_spool, root, durability, write)
                    for durability in get_args(Durability)
                },
            },
            given.rounds,
        )
    reference = samples["reference loop"].median
    print(f"{given.pairs} pairs of {width}x{height}, {given.rounds} rounds\n")
    print(
        markdown(
            ["", "pairs/s, median", "slowest to fastest round", "x the reference"],
            [
                [
                    name,
                    f"{given.pairs / sample.median:.0f}",
                    f"{given.pairs / sample.range[1]:.0f} to {given.pairs / sample.range[0]:.0f}",
                    f"{reference / sample.median:.2f}",
                ]
                for name, sample in samples.items()
            ],
        )
    )
    print(f"\npeak memory {peak_memory_bytes() / 2**20:.0f} MiB")
    write_json(
        given.json,
        {
            "pairs": given.pairs,
            "size": [width, height],
            "seconds": {name: list(sample.seconds) for name, sample in samples.items()},
        },
    )


if __name__ == "__main__":
    main()
