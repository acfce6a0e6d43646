"""Image encoders run by OpenVINO, on a CPU: converted from torch, and checked.

https://docs.openvino.ai
"""

import functools
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.files.cores import allowed_cores, usable_cores
from sampoll.models.shared.device import BFLOAT16_FLAGS, cpu_flags
from sampoll.models.shared.network import TorchEncoder

if TYPE_CHECKING:
    import openvino

LARGEST_ERROR = 1e-3
"""Relative L2 of a level, between torch and OpenVINO in float32. Rounding gives 1e-6; wrong graphs that were
seen, 0.26."""


class OpenVinoEncoder:
    """The same function as what was converted, up to rounding in `precision`. Threads may call it at the same
    time."""

    engine = "openvino"

    def __init__(
        self,
        model: "openvino.Model",
        img_size: int,
        precision: str,
        sha256: str | None = None,
        *,
        streams: int = 1,
    ) -> None:
        """`model` is quantized if `precision` is int8, and `sha256` then its digest. So many `streams` of
        images are computed at the same time. ModelUnavailable if the processor does not compute in the
        precision."""
        self.img_size = img_size
        self.sha256 = sha256
        hint = _hint(precision)
        options = {"INFERENCE_PRECISION_HINT": hint, **_thread_options(streams)}
        compiled = core().compile_model(model, "CPU", options)
        if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != hint:
            raise ModelUnavailable(
                f"OpenVINO does not compute in {precision} on this processor: use --precision fp32"
            )
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The levels, each float32 of shape (B, C, h, w), of normalised images of shape (B, 3, S, S).

        Each stream computes one image at a time: batches of OpenVINO only need more memory.
        """
        pixels, at_once = images.numpy(), len(self._requests)
        by_image: list[list[NDArray[np.float32]]] = []
        with self._lock, ThreadPoolExecutor(at_once, "openvino") as threads:
            for start in range(0, len(pixels), at_once):
                by_image += threads.map(_levels, self._requests, pixels[start : start + at_once])
        return tuple(torch.from_numpy(np.stack(level)) for level in zip(*by_image, strict=True))


def _levels(request: Any, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The levels of one image, (C, h, w) each; copied, because the next call writes to the same places."""
    request.start_async(image[None], share_inputs=True)  # in a thread of its stream; `infer` takes this one
    request.wait()
    return [level[0].copy() for level in request.results.values()]


def _thread_options(streams: int) -> dict[str, Any]:
    """How OpenVINO uses the cores of this process: without them, it would take those of the machine."""
    cores = usable_cores()
    options: dict[str, Any] = {"INFERENCE_NUM_THREADS": cores}
    if cores < allowed_cores():
        # A limit of CPU time names no cores. Pinned, the processes of several containers take the same ones.
        options["ENABLE_CPU_PINNING"] = False
    if streams > 1:
        options |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}
    return options


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


def check_conversion(model: "openvino.Model", encoder: TorchEncoder, images: Tensor) -> None:
    """ModelUnavailable if the graph does not compute what `encoder`, in float32, makes of prepared images.

    For some forms of attention, OpenVINO makes graphs that compute something else, without any error.
    """
    with torch.inference_mode():
        expected = encoder(images)
    found = OpenVinoEncoder(model, encoder.img_size, "fp32")(images)
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True), 1):
        error = float((ours - theirs).norm() / theirs.norm())
        if not error <= LARGEST_ERROR:  # also if it is not a number
            raise ModelUnavailable(
                f"OpenVINO {version()} converts this encoder wrongly: "
                f"on a photograph, output {number} of {len(expected)} is {error:.1%} off that of torch. "
                "The graph was not kept: use --engine torch, or another version of OpenVINO"
            )


@functools.cache
def core() -> "openvino.Core":
    """The only one of this process. On processors with AMX, each gives the thread that first compiles with it
    a stack for signals, and frees that at its end. If two end in the order of their beginning, the thread is
    left with a freed stack, and the next signal ends the process."""
    return imported_openvino().Core()


def _hint(precision: str) -> str:
    """OpenVINO's name of a precision; for int8, that of the layers that are not quantized."""
    if precision == "int8":
        precision = "bf16" if BFLOAT16_FLAGS & cpu_flags() else "fp32"
    return {"fp32": "f32", "bf16": "bf16"}[precision]


def version() -> str:
    return str(imported_openvino().__version__).partition("-")[0]


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
