"""Files of weights, read into memory as names and tensors."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.private_copy import private_copy


def read_checkpoint(path: Path) -> tuple[Mapping[str, Tensor], str]:
    """The tensors of a .pth or .safetensors file by their names, and the SHA-256 of the bytes that were read.

    Later changes of the file change nothing. ModelUnavailable if it cannot be read, or holds something else.
    """
    with private_copy(path) as copy:
        return _read(path, copy.path), copy.sha256


def _read(path: Path, copy: Path) -> Mapping[str, Tensor]:
    """The weights, mapped from the copy of the file."""
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(copy)
        # Only the zip format of torch 1.6 and later can be mapped.
        content = torch.load(copy, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(copy))
    except Exception as error:
        # Not torch's own words: they advise to load the file unsafely.
        raise ModelUnavailable(
            f"{path} is no checkpoint, or damaged, or holds more than weights; it was not opened. "
            f"Download it again ({type(error).__name__})"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelUnavailable(f"{path} is no checkpoint: it must hold a mapping from names to tensors")
    return content
