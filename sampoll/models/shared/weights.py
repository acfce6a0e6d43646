"""Weights into modules: all of them, and nothing else."""

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.detection import listed
from sampoll.models.shared.file_header import Shapes

M = TypeVar("M", bound=nn.Module)


def filled(make: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """The module that `make` makes with these weights, in float32 and ready for inference. It is made without
    memory, so it must have no buffers besides its weights. ModelUnavailable if they are not exactly its own.
    """
    module = empty(make)
    if (misfit := misfit_of(shapes_of(weights), shapes_of(module.state_dict()))) is not None:
        raise ModelUnavailable(misfit)
    module.load_state_dict({key: _in_float32(weight) for key, weight in weights.items()}, assign=True)
    return module.requires_grad_(False).eval()


def _in_float32(weight: Tensor) -> Tensor:
    return weight.float() if weight.is_floating_point() else weight


def empty(make: Callable[[], M]) -> M:
    """A module without any weights: shapes only."""
    with torch.device("meta"):
        return make()


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(weight.shape) for key, weight in weights.items()}


def misfit_of(given: Shapes, expected: Shapes) -> str | None:
    """How the shapes of given weights differ from the expected ones, in words, or None."""
    missing = [name for name in expected if name not in given]
    surplus = [name for name in given if name not in expected]
    others = [
        f"{name} should be {shape}, and is {given[name]}"
        for name, shape in expected.items()
        if given.get(name, shape) != shape
    ]
    parts = [
        f"it lacks {listed(missing)}" if missing else "",
        listed(others),
        f"it has {listed(surplus)} besides" if surplus else "",
    ]
    return "; ".join(filter(None, parts)) or None


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
