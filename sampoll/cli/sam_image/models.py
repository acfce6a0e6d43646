"""The model flags of the two predicting commands, and what they mean here."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import orjson

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable
from sampoll.core.results import Segmentation
from sampoll.inputs.prompt_file import prompts_document
from sampoll.models.checkpoints import official_checkpoints
from sampoll.models.registry import attribute_of_model

REPLY_TYPE = SAM = "sam"
DEFAULT_TYPE = "default"
DEFAULT_MODEL = "vit_h"
DEFAULT_DEVICE = "auto"
MODEL_FLAGS: dict[str, str] = {"model": "--model_type", "checkpoint": "--model", "device": "--device"}
"""The model flags by the settings that they stand for."""
DEFAULTS: dict[str, Any] = {"exif": "ignore", "log-level": "warning", "log-format": "text"}
"""Defaults of the commands that differ from those of sampoll."""


def model_types() -> dict[str, str]:
    """The values of --model_type, each with its model: SAM's own, the largest first, as they were published,
    then the official models of other families."""
    names = list(reversed(official_checkpoints()))
    models = sorted(names, key=lambda name: _family(name) != SAM)
    return {DEFAULT_TYPE: DEFAULT_MODEL, **{name: name for name in models}}


def _family(name: str) -> str:
    return str(attribute_of_model(ModelSettings(model=name), "family"))


def add_model_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--model", metavar="FILE", required=True, help="The SAM checkpoint to use.")
    parser.add_argument(
        "--model_type", choices=list(model_types()), help="What the checkpoint is; default is vit_h."
    )
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        default=DEFAULT_DEVICE,
        help="Where the model runs; auto is what SAMPOLL_DEVICE says, else cuda if there is one, else cpu.",
    )


def check_model(arguments: Namespace) -> None:
    """ModelUnavailable if --model is no file that can be read; a run without work would not notice."""
    try:
        with Path(arguments.model).open("rb"):
            pass
    except OSError as error:
        raise ModelUnavailable(
            f"--model {arguments.model} cannot be read: {error.strerror or error}"
        ) from error


def model_settings(arguments: Namespace) -> dict[str, Any]:
    """The settings that the model flags stand for, by key."""
    return {
        "model": model_types()[arguments.model_type or DEFAULT_TYPE],
        "checkpoint": arguments.model,
        **({} if arguments.device == DEFAULT_DEVICE else {"device": arguments.device}),
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
