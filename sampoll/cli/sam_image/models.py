"""The model flags of the two predicting commands, and what they mean here."""

from argparse import ArgumentParser, Namespace
from typing import Any

import orjson

from sampoll.config.settings import ModelSettings
from sampoll.core.results import Segmentation
from sampoll.inputs.prompt_file import prompts_document
from sampoll.models.checkpoints import official_checkpoints
from sampoll.models.registry import attribute_of_model

REPLY_TYPE = "sam"
DEFAULT_TYPE = "default"
DEFAULT_MODEL = "vit_h"
DEFAULTS: dict[str, Any] = {"exif": "ignore", "log-level": "warning", "log-format": "text"}
"""Defaults of the commands that differ from those of sampoll."""


def model_types() -> dict[str, str]:
    """The values of --model_type, each with its model: the official models that replies call "sam", the
    largest first."""
    models = [
        name
        for name in reversed(official_checkpoints())
        if attribute_of_model(ModelSettings(model=name), "reply_type") == REPLY_TYPE
    ]
    return {DEFAULT_TYPE: DEFAULT_MODEL, **{name: name for name in models}}


def add_model_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--model", metavar="FILE", required=True, help="The SAM checkpoint to use.")
    parser.add_argument(
        "--model_type", choices=list(model_types()), help="What the checkpoint is; default is vit_h."
    )
    parser.add_argument("--device", metavar="DEVICE", default="cuda:0", help="Where the model runs.")


def model_settings(arguments: Namespace) -> dict[str, Any]:
    """The settings that the model flags stand for, by key."""
    return {
        "model": model_types()[arguments.model_type or DEFAULT_TYPE],
        "checkpoint": arguments.model,
        "device": arguments.device,
    }


def loading_message(arguments: Namespace) -> str:
    return f"Loading model/type: {arguments.model}/{arguments.model_type or DEFAULT_TYPE}"


def segmenter_meta(arguments: Namespace) -> dict[str, Any]:
    """What the original commands write about the model."""
    return {"type": REPLY_TYPE, "model_type": arguments.model_type, "model_file": arguments.model}


def opex_meta(segmentation: Segmentation, arguments: Namespace) -> dict[str, str]:
    """The model and the prompt in OPEX, under the keys of the original commands; as text, which every reader
    accepts."""
    prompts = prompts_document(segmentation.prompts)
    prompt = prompts[0] if len(prompts) == 1 else {"prompts": prompts}
    return {
        "segmenter": orjson.dumps(segmenter_meta(arguments)).decode(),
        "prompt": orjson.dumps(prompt).decode(),
    }
