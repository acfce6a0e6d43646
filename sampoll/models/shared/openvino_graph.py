"""Graphs that OpenVINO runs on a CPU: arrays of numpy in, arrays out. Imports no torch.

https://docs.openvino.ai
"""

import functools
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampoll.core.errors import ModelUnavailable
from sampoll.files.cores import allowed_cores, usable_cores
from sampoll.models.shared.device import BFLOAT16_FLAGS, cpu_flags
from sampoll.models.shared.forks import check_not_forked

if TYPE_CHECKING:
    import openvino

ENGINE = "openvino"


class CompiledGraph:
    """A graph, ready to run. Threads may call it at the same time."""

    def __init__(self, compiled: "openvino.CompiledModel", precision: str, streams: int) -> None:
        """`compiled` with the options of the precision; so many `streams` of inputs are computed at the same
        time. ModelUnavailable if the processor does not compute in the precision."""
        if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != _hint(precision):
            raise ModelUnavailable(
                f"OpenVINO does not compute in {precision} on this processor: use --precision fp32"
            )
        self.precision = precision
        self._compiled = compiled
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        self._lock = threading.Lock()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the only input of a graph without dynamic shapes."""
        return tuple(self._compiled.input().shape)

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """Of a graph without dynamic shapes."""
        return [tuple(output.shape) for output in self._compiled.outputs]

    def __call__(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The outputs of these inputs, both in the order of the graph."""
        [outputs] = self.each([arrays])
        return outputs

    def each(self, inputs: Sequence[Sequence[NDArray[Any]]]) -> list[tuple[NDArray[Any], ...]]:
        """The outputs of several inputs; each stream computes one at a time."""
        outputs: list[tuple[NDArray[Any], ...]] = []
        with self._lock:
            if len(inputs) == 1:
                return [_outputs(self._requests[0], inputs[0])]
            at_once = len(self._requests)
            with ThreadPoolExecutor(at_once, ENGINE) as threads:
                for start in range(0, len(inputs), at_once):
                    outputs += threads.map(_outputs, self._requests, inputs[start : start + at_once])
        return outputs


def compiled(model: "openvino.Model", precision: str, *, streams: int = 1) -> CompiledGraph:
    """A graph, compiled; as `CompiledGraph`. It is quantized if `precision` is int8."""
    options = compile_options(precision, streams)
    return CompiledGraph(core().compile_model(model, "CPU", options), precision, streams)


def _outputs(request: Any, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The outputs of one input; copied, because the next call writes to the same places."""
    inputs = [np.ascontiguousarray(array) for array in arrays]
    request.start_async(inputs, share_inputs=True)  # in a thread of its stream; `infer` takes this one
    request.wait()
    return tuple(output.copy() for output in request.results.values())


def compile_options(precision: str, streams: int = 1) -> dict[str, Any]:
    """How OpenVINO computes, and uses the cores of this process: it would take those of the machine."""
    cores = usable_cores()
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _hint(precision), "INFERENCE_NUM_THREADS": cores}
    if cores < allowed_cores():
        # A limit of CPU time names no cores. Pinned, the processes of several containers take the same ones.
        options["ENABLE_CPU_PINNING"] = False
    if streams > 1:
        options |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}
    return options


def core() -> "openvino.Core":
    """The only one of this process; ModelUnavailable if it was forked from one that has a core."""
    check_not_forked("OpenVINO")
    return _core()


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
