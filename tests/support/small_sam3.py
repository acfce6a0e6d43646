"""SAM 3 with few, seeded weights, in a directory as the Hugging Face Hub has it: four blocks, 112 x 112
input, 32 channels; texts of at most 32 tokens."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from support.seeded import seeded_weights
from support.small_detectors import CLIP_VOCABULARY, write_clip_tokenizer

transformers: Any = pytest.importorskip("transformers")

SIDE, PATCH, CHANNELS = 112, 14, 32
GRID = SIDE // PATCH
VISION: dict[str, Any] = {
    "model_type": "sam3_vision_model",
    "fpn_hidden_size": CHANNELS,
    "backbone_feature_sizes": [[4 * GRID, 4 * GRID], [2 * GRID, 2 * GRID], [GRID, GRID]],
    "backbone_config": {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
        "window_size": 4,
        "global_attn_indexes": [1, 3],
        "pretrain_image_size": SIDE // 2,
    },
}
TRACKER: dict[str, Any] = {
    "vision_config": VISION,
    "prompt_encoder_config": {"hidden_size": CHANNELS, "image_size": SIDE, "patch_size": PATCH},
    "mask_decoder_config": {"hidden_size": CHANNELS, "iou_head_hidden_dim": 256},
}


SHARD_BYTES = 2**29
_SHARED = "tracker_model.shared_image_embedding.positional_embedding"
_POSITIONS = {"tracker_model.prompt_encoder.shared_embedding.positional_embedding": _SHARED}
"""One matrix by two names."""


def small_sam3(directory: Path) -> Path:
    part = {"hidden_size": CHANNELS, "num_attention_heads": 4, "intermediate_size": 64, "num_layers": 2}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": CLIP_VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "hidden_act": "gelu",
    }
    detector = {
        "vision_config": VISION,
        "text_config": text,
        "geometry_encoder_config": part,
        "detr_encoder_config": part,
        "detr_decoder_config": {**part, "num_queries": 20},
        "mask_decoder_config": {"hidden_size": CHANNELS, "num_attention_heads": 4},
    }
    tracker = {
        **TRACKER,
        "memory_attention_hidden_size": CHANNELS,
        "memory_encoder_hidden_size": CHANNELS,
        "mask_downsampler_embed_dim": CHANNELS,
        "memory_fuser_embed_dim": CHANNELS,
        "memory_encoder_output_channels": 16,
    }
    config = transformers.Sam3VideoConfig(detector_config=detector, tracker_config=tracker)
    return write_sam3(directory, config, SIDE)


def write_sam3(directory: Path, config: Any, side: int) -> Path:
    """A directory of this configuration, the weights in one file or in files of SHARD_BYTES.

    Not by save_pretrained: transformers 5.24 writes "tracker_model." twice, the official file has it once.
    """
    write_clip_tokenizer(directory, max_tokens=32)
    transformers.Sam3ImageProcessor(size={"height": side, "width": side}).save_pretrained(directory)
    config.save_pretrained(directory)
    with torch.device("meta"):
        tensors = transformers.Sam3VideoModel(config).state_dict()
    places: dict[str, str] = {}
    for number, names in enumerate(_shards(tensors)):
        file = f"model-{number:05}.safetensors"
        weights = seeded_weights({_POSITIONS.get(name, name): tensors[name] for name in names})
        save_file({name: weights[_POSITIONS.get(name, name)].clone() for name in names}, directory / file)
        places |= dict.fromkeys(names, file)
    if len(set(places.values())) == 1:
        (directory / file).rename(directory / "model.safetensors")
    else:
        index = {"metadata": {}, "weight_map": places}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def _shards(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    names: list[str] = []
    for name, tensor in tensors.items():
        if names and sum(tensors[each].nbytes for each in names) + tensor.nbytes > SHARD_BYTES:
            yield names
            names = []
        names.append(name)
    yield names
