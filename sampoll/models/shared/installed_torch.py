"""What can be known of the installed torch without importing it, which takes seconds."""

import runpy
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

DEVICE_FILES = tuple(
    Path("/dev", name) for name in ("nvidiactl", "nvidia-uvm", "nvmap", "nvhost-gpu", "dxg", "kfd")
)
"""One of them is there if torch can use a GPU: NVIDIA's, on Linux, Jetson and WSL, and AMD's."""


def cuda_version() -> str | None:
    """The version of CUDA (or of ROCm) that torch was built for; None if it was built for CPUs."""
    return _built_for(_version_file())


def may_have_device() -> bool:
    """Whether torch may find a CUDA device; only torch itself knows whether it does."""
    if not any(path.exists() for path in DEVICE_FILES):
        return False
    facts = _version_file()
    return not facts or _built_for(facts) is not None


def _built_for(facts: Mapping[str, object]) -> str | None:
    found = facts.get("cuda") or facts.get("hip")
    return None if found is None else str(found)


def _version_file() -> Mapping[str, object]:
    """What torch/version.py says, which is a few assignments."""
    found = find_spec("torch")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(folder, "version.py")).is_file():
            return runpy.run_path(str(path))
    return {}  # torch itself has to be asked
