"""The settings of the section [model]."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sampoll.config.plugins import SEGMENTERS
from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import ByteCount, FolderAddress, NamedDirectory, NamedPath, Seconds

CORES_PER_STREAM = 8
"""Cores for one image in OpenVINO: with more of them, each adds less."""
KEPT_IMAGES = 64
"""The images whose embeddings are kept in memory, if nothing else is set: 256 MiB for SAM."""


def device_named(name: str) -> str:
    """The name of a device as it is; ValueError if it is none."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, cuda or cuda:N")
    return name


class ModelSettings(Section):
    """The model and its device."""

    model: str = setting(
        "auto",
        "model",
        "{names}, or package.module:factory; auto is what --checkpoint holds, and vit_b without one.",
        metavar="auto|NAME",
        named_by=(SEGMENTERS,),
        is_everyday=True,
    )
    checkpoint: NamedPath | None = setting(
        None,
        "checkpoint",
        "Weights of the model: a .pth, .pt or .safetensors file, or a directory of the Hugging Face Hub.",
        metavar="FILE",
        is_everyday=True,
    )
    pull: bool = setting(
        False,
        "pull",
        "Download the official checkpoint of the model first, if it is not there yet.",
        is_everyday=True,
    )
    mirror: FolderAddress | None = setting(
        None,
        "mirror",
        "URL of a folder that has the official checkpoints too, by their file names.",
        metavar="URL",
    )
    detector: NamedDirectory | None = setting(
        None,
        "detector",
        "Directory of Grounding DINO or OWLv2, which finds boxes for words.",
        metavar="DIR",
        is_everyday=True,
    )
    detector_overlap: Annotated[float, Field(ge=0, le=1)] = setting(
        0.7,
        "detector-overlap",
        "Of boxes of a detector for the same words whose IoU is larger, keep the best only; 1 keeps all.",
        metavar="SHARE",
    )
    home: NamedDirectory | None = setting(
        None,
        "home",
        "Directory for checkpoints and converted models; the user's cache if not set.",
        metavar="DIR",
    )
    device: Annotated[str, AfterValidator(device_named)] = setting(
        "auto",
        "device",
        "Device of the model; auto is cuda if there is one, else cpu.",
        metavar="auto|cpu|cuda|cuda:N",
        is_everyday=True,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = setting(
        "auto",
        "precision",
        "Precision of the image encoder; auto is bf16 if the device computes in it, else fp32. int8 is "
        "experimental, and needs sampoll models quantize first.",
        metavar="auto|fp32|bf16|fp16|int8",
    )
    engine: Literal["auto", "torch", "openvino"] = setting(
        "auto",
        "engine",
        "What computes the model; auto is OpenVINO on a CPU if it is installed, else torch.",
        metavar="auto|torch|openvino",
    )
    cpu_streams: Literal["auto"] | Annotated[int, Field(ge=1)] = setting(
        "auto",
        "cpu-streams",
        f"Images that OpenVINO computes at the same time, each on its part of the cores; auto is one for "
        f"each {CORES_PER_STREAM} cores.",
        metavar="auto|N",
    )
    compile: bool = setting(
        False, "compile", "CUDA: compile the encoder at the start, for long runs; needs a C compiler."
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = setting(
        "auto",
        "batch-size",
        "Largest number of images in a batch; auto is 8 on CUDA, and on a CPU as many as --cpu-streams.",
        metavar="auto|N",
    )
    max_wait_seconds: Seconds = setting(
        0.1, "max-wait", "How long an image may wait for a batch to fill.", metavar="SECONDS"
    )
    embedding_memory_bytes: Literal["auto"] | ByteCount = setting(
        "auto",
        "embedding-memory",
        f"Memory that keeps the embeddings of the last images, for further prompts for them; auto is what "
        f"{KEPT_IMAGES} images take.",
        metavar="auto|BYTES",
    )
    embedding_cache: NamedDirectory | None = setting(
        None,
        "embedding-cache",
        "Directory that keeps embeddings in files between runs.",
        metavar="DIR",
        is_everyday=True,
    )
    prompt_batch: Literal["auto"] | Annotated[int, Field(ge=1)] = setting(
        "auto",
        "prompt-batch",
        "Largest number of prompts that are decoded at once; auto is 64 on CUDA, 4 on a CPU.",
        metavar="auto|N",
    )
    mask_policy: Literal["best", "first", "single"] = setting(
        "best",
        "mask-policy",
        "The mask of a prompt: the best or the first of its three, or the model's single mask.",
        metavar="best|first|single",
    )

    exif: Literal["apply", "ignore"] = setting(
        "apply",
        "exif",
        "Rotate images by their EXIF orientation, so that prompts refer to the upright image; or do not.",
        metavar="apply|ignore",
    )

    def streams_on(self, cores: int) -> int:
        """How many images OpenVINO computes at the same time on a CPU with so many usable cores."""
        if self.cpu_streams != "auto":
            return min(self.cpu_streams, cores)
        return max(1, cores // CORES_PER_STREAM)

    def batch_size_on(self, device: str, streams: int = 1) -> int:
        """The batch size in force on a device of this name, where a CPU computes so many images at the same
        time."""
        if self.batch_size != "auto":
            return self.batch_size
        return 8 if device.startswith("cuda") else streams

    def embedding_memory_for(self, embedding_bytes: int) -> int:
        """The memory for embeddings, each of which takes `embedding_bytes`."""
        if self.embedding_memory_bytes != "auto":
            return self.embedding_memory_bytes
        return KEPT_IMAGES * embedding_bytes

    def prompt_batch_on(self, device: str) -> int:
        """How many prompts are decoded at once on a device of this name."""
        if self.prompt_batch != "auto":
            return self.prompt_batch
        return 64 if device.startswith("cuda") else 4
