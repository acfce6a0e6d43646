"""Image encoders run by OpenVINO, on a CPU: converted from torch once, then read from a cache.

https://docs.openvino.ai
"""

import functools
import hashlib
import json
import logging
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared.device import BFLOAT16_FLAGS, cpu_flags
from sampoll.models.shared.network import TorchEncoder
from sampoll.models.shared.private_copy import private_copy

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

CONVERSION = 2
"""Version of the conversion: increased when the same checkpoint is converted to a different graph, or other
files are kept of it."""
MODEL_FILE, WEIGHTS_FILE, DIGESTS_FILE = "encoder.xml", "encoder.bin", "encoder.sha256.json"


class OpenVinoEncoder:
    """The same function as what was converted, up to rounding in `precision`. Threads may call it at the same
    time."""

    engine = "openvino"

    def __init__(
        self, model: "openvino.Model", img_size: int, precision: str, sha256: str | None = None
    ) -> None:
        """`model` is quantized if `precision` is int8, and `sha256` then its digest. ModelUnavailable if the
        processor does not compute in it."""
        self.img_size = img_size
        self.sha256 = sha256
        hint = _hint(precision)
        compiled = _core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        self._compiled = compiled
        if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != hint:
            raise ModelUnavailable(
                f"OpenVINO does not compute in {precision} on this processor: use --precision fp32"
            )
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The levels, each float32 of shape (B, C, h, w), of normalised images of shape (B, 3, S, S).

        Images are computed one by one: one image already uses all cores, and batches only need more memory.
        """
        with self._lock:
            by_image = [self._levels(image) for image in images]
        return tuple(torch.stack(level) for level in zip(*by_image, strict=True))

    def _levels(self, image: Tensor) -> list[Tensor]:
        levels = self._compiled(image[None].numpy(), share_inputs=True).values()
        return [
            torch.from_numpy(level[0].copy()) for level in levels
        ]  # the next call writes to the same places


def cached_model(
    encoder: Callable[[], TorchEncoder], checkpoint_sha256: str, cache: Path
) -> "openvino.Model":
    """The graph of a checkpoint's encoder, in float32: read from `cache`, or converted from the module that
    `encoder` makes, and then kept there.

    ModelUnavailable if it cannot be converted. If the cache is not writable, every start converts again.
    """
    directory = _place(checkpoint_sha256, cache)
    if directory.is_dir():
        try:
            return _read(directory, checkpoint_sha256)[0]
        except (ModelUnavailable, ValueError, RuntimeError) as error:
            log.warning("%s is damaged, and is converted again (%s)", directory, str(error).splitlines()[0])
            shutil.rmtree(directory, ignore_errors=True)
    began = time.monotonic()
    fields = {"event": "converting", "engine": OpenVinoEncoder.engine}
    log.info(
        "converting the encoder for OpenVINO, once for this checkpoint; this takes a while", extra=fields
    )
    model = converted(encoder())
    seconds = time.monotonic() - began
    log.info("converted in %.0f s", seconds, extra={"event": "converted", "seconds": round(seconds, 3)})
    try:
        save(model, directory, checkpoint_sha256)
    except (OSError, RuntimeError) as error:
        log.warning("cannot keep the converted encoder in %s: %s", directory, error)
    return model


def converted(encoder: TorchEncoder) -> "openvino.Model":
    """The graph of an encoder in float32: for one image,
    (1, 3, img_size, img_size) to levels of (1, C, h, w)."""
    image = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about how OpenVINO uses it
        try:
            # Exporting computes nothing; tracing, OpenVINO's own way, would run the encoder several times.
            return imported_openvino().convert_model(
                torch.export.export(encoder.eval().requires_grad_(False), (image,), strict=False)
            )
        except Exception as error:
            raise ModelUnavailable(
                f"the encoder could not be converted for OpenVINO: use --engine torch ({error})"
            ) from error


def quantized_place(checkpoint_sha256: str, cache: Path) -> Path:
    """Where the int8 graph of a checkpoint's encoder is kept."""
    place = _place(checkpoint_sha256, cache)
    return place.with_name(f"{place.name}-int8")


