"""Models that take words, in directories as the Hugging Face Hub has them: with random weights, and with
tokenizers that know letters."""

import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.models import random_tensor
from sampoll.models.shared.hub_model import imported_transformers

BLOCKS = 4
"""Of SAM 3's trunk and of its encoder of words, unless it is of official size: 32 and 24."""
SAM3_SIDE = 1008


def write_owlv2(directory: Path) -> None:
    """OWLv2 base."""
    transformers = _transformers()
    config = transformers.Owlv2Config(vision_config={"image_size": 960, "patch_size": 16})
    transformers.Owlv2ForObjectDetection(config).save_pretrained(directory)
    transformers.Owlv2ImageProcessor().save_pretrained(directory)
    _write_clip_tokenizer(directory, max_tokens=16)


def write_grounding_dino(directory: Path) -> None:
    """Grounding DINO tiny."""
    transformers = _transformers()
    transformers.GroundingDinoForObjectDetection(transformers.GroundingDinoConfig()).save_pretrained(
        directory
    )
    transformers.GroundingDinoImageProcessor().save_pretrained(directory)
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    letters = [*_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    vocabulary |= {letter: 2000 + number for number, letter in enumerate(letters)}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(directory)


def write_sam3(directory: Path, *, is_full: bool) -> None:
    """SAM 3 of official size (3.4 GB), or with BLOCKS only.

    Not by save_pretrained: transformers 5.24 writes "tracker_model." twice, the official file has it once.
    """
    transformers = _transformers()
    config = transformers.Sam3VideoConfig()
    if not is_full:
        trunk = config.detector_config.vision_config.backbone_config
        trunk.num_hidden_layers, trunk.global_attn_indexes = BLOCKS, [BLOCKS - 1]
        config.detector_config.text_config.num_hidden_layers = BLOCKS
    with torch.device("meta"):
        tensors = transformers.Sam3VideoModel(config).state_dict()
    weights = {
        name: random_tensor(name, torch.empty_like(tensor, device="cpu")) for name, tensor in tensors.items()
    }
    config.save_pretrained(directory)
    save_file(weights, directory / "model.safetensors")
    transformers.Sam3ImageProcessor(size={"height": SAM3_SIDE, "width": SAM3_SIDE}).save_pretrained(directory)
    _write_clip_tokenizer(directory, max_tokens=32)


def _write_clip_tokenizer(directory: Path, max_tokens: int) -> None:
    names = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
    vocabulary = {name: number for number, name in enumerate(names)}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    tokenizer = _transformers().CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=max_tokens)
    tokenizer.save_pretrained(directory)


def _transformers() -> Any:
    return imported_transformers("python -m benchmarks.words")


_LETTERS = [*string.ascii_lowercase, "."]
