"""What several tests need: small images, prompts, a fake segmenter, and the real process."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from opex import ObjectPredictions
from PIL import Image

from sampoll.jobs import Job, Prompt, RgbImage
from sampoll.results import BoolMask, Mask, ModelInfo

TESTS = Path(__file__).parent
SAMPOLL = Path(sys.executable).with_name("sampoll")
BOX = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}
DEADLINE_SECONDS = 60.0


def image_of(height: int = 24, width: int = 32, seed: int = 0) -> RgbImage:
    """A noisy image of shape (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def turned_image(height: int = 24, width: int = 32) -> bytes:
    """A JPEG that is stored in this size, and upright once it is turned by 90 degrees, as its EXIF says."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image_of(height, width), "JPEG", exif=exif)


def job_of(image: RgbImage, *prompts: Prompt, name: str = "a") -> Job:
    sha256 = hashlib.sha256(name.encode() + image.tobytes()).hexdigest()
    return Job(f"id-{name}", name, image, sha256, prompts, 0.0)


def drop_pair(
    directory: Path, name: str, prompt: object = BOX, *, image: RgbImage | None = None, suffix: str = ".jpg"
) -> None:
    """Puts a pair into a directory, as someone who uses sampoll would."""
    kind = {".jpg": "JPEG", ".png": "PNG"}[suffix.lower()]
    (directory / f"{name}{suffix}").write_bytes(encoded(image_of() if image is None else image, kind))
    (directory / f"{name}.json").write_text(json.dumps(prompt))


@dataclass(frozen=True)
class Folders:
    """The directories that a user of `sampoll run` sees."""

    input: Path
    output: Path

    @property
    def flags(self) -> tuple[object, ...]:
        return ("-i", self.input, "-o", self.output, "--settle", 0.1, "--rescan", 0.5)

    @property
    def done(self) -> list[str]:
        return names_in(self.input / "done")

    @property
    def failed(self) -> list[str]:
        return names_in(self.input / "failed")

    @property
    def results(self) -> list[str]:
        return names_in(self.output)

    @property
    def waiting(self) -> list[str]:
        return [name for name in names_in(self.input) if name not in ("done", "failed")]


class BoxSegmenter:
    """Its masks are the prompts' boxes, or the pixels under their points; everything is the parts of a grid.
    It remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("boxes")

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        self.batches.append(len(images))
        return list(images)

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return [[_answer(image, prompt) for prompt in prompts] for image, prompts in work]


class KeptBoxes(BoxSegmenter):
    """Its embeddings count 1000 bytes each."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("kept")

    embedding_key = "boxes-1"
    embedding_bytes = 1000

    def image_size(self, embedding: RgbImage) -> tuple[int, int]:
        return embedding.shape[0], embedding.shape[1]

    def packed(self, embedding: RgbImage) -> Mapping[str, NDArray[Any]]:
        return {"image": embedding}

    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> RgbImage:
        return arrays["image"]


def _answer(image: RgbImage, prompt: Prompt) -> list[Mask]:
    if prompt.everything is None:
        return [_drawn(image, prompt)]
    side = prompt.everything.points_per_side
    rows, columns = (np.arange(length) * side // length for length in image.shape[:2])
    parts = rows[:, None] * side + columns
    return [Mask.from_array(parts == number, 0.5) for number in range(side**2)]


def _drawn(image: RgbImage, prompt: Prompt) -> Mask:
    pixels = np.zeros(image.shape[:2], np.bool_)
    if prompt.box:
        pixels[int(prompt.box.y0) : int(prompt.box.y1), int(prompt.box.x0) : int(prompt.box.x1)] = True
    for point in prompt.points:
        pixels[int(point.y), int(point.x)] = point.label == 1
    return Mask.from_array(pixels, 0.5)


def iou(a: BoolMask, b: BoolMask) -> float:
    return float((a & b).sum() / (a | b).sum())


def read_mask(path: Path) -> BoolMask:
    """A mask PNG as another library reads it."""
    with Image.open(path) as image:
        assert image.mode == "1"
        return np.asarray(image)


def read_opex(path: Path) -> ObjectPredictions:
    return ObjectPredictions.from_json_string(path.read_text())


def names_in(directory: Path) -> list[str]:
    """The visible names in a directory; none where it does not exist."""
    return sorted(p.name for p in directory.glob("*") if not p.name.startswith("."))


def files_below(directory: Path) -> list[str]:
    """The visible files in a directory and its folders, by their paths relative to it."""
    paths = (p.relative_to(directory) for p in directory.rglob("*") if p.is_file())
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))


def until(condition: Callable[[], object], what: str, seconds: float | None = None) -> None:
    """Waits for a condition, and fails when it does not come."""
    deadline = time.monotonic() + (DEADLINE_SECONDS if seconds is None else seconds)
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of sampoll's, with the tests' own modules importable."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SAMPOLL_")}
    fixed = {"PYTHONPATH": str(TESTS), "XDG_CONFIG_HOME": "/nonexistent", "SAMPOLL_LOG_FORMAT": "text"}
    return {**clean, **fixed, **(extra or {})}


# Root may write anywhere unless these are taken away; setpriv is part of every Debian and Ubuntu.
_WITHOUT_PRIVILEGES = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
    if os.geteuid() == 0
    else ()
)


def sampoll(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    unprivileged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs the real command to its end; `unprivileged`, permissions count even if the tests run as root."""
    return subprocess.run(
        [*(_WITHOUT_PRIVILEGES if unprivileged else ()), SAMPOLL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS * 2,
        env=environment(env),
        cwd=cwd,
        check=False,
    )


@contextmanager
def running_sampoll(
    *arguments: object, log: IO[bytes] | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The real command in the background; killed at the end if it still runs."""
    process = subprocess.Popen([SAMPOLL, *map(str, arguments)], env=environment(env), stderr=log, stdout=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
