"""The versions of all software that affects masks. None is imported, which would take seconds."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "segment-anything", "torchvision", "openvino")


def versions() -> Iterator[str]:
    """One line each, sampoll first."""
    yield f"sampoll {version('sampoll')}"
    yield f"Python {platform.python_version()}"
    for package in LIBRARIES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"
