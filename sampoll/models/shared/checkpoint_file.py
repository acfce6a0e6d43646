"""Files of weights, read into memory as names and tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.file_header import WRAPPER, Header, read_header
from sampoll.models.shared.hub_directory import weight_files
from sampoll.models.shared.hub_names import with_official_names
from sampoll.models.shared.known_digests import combined
from sampoll.models.shared.private_copy import private_copy


def read_checkpoint(path: Path) -> tuple[Mapping[str, Tensor], str]:
    """The tensors of a .pth, .pt or .safetensors file, or of a directory as the Hub has it, under the names
    that their authors gave them; and the SHA-256 of the bytes that were read, or, of several files, of their
    digests.

    Later changes of the files change nothing. ModelUnavailable if they cannot be read, or hold something
    else: then none of it is loaded, and nothing is run that is in them.
    """
    weights, sha256 = read_tensors(weight_files(path))
    return with_official_names(weights, lambda tensor, number: tensor[number : number + 1]), sha256


def read_tensors(files: Sequence[Path]) -> tuple[Mapping[str, Tensor], str]:
    """The same for given files, under the names that the tensors have in them."""
    weights: dict[str, Tensor] = {}
    digests = []
    for file in files:
        with private_copy(file) as copy:
            weights |= _tensors(copy.path, read_header(copy.path, file), file)
            digests.append(copy.sha256)
    return weights, combined(digests)


def _tensors(copy: Path, header: Header, named: Path) -> Mapping[str, Tensor]:
    """The weights, mapped from the copy of the file."""
    try:
        if header.kind == "safetensors":
            return load_file(copy)
        # Only the zip format of torch 1.6 and later can be mapped.
        content = torch.load(copy, map_location="cpu", weights_only=True, mmap=header.kind == "zip")
    except Exception as error:
        # Not torch's own words: they advise to load the file unsafely.
        raise ModelUnavailable(
            f"{named} is damaged, or holds more than weights; it was not loaded. "
            f"Download it again ({type(error).__name__})"
        ) from error
    tensors: Mapping[str, Tensor] = content[WRAPPER] if header.is_wrapped else content
    return tensors
