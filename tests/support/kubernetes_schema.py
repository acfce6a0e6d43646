"""Objects of Kubernetes against the types of its API, as the package lightkube-models has them."""

import importlib
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any

MODELS = "lightkube.models"


def faults(document: Any, model: str, path: str = "") -> Iterator[str]:
    """Fields that `model`, such as "batch_v1.Job", does not know, misses, or has with another type."""
    module, _, name = model.rpartition(".")
    yield from _faults(document, getattr(importlib.import_module(f"{MODELS}.{module}"), name), path or name)


def _faults(value: Any, kind: Any, path: str) -> Iterator[str]:
    if getattr(kind, "__module__", "").startswith(f"{MODELS}."):
        if not isinstance(value, dict):
            yield f"{path}: {type(value).__name__} instead of an object"
            return
        hints = typing.get_type_hints(kind, vars(importlib.import_module(kind.__module__)))
        known = {
            name.rstrip("_"): hint for name, hint in hints.items()
        }  # `continue` and others are words of Python
        yield from (f"{path}.{key} is not known" for key in value if key not in known)
        for key, hint in known.items():
            if key in value:
                yield from _faults(value[key], hint, f"{path}.{key}")
            elif type(None) not in typing.get_args(hint):
                yield f"{path}.{key} is missing"
        return
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, UnionType):
        others = [list(_faults(value, each, path)) for each in arguments if each is not type(None)]
        yield from min(others, key=len)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: {type(value).__name__} instead of a list"
            return
        for number, each in enumerate(value):
            yield from _faults(each, arguments[0], f"{path}[{number}]")
    elif origin is dict or kind is dict:
        if not isinstance(value, dict):
            yield f"{path}: {type(value).__name__} instead of an object"
            return
        for key, each in value.items():
            # The types do not tell: labels are strings, and quantities numbers too.
            yield from _faults(each, arguments[1] if arguments else str | int, f"{path}.{key}")
    elif isinstance(kind, type) and type(value) is not kind:
        yield f"{path}: {type(value).__name__} instead of {kind.__name__}"
