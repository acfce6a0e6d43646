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
IMAGE_SIZE, IMAGE_SIZE_OF_SAM3 = 1024, 1008
"""What all models here are made for; the shapes of SAM 2's tensors do not show another one."""


def weight_files(checkpoint: Path) -> Sequence[Path]:
    """The files that hold the weights of a checkpoint: itself, or those in it if it is a directory.

    ModelUnavailable if the directory has none, or lacks some of them.
    """
    if not checkpoint.is_dir():
        return [checkpoint]
    _check_config(checkpoint / CONFIG)
    return weights_in(checkpoint)


def weights_in(directory: Path) -> Sequence[Path]:
    """The files of weights of a directory, whatever its model; ModelUnavailable if some are missing."""
    if (whole := directory / WEIGHTS).is_file():
        return [whole]
    if not (index := directory / INDEX).is_file():
        raise _no_weights(directory)
    shards = [directory / name for name in _shard_names(index)]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise ModelUnavailable(
            f"{directory} lacks {', '.join(map(printable, missing))}, which {INDEX} names: download it again"
        )
    return shards


def document(path: Path) -> dict[str, Any]:
    """A JSON object in a file; ModelUnavailable if there is none."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(DOCUMENT_BYTES))
        if not _is_mapping(content):
            raise ValueError("is no object")
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelUnavailable(f"{path} is no JSON object: download it again") from error
    found: dict[str, Any] = content
    return found


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
    settings = document(config)
    is_sam3 = str(settings.get("model_type")).startswith("sam3")
    supported = IMAGE_SIZE_OF_SAM3 if is_sam3 else IMAGE_SIZE
    for part in (settings, *filter(_is_mapping, settings.values())):
        size = part.get("image_size", supported)
        if size not in (supported, [supported, supported]):
            raise ModelUnavailable(f"{config}: image_size is {size}, and only {supported} is supported")


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _shard_names(index: Path) -> Sequence[str]:
    """The names of the files in an index, in order; each must be in the same directory."""
    try:
        names = sorted(set(document(index)["weight_map"].values()))
        if not names or not all(name.endswith(SUFFIXES[0]) and Path(name).name == name for name in names):
            raise ValueError(f"{names} are not names of files")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelUnavailable(f"{index} does not name files of weights: download it again") from error
    return names