def quantized_model(checkpoint_sha256: str, cache: Path) -> tuple["openvino.Model", str]:
    """The int8 graph of a checkpoint's encoder, and the SHA-256 of its files; ModelUnavailable if it was not
    made on this machine, or is damaged."""
    place = quantized_place(checkpoint_sha256, cache)
    advice = "make one with `sampoll models quantize --checkpoint FILE IMAGES`, or use --precision bf16"
    if not place.is_dir():
        raise ModelUnavailable(f"no int8 encoder of this checkpoint in {place}: {advice}")
    try:
        return _read(place, checkpoint_sha256)
    except (ModelUnavailable, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelUnavailable(f"the int8 encoder in {place} is damaged ({reason}): {advice}") from error


def _read(directory: Path, checkpoint_sha256: str) -> tuple["openvino.Model", str]:
    """The graph in `directory`, and the SHA-256 of its files; ValueError if they are not those that were
    written for this checkpoint."""
    with (
        private_copy(directory / MODEL_FILE) as graph,
        private_copy(directory / WEIGHTS_FILE) as weights,
    ):
        found = _digests(checkpoint_sha256, graph.sha256, weights.sha256)
        if _recorded(directory / DIGESTS_FILE) != found:
            raise ValueError("its files are not those that were written")
        sha256 = hashlib.sha256(f"{graph.sha256} {weights.sha256}".encode()).hexdigest()
        return _core().read_model(graph.path, weights.path), sha256


def _digests(checkpoint_sha256: str, graph_sha256: str, weights_sha256: str) -> dict[str, str]:
    return {"checkpoint": checkpoint_sha256, MODEL_FILE: graph_sha256, WEIGHTS_FILE: weights_sha256}


def _recorded(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error


@functools.cache
def _core() -> "openvino.Core":
    """The only one of this process. On processors with AMX, each gives the thread that first compiles with it
    a stack for signals, and frees that at its end. If two end in the order of their beginning, the thread is
    left with a freed stack, and the next signal ends the process."""
    return imported_openvino().Core()


def _hint(precision: str) -> str:
    """OpenVINO's name of a precision; for int8, that of the layers that are not quantized."""
    if precision == "int8":
        precision = "bf16" if BFLOAT16_FLAGS & cpu_flags() else "fp32"
    return {"fp32": "f32", "bf16": "bf16"}[precision]


def _place(checkpoint_sha256: str, cache: Path) -> Path:
    version = imported_openvino().__version__.partition("-")[0]
    return cache / f"{checkpoint_sha256[:16]}-{version}-{CONVERSION}"


def save(model: "openvino.Model", directory: Path, checkpoint_sha256: str, *, replaces: bool = False) -> None:
    """Writes the model of a checkpoint as a whole or not at all, also while other processes write the same
    one. One that is there already is kept, unless this one `replaces` it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".") as temporary:
        new = Path(temporary, "model")
        imported_openvino().save_model(model, new / MODEL_FILE, compress_to_fp16=False)
        files = (sha256_of(new / name) for name in (MODEL_FILE, WEIGHTS_FILE))
        (new / DIGESTS_FILE).write_text(json.dumps(_digests(checkpoint_sha256, *files), indent=2) + "\n")
        if replaces and directory.is_dir():
            directory.rename(Path(temporary, "replaced"))
        try:
            new.rename(directory)
        except OSError:
            if not directory.is_dir():  # otherwise another process was faster
                raise


def imported_openvino() -> "openvino":
    """The package, imported with its telemetry disabled, which would report imports and conversions."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing it now fails
    try:
        import openvino
    except ImportError as error:
        raise ModelUnavailable(
            "--engine openvino needs OpenVINO: pip install 'sampoll[openvino]', or use --engine torch"
        ) from error
    return openvino
