"""Directories as the Hugging Face Hub has them: the weights in one .safetensors file or several, and beside
them config.json.

https://huggingface.co/docs/transformers/big_models#sharded-checkpoints
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sampoll.core.errors import ModelUnavailable
from sampoll.core.names import printable

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Of files that may hold weights."""
DOCUMENT_BYTES = 2**22
IMAGE_SIZE = 1024
"""What all models here are made for; the shapes of SAM 2's tensors do not show another one."""


def weight_files(checkpoint: Path) -> Sequence[Path]:
    """The files that hold the weights of a checkpoint: itself, or those in it if it is a directory.

    ModelUnavailable if the directory has none, or lacks some of them.
    """
    if not checkpoint.is_dir():
        return [checkpoint]
    _check_config(checkpoint / CONFIG)
    if (whole := checkpoint / WEIGHTS).is_file():
        return [whole]
    if not (index := checkpoint / INDEX).is_file():
        raise _no_weights(checkpoint)
    shards = [checkpoint / name for name in _shard_names(index)]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise ModelUnavailable(
            f"{checkpoint} lacks {', '.join(map(printable, missing))}, which {INDEX} names: download it again"
        )
    return shards


def _no_weights(directory: Path) -> ModelUnavailable:
    try:
        others = sorted(path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        return ModelUnavailable(f"{directory} cannot be read: {error.strerror or error}")
    if others:
        return ModelUnavailable(
            f"{directory} has no {WEIGHTS}: name a file in it, as --checkpoint {others[0]}"
        )
    return ModelUnavailable(f"{directory} is a directory without weights: it has no {WEIGHTS} and no {INDEX}")


def _check_config(config: Path) -> None:
    """ModelUnavailable if a configuration says that the model is for images of another size."""
    if not config.is_file():
        return
    document = _document(config)
    for part in (document, *filter(_is_mapping, document.values())):
        size = part.get("image_size", IMAGE_SIZE)
        if size not in (IMAGE_SIZE, [IMAGE_SIZE, IMAGE_SIZE]):
            raise ModelUnavailable(f"{config}: image_size is {size}, and only {IMAGE_SIZE} is supported")


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(DOCUMENT_BYTES))
        if not _is_mapping(document):
            raise ValueError("is no object")
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelUnavailable(f"{path} is no JSON object: download it again") from error
    found: dict[str, Any] = document
    return found


def _shard_names(index: Path) -> Sequence[str]:
    """The names of the files in an index, in order; each must be in the same directory."""
    try:
        names = sorted(set(_document(index)["weight_map"].values()))
        if not names or not all(name.endswith(SUFFIXES[0]) and Path(name).name == name for name in names):
            raise ValueError(f"{names} are not names of files")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelUnavailable(f"{index} does not name files of weights: download it again") from error
    return names
