"""Devices and precisions as torch has them."""

import torch

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.forks import check_not_forked

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def torch_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda or cuda:N; ModelUnavailable if it is not there, or if this process
    was forked from one that has asked for a device."""
    check_not_forked("torch")
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
