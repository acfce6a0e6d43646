"""Which device a model runs on, in which precision, and by which engine; devices by their names: cpu, cuda:0.

Imports torch only where there may be a CUDA device: it takes seconds.
"""

from importlib.util import find_spec
from pathlib import Path

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.installed_torch import may_have_device

CPU = "cpu"
TORCH_PRECISIONS = ("fp32", "bf16", "fp16")
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags of processors with bfloat16 multiplication; on others, bfloat16 is slower than float32."""

OPENVINO_PRECISIONS = frozenset({"fp32", "bf16", "int8"})


def device_named(name: str) -> str:
    """The device called auto, cpu, cuda or cuda:N; ModelUnavailable if it is not there."""
    if name == CPU or (name == "auto" and not may_have_device()):
        return CPU
    from sampoll.models.shared.torch_device import torch_device

    return str(torch_device(name))


def chosen_precision(name: str, device: str) -> str:
    """fp32, bf16, fp16 or int8, for the setting of that name; auto is bf16 where the device itself can
    multiply in it, otherwise fp16 on CUDA and fp32 on a CPU."""
    if name != "auto":
        return name
    if device != CPU:
        import torch

        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if BFLOAT16_FLAGS & cpu_flags() else "fp32"


def chosen_engine(name: str, device: str, precision: str) -> str:
    """torch or openvino, for the setting `name`; auto is OpenVINO if it is installed and supports the device
    and precision well. ModelUnavailable if the requested combination is impossible."""
    if precision == "int8" and (name == "torch" or device != CPU):
        raise ModelUnavailable("--precision int8 is for CPUs with OpenVINO: use --precision bf16 or fp32")
    if name == "openvino" and device != CPU:
        raise ModelUnavailable(f"--engine openvino is for CPUs, and the device is {device}: use --device cpu")
    if name == "openvino" and precision not in OPENVINO_PRECISIONS:
        raise ModelUnavailable(f"--engine openvino has no {precision}: use --precision fp32, bf16 or int8")
    if name != "auto":
        return name
    if precision == "int8":
        return "openvino"
    is_native = precision == "fp32" or (precision == "bf16" and BFLOAT16_FLAGS & cpu_flags())
    return "openvino" if device == CPU and is_native and find_spec("openvino") else "torch"


def variants(device: str) -> list[tuple[str, str]]:
    """Every engine and precision that the device is good at."""
    if device != CPU:
        return [("torch", precision) for precision in TORCH_PRECISIONS]
    engines = ["torch", "openvino"] if find_spec("openvino") else ["torch"]
    precisions = ["fp32", "bf16"] if BFLOAT16_FLAGS & cpu_flags() else ["fp32"]
    return [(engine, precision) for engine in engines for precision in precisions]


def cpu_flags() -> frozenset[str]:
    """The features of the processor, by Linux's names; empty on other systems."""
    try:
        lines = CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(flags, "").split())
