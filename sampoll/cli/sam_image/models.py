"""The model flags of the two predicting commands, and what they mean here."""

from argparse import ArgumentParser, Namespace
from typing import Any

import orjson

from sampoll.core.results import Segmentation
from sampoll.inputs.prompt_file import prompts_document

MODEL_TYPES = {"default": "vit_h", "vit_h": "vit_h", "vit_l": "vit_l", "vit_b": "vit_b"}

DEFAULTS: dict[str, Any] = {"exif": "ignore", "log-level": "warning", "log-format": "text"}
"""Defaults of the commands that differ from those of sampoll."""


def add_model_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--model", metavar="FILE", required=True, help="The SAM checkpoint to use.")
    parser.add_argument(
        "--model_type", choices=list(MODEL_TYPES), help="What the checkpoint is; default is vit_h."
    )
    parser.add_argument("--device", metavar="DEVICE", default="cuda:0", help="Where the model runs.")


def model_settings(arguments: Namespace) -> dict[str, Any]:
    """The settings that the model flags stand for, by key."""
    return {
        "model": MODEL_TYPES[arguments.model_type or "default"],
        "checkpoint": arguments.model,
        "device": arguments.device,
    }


def loading_message(arguments: Namespace) -> str:
    return f"Loading model/type: {arguments.model}/{arguments.model_type or 'default'}"


def segmenter_meta(arguments: Namespace) -> dict[str, Any]:
    """What the original commands write about the model."""
    return {"type": "sam", "model_type": arguments.model_type, "model_file": arguments.model}


def opex_meta(segmentation: Segmentation, arguments: Namespace) -> dict[str, str]:
    """The model and the prompt in OPEX, under the keys of the original commands; as text, which every reader
    accepts."""
    prompts = prompts_document(segmentation.prompts)
    prompt = prompts[0] if len(prompts) == 1 else {"prompts": prompts}
    return {
        "segmenter": orjson.dumps(segmenter_meta(arguments)).decode(),
        "prompt": orjson.dumps(prompt).decode(),
    }
