"""Detectors with few, seeded weights, in directories as the Hugging Face Hub has them; with tokenizers that
know all letters."""

import json
import string
from pathlib import Path
from typing import Any

import pytest

from support.seeded import seeded

transformers: Any = pytest.importorskip("transformers")

LETTERS = string.ascii_lowercase + string.digits + ".,-'"


def small_owlv2(directory: Path) -> Path:
    """96 x 96 input, 144 boxes; texts of at most 16 tokens."""
    write_clip_tokenizer(directory, max_tokens=16)
    transformers.Owlv2ImageProcessor(size={"height": 96, "width": 96}).save_pretrained(directory)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 96,
        "patch_size": 8,
    }
    text = {
        "vocab_size": CLIP_VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": CLIP_VOCABULARY - 2,
        "eos_token_id": CLIP_VOCABULARY - 1,
    }
    config = transformers.Owlv2Config(vision_config=vision, text_config=text, projection_dim=32)
    return _saved(transformers.Owlv2ForObjectDetection(config), directory)


def small_grounding_dino(directory: Path) -> Path:
    """Images of about 128 x 192, 20 boxes; texts of at most 32 tokens."""
    _write_bert_tokenizer(directory)
    size = {"shortest_edge": 128, "longest_edge": 213}
    transformers.GroundingDinoImageProcessor(size=size).save_pretrained(directory)
    backbone = transformers.SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        image_size=64,
        out_indices=[2, 3, 4],
    )
    text = transformers.BertConfig(
        vocab_size=1100,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=20,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        d_model=32,
        max_text_len=32,
    )
    return _saved(transformers.GroundingDinoForObjectDetection(config), directory)


def _saved(model: Any, directory: Path) -> Path:
    seeded(model).save_pretrained(directory)
    return directory


_LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]
CLIP_VOCABULARY = 2 * len(_LETTERS) + 2


def write_clip_tokenizer(directory: Path, max_tokens: int) -> None:
    """A token for each letter: with and without the end of a word, in the order of CLIP's vocabulary."""
    directory.mkdir(parents=True, exist_ok=True)
    names = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=max_tokens)
    tokenizer.save_pretrained(directory)


def _write_bert_tokenizer(directory: Path) -> None:
    """A token for each letter; those that the model knows by their numbers have these."""
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"[unused{number}]" for number in range(1100)]
    numbers = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    numbers |= {letter: 200 + number for number, letter in enumerate(string.ascii_lowercase)}
    numbers |= {f"##{letter}": 300 + number for number, letter in enumerate(string.ascii_lowercase)}
    for name, number in numbers.items():
        names[number] = name
    vocabulary = {name: number for number, name in enumerate(names)}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(directory)
