"""The versions of all that decides what a mask looks like."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

MODEL_LIBRARIES = ("segment-anything", "torchvision", "openvino")


def versions() -> Iterator[str]:
    """One line each, sampoll first."""
    yield f"sampoll {version('sampoll')}"
    yield f"Python {platform.python_version()}"
    yield f"torch {version('torch')} ({_cuda()})"
    for package in MODEL_LIBRARIES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"


def _cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return "without CUDA"
    devices = torch.cuda.device_count()
    return f"CUDA {torch.version.cuda}, {devices} device{'' if devices == 1 else 's'}"
