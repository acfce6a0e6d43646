"""Modules of transformers with the weights of a local directory as the Hugging Face Hub has it. Nothing is
fetched, and no code that is in the directory is run."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared.detection import listed
from sampoll.models.shared.hub_directory import CONFIG, document

OLDEST = (5, 24)
DOCUMENTS = (
    CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""What the answers of a model depend on, besides its weights; no directory has all of them."""


def imported_transformers(needed_by: str) -> Any:
    """transformers, which prints neither bars nor reports; ModelUnavailable if it is not installed, or too
    old."""
    try:
        import transformers
    except ImportError as error:
        raise ModelUnavailable(f"{needed_by} needs transformers: pip install 'sampoll[sam3]'") from error
    found = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if found < OLDEST:
        raise ModelUnavailable(
            f"{needed_by} needs transformers {'.'.join(map(str, OLDEST))} or later, and there is "
            f"{transformers.__version__}: pip install 'sampoll[sam3]'"
        )
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def model_type_of(directory: Path) -> str:
    """The kind of model that the configuration in a directory names; ModelUnavailable if there is none."""
    if not directory.is_dir():
        raise ModelUnavailable(f"{directory} is no directory: name one as the Hugging Face Hub has it")
    return str(document(directory / CONFIG).get("model_type"))


def documents_sha256(directory: Path) -> str:
    """One digest of all DOCUMENTS in a directory."""
    digest = hashlib.sha256()
    for name in DOCUMENTS:
        if (path := directory / name).is_file():
            digest.update(f"{name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def part_of(loader: Any, directory: Path, name: str) -> Any:
    """What one of transformers' Auto classes makes of a directory; ModelUnavailable if it cannot."""
    try:
        return loader.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # its readers of documents raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelUnavailable(f"{directory} has no {name} that can be used: {lines[0]}") from error


def tokenizer_of(transformers: Any, directory: Path) -> Any:
    """The tokenizer of a directory; ModelUnavailable if it has none: transformers makes one without words."""
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.json", "vocab.txt")):
        raise ModelUnavailable(f"{directory} has no tokenizer that can be used: it has no tokenizer.json")
    return part_of(transformers.AutoTokenizer, directory, "tokenizer")


def with_weights(model_class: Any, config: Any, weights: Mapping[str, Tensor], directory: Path) -> Any:
    """A module in float32 and ready for inference. ModelUnavailable, with their names, if `weights` lack some
    of its tensors: transformers would put random numbers in their place, and only print that."""
    try:
        model, report = model_class.from_pretrained(
            None,
            config=config,
            state_dict=dict(weights),
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"{directory} does not fit {model_class.__name__}: {error}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelUnavailable(f"{directory} does not fit {model_class.__name__}: it lacks {listed(missing)}")
    return model.requires_grad_(False).eval()
