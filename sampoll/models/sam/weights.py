"""Official weights into segment_anything's own modules, without copying them through memory."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

from sampoll.core.errors import ModelUnavailable

MODELS = ("vit_b", "vit_l", "vit_h")


def load_sam(name: str, path: Path) -> Sam:
    """The model `name` with the weights of a .pth or .safetensors file, on the CPU, ready for inference.

    The file stays memory-mapped. ModelUnavailable if it cannot be read, or holds something else.
    """
    weights = _read(path)
    sam = _empty(name)
    if (misfit := _misfit(weights, sam)) is not None:
        for other in MODELS:
            if _misfit(weights, _empty(other)) is None:
                raise ModelUnavailable(f"{path} holds {other}, not {name}: use --model {other}")
        raise ModelUnavailable(f"{path} holds none of {', '.join(MODELS)}: for {name}, {misfit}")
    sam.load_state_dict({key: weight.float() for key, weight in weights.items()}, assign=True)
    sam.requires_grad_(False)
    return sam.eval()


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


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        # Only the zip format of torch 1.6 and later can be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # Not torch's own words: they advise to load the file unsafely.
        raise ModelUnavailable(
            f"{path} is no checkpoint, or damaged, or holds more than weights; it was not opened. "
            f"Download it again ({type(error).__name__})"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelUnavailable(f"{path} is no checkpoint: it must hold a mapping from names to tensors")
    return content
