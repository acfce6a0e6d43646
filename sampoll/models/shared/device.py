"""Which device a model runs on, in which precision, and by which engine."""

from importlib.util import find_spec
from pathlib import Path

import torch

from sampoll.core.errors import ModelUnavailable

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags of processors with bfloat16 multiplication; on others, bfloat16 is slower than float32."""

OPENVINO_PRECISIONS = frozenset({"fp32", "bf16", "int8"})


def torch_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda or cuda:N; ModelUnavailable if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if count == 0:
            raise ModelUnavailable("no CUDA device was found: use --device cpu, or check the driver")
        if (device.index or 0) >= count:
            raise ModelUnavailable(f"no device {name}: there are {count}, cuda:0 to cuda:{count - 1}")
    return device


def chosen_precision(name: str, device: torch.device) -> str:
    """fp32, bf16, fp16 or int8, for the setting of that name; auto is bf16 where the device itself can
    multiply in it, otherwise fp16 on CUDA and fp32 on a CPU."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if BFLOAT16_FLAGS & cpu_flags() else "fp32"


def chosen_engine(name: str, device: torch.device, precision: str) -> str:
    """torch or openvino, for the setting `name`; auto is OpenVINO if it is installed and supports the device
    and precision well. ModelUnavailable if the requested combination is impossible."""
    if precision == "int8" and (name == "torch" or device.type != "cpu"):
        raise ModelUnavailable("--precision int8 is for CPUs with OpenVINO: use --precision bf16 or fp32")
    if name == "openvino" and device.type != "cpu":
        raise ModelUnavailable(f"--engine openvino is for CPUs, and the device is {device}: use --device cpu")
    if name == "openvino" and precision not in OPENVINO_PRECISIONS:
        raise ModelUnavailable(f"--engine openvino has no {precision}: use --precision fp32, bf16 or int8")
    if name != "auto":
        return name
    if precision == "int8":
        return "openvino"
    is_native = precision == "fp32" or (precision == "bf16" and BFLOAT16_FLAGS & cpu_flags())
    return "openvino" if device.type == "cpu" and is_native and find_spec("openvino") else "torch"


def variants(device: torch.device) -> list[tuple[str, str]]:
    """Every engine and precision that the device is good at."""
    if device.type == "cuda":
        return [("torch", precision) for precision in PRECISIONS]
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
