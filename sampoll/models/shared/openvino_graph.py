"""Graphs that OpenVINO runs on a CPU: arrays of numpy in, arrays out. Imports no torch.

https://docs.openvino.ai
"""

import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.device import BFLOAT16_FLAGS, cpu_flags

if TYPE_CHECKING:
    import openvino

ENGINE = "openvino"


class CompiledGraph:
    """A graph, ready to run. Threads may call it at the same time."""

    def __init__(self, model: "openvino.Model", precision: str) -> None:
        """`model` is quantized if `precision` is int8. ModelUnavailable if the processor does not compute in
        it."""
        hint = _hint(precision)
        self.precision = precision
        self._compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        if self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != hint:
            raise ModelUnavailable(
                f"OpenVINO does not compute in {precision} on this processor: use --precision fp32"
            )
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
        inputs = [np.ascontiguousarray(array) for array in arrays]
        with self._lock:
            outputs = self._compiled(inputs, share_inputs=True).values()
            return tuple(output.copy() for output in outputs)  # the next call writes to the same places


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
