"""Official weights into segment_anything's own modules, with one copy of the file in memory."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor, nn

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.private_copy import private_copy

MODELS = ("vit_b", "vit_l", "vit_h")


def load_sam(name: str, path: Path) -> tuple[Sam, str]:
    """The model `name` with the weights of a .pth or .safetensors file, on the CPU, ready for inference; and
    the SHA-256 of the bytes that were loaded.

    Later changes of the file change nothing. ModelUnavailable if it cannot be read, or holds something else.
    """
    with private_copy(path) as copy:
        return _filled(name, path, _read(path, copy.path)), copy.sha256


def _filled(name: str, path: Path, weights: Mapping[str, Tensor]) -> Sam:
    sam = _empty(name)
    if (misfit := _misfit(weights, sam)) is not None:
        for other in MODELS:
            if _misfit(weights, _empty(other)) is None:
                raise ModelUnavailable(f"{path} holds {other}, not {name}: use --model {other}")
        raise ModelUnavailable(f"{path} holds none of {', '.join(MODELS)}: for {name}, {misfit}")
    sam.load_state_dict({key: weight.float() for key, weight in weights.items()}, assign=True)
    sam.requires_grad_(False)
    return sam.eval()


def copy_weights(module: nn.Module) -> None:
    """Gives each weight memory of its own. As long as one weight is a part of what was loaded from a file,
    all of that is kept in memory."""
    for weight in (*module.parameters(), *module.buffers()):
        weight.data = weight.data.clone()


def digest_of(module: nn.Module) -> str:
    """The SHA-256 of a module's weights, for models that come from no file."""
    digest = hashlib.sha256()
    for name, weight in module.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _empty(name: str) -> Sam:
    """The model without any weights: shapes only."""
    with torch.device("meta"):
        return sam_model_registry[name]()


def _misfit(weights: Mapping[str, Tensor], sam: Sam) -> str | None:
    """The first way in which `weights` are not those of `sam`, or None."""
    expected = sam.state_dict()
    for key, weight in expected.items():
        if key not in weights:
            return f"it lacks {key}"
        if weights[key].shape != weight.shape:
            return f"{key} should be {tuple(weight.shape)}, and is {tuple(weights[key].shape)}"
    unknown = next((key for key in weights if key not in expected), None)
    return f"{unknown} is no part of it" if unknown is not None else None


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
