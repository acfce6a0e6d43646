"""The versions of all software that affects masks."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

MODEL_LIBRARIES = ("segment-anything", "torchvision", "openvino")


def versions() -> Iterator[str]:
    """One line each, sampoll first."""
    yield f"sampoll {version('sampoll')}"
    yield f"Python {platform.python_version()}"
    from sampoll.models.shared.device import cuda_support

    yield f"torch {version('torch')} ({cuda_support()})"
    for package in MODEL_LIBRARIES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"
