"""All settings, in frozen sections.

Each field is declared once, here; its flag, its variable and its TOML key come from its alias. A component
receives its own section, and does not see those of others.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from sampoll.config.plugins import DATASETS, FORMATS, SEGMENTERS
from sampoll.core.filenames import PAIR_SUFFIXES

LOOPBACK = "127.0.0.1"

Durability: TypeAlias = Literal["batch", "file", "off"]
"""What is synced to disk: the whole filesystem after the files of a group are written, each file by itself,
or nothing. This matters only if the power fails: a killed process loses nothing in any case."""
MASK_BYTES = 512 * 2**20
"""What the masks of a batch may take in memory."""
Seconds = Annotated[FiniteFloat, Field(ge=0)]


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("must not be empty")
    return value


def _bare(name: str) -> str:
    if "/" in name or name in ("", ".", ".."):
        raise ValueError("must be the name of a file, without a directory")
    return name


def _suffix(suffix: str) -> str:
    if not re.fullmatch(r"\.[^./]+", suffix):
        raise ValueError("must be a dot and some letters, such as .ready")
    if suffix.lower() in PAIR_SUFFIXES:
        raise ValueError("must not be the suffix of an image or a prompt")
    return suffix


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, cuda or cuda:N")
    return name


def _address(text: str) -> str:
    """The address as HOST:PORT; HOST is loopback if it is not given."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise ValueError("must be HOST:PORT, or a port alone, which is then on loopback")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must have brackets around an IPv6 address, as in [::1]:8080")
    return f"{host or LOOPBACK}:{port}"


def _listed(value: Any) -> Any:
    """Splits names at commas, given in one string or in a list of them, and removes duplicates."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        return value
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


NamedPath = Annotated[Path, BeforeValidator(_named)]


def _setting(
    default: Any,
    key: str,
    help: str,
    *,
    metavar: str = "",
    short: str = "",
    is_flag: bool = True,
    named_by: Sequence[str] = (),
) -> Any:
    """A field whose flag (if `is_flag`), variable and TOML key are made from `key`. In its help, {names}
    stands for the names of the plug-ins in the groups `named_by`."""
    extra: dict[str, Any] = {
        "metavar": metavar,
        "short": short,
        "is_flag": is_flag,
        "named_by": list(named_by),
    }
    return Field(default, alias=key, description=help, json_schema_extra=extra)


class _Section(BaseModel):
    # Fields can be set by their Python names too: the keys of files and flags are checked before this.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_by_name=True)


class SpoolSettings(_Section):
    """Where jobs come from and where they go."""

    input: NamedPath | None = _setting(
        None, "input", "Directory to take pairs from.", metavar="DIR", short="-i"
    )
    output: NamedPath | None = _setting(
        None, "output", "Directory for masks and OPEX; created where absent.", metavar="DIR", short="-o"
    )
    prompt: NamedPath | None = _setting(
        None,
        "prompt",
        "One prompt file for all images: each image is taken alone, and prompts in the input are left there.",
        metavar="FILE",
    )
    continuous: bool = _setting(False, "continuous", "Keep watching until a signal or the stop file.")
    done: Literal["keep", "delete"] | NamedPath = _setting(
        "keep",
        "done",
        "Finished inputs: keep in INPUT/done, delete, or move to DIR.",
        metavar="keep|delete|DIR",
    )
    on_exist: Literal["version", "replace", "fail"] = _setting(
        "version",
        "on-exist",
        "Where the output has a result of this name: write NAME~2, replace it, or fail the pair.",
        metavar="version|replace|fail",
    )
    skip_done: bool = _setting(
        False,
        "skip-done",
        "Pass over pairs whose image, prompts, model and settings match the result that is there.",
    )
    settle_seconds: Seconds = _setting(
        1.0, "settle", "A file is complete once unchanged for this long.", metavar="SECONDS"
    )
    ready_suffix: Annotated[str, AfterValidator(_suffix)] | None = _setting(
        None,
        "ready-suffix",
        "A pair is complete when a file NAME plus this suffix lies beside it; then at once.",
        metavar=".SUFFIX",
    )
    pair_timeout_seconds: Annotated[FiniteFloat, Field(gt=0)] | None = _setting(
        None, "pair-timeout", "Fail halves whose other half does not come for this long.", metavar="SECONDS"
    )
    rescan_seconds: Annotated[FiniteFloat, Field(gt=0)] = _setting(
        2.0, "rescan", "Look through the input at least this often.", metavar="SECONDS"
    )
    max_attempts: Annotated[int, Field(ge=1)] = _setting(
        3, "max-attempts", "Tries before a job that keeps failing goes to failed/.", metavar="N"
    )
    give_up_seconds: Seconds = _setting(
        60.0, "give-up", "One-shot: wait at most this long for retries that are due later.", metavar="SECONDS"
    )
    min_free_bytes: Annotated[int, Field(ge=0)] = _setting(
        64 * 2**20, "min-free", "Take nothing while a disk has fewer bytes free.", metavar="BYTES"
    )
    lease_seconds: Annotated[FiniteFloat, Field(gt=0)] = _setting(
        30.0,
        "lease",
        "Take over the jobs of a process that is silent for so long.",
        metavar="SECONDS",
    )
    exclusive: bool = _setting(
        False,
        "exclusive",
        "Refuse to run beside another process on the same input.",
    )
    recursive: bool = _setting(
        False, "recursive", "Take pairs from the folders below too; results lie in folders of the same names."
    )
    watch: Literal["auto", "native", "polling"] = _setting(
        "auto",
        "watch",
        "Listen to events of the system, or only look; auto only looks on network filesystems.",
        metavar="auto|native|polling",
    )
    durability: Durability = _setting(
        "batch",
        "durability",
        "What survives a power cut: forced to the disk in groups, file by file, or not at all.",
        metavar="batch|file|off",
    )
    stop_file: Annotated[str, AfterValidator(_bare)] | None = _setting(
        None, "stop-file", "Stop once a file of this name is in the input; it is removed.", metavar="NAME"
    )


class ModelSettings(_Section):
    """What segments, and on what."""

    model: str = _setting(
        "vit_b",
        "model",
        "{names}, or package.module:factory.",
        metavar="NAME",
        named_by=(SEGMENTERS,),
    )
    checkpoint: NamedPath | None = _setting(
        None, "checkpoint", "Weights of the model: an official .pth, or .safetensors.", metavar="FILE"
    )
    pull: bool = _setting(
        False, "pull", "Download the official checkpoint of the model first, if it is not there yet."
    )
    mirror: str | None = _setting(
        None,
        "mirror",
        "URL of a folder that has the official checkpoints too, by their file names.",
        metavar="URL",
    )
    home: NamedPath | None = _setting(
        None,
        "home",
        "Directory for checkpoints and converted models; the user's cache if not set.",
        metavar="DIR",
    )
    device: Annotated[str, AfterValidator(_device)] = _setting(
        "auto",
        "device",
        "Where the model runs; auto is cuda where there is one.",
        metavar="auto|cpu|cuda|cuda:N",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = _setting(
        "auto",
        "precision",
        "Of the image encoder; auto is bf16 where the device multiplies in it, fp32 on other CPUs. int8 is "
        "experimental, and needs sampoll models quantize first.",
        metavar="auto|fp32|bf16|fp16|int8",
    )
    engine: Literal["auto", "torch", "openvino"] = _setting(
        "auto",
        "engine",
        "What computes the image encoder; auto is OpenVINO on a CPU where it is installed, else torch.",
        metavar="auto|torch|openvino",
    )
    compile: bool = _setting(
        False, "compile", "CUDA: compile the encoder at the start, for long runs; needs a C compiler."
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = _setting(
        "auto",
        "batch-size",
        "Images that go through the model at once, at most; auto is 8 on CUDA, 1 on a CPU.",
        metavar="auto|N",
    )
    max_wait_seconds: Seconds = _setting(
        0.1, "max-wait", "How long an image may wait for a batch to fill.", metavar="SECONDS"
    )
    embedding_memory_bytes: Annotated[int, Field(ge=0)] = _setting(
        256 * 2**20,
        "embedding-memory",
        "Keep the embeddings of the last images in so much memory, for other prompts for them.",
        metavar="BYTES",
    )
    embedding_cache: NamedPath | None = _setting(
        None, "embedding-cache", "Keep all embeddings in files there too, between runs.", metavar="DIR"
    )
    prompt_batch: Literal["auto"] | Annotated[int, Field(ge=1)] = _setting(
        "auto",
        "prompt-batch",
        "Prompts that are decoded at once, at most; auto is 64 on CUDA, 4 on a CPU.",
        metavar="auto|N",
    )
    mask_policy: Literal["best", "first", "single"] = _setting(
        "best",
        "mask-policy",
        "Of a prompt's three masks the best or the first; or the model's single mask.",
        metavar="best|first|single",
    )

    exif: Literal["apply", "ignore"] = _setting(
        "apply",
        "exif",
        "Turn images as their EXIF orientation says, so that prompts are in the upright frame; or not.",
        metavar="apply|ignore",
    )

    def batch_size_on(self, device: str) -> int:
        """The batch size in force on a device of this name."""
        if self.batch_size != "auto":
            return self.batch_size
        return 8 if device.startswith("cuda") else 1

    def prompt_batch_on(self, device: str) -> int:
        """How many prompts are decoded at once on a device of this name."""
        if self.prompt_batch != "auto":
            return self.prompt_batch
        return 64 if device.startswith("cuda") else 4


class MaskSettings(_Section):
    """What is done to masks and outlines before they are written."""

    simplify_pixels: Annotated[FiniteFloat, Field(ge=0)] = _setting(
        0.0,
        "simplify",
        "Leave points of outlines out that are no farther than this from what stays; the masks stay exact.",
        metavar="PIXELS",
    )
    fill_holes_area: Annotated[int, Field(ge=0)] = _setting(
        0, "fill-holes", "Fill holes of fewer pixels than this.", metavar="AREA"
    )
    remove_islands_area: Annotated[int, Field(ge=0)] = _setting(
        0,
        "remove-islands",
        "Drop detached parts of fewer pixels than this; the largest part of a mask stays.",
        metavar="AREA",
    )
    min_object_size: Annotated[int, Field(ge=0)] = _setting(
        0, "min-object-size", "Drop objects whose width or height is smaller.", metavar="PIXELS"
    )
    max_object_size: Annotated[int, Field(ge=1)] | None = _setting(
        None, "max-object-size", "Drop objects whose width or height is larger.", metavar="PIXELS"
    )
    largest_only: bool = _setting(False, "largest-only", "Keep the largest object of each mask only.")

    @field_validator("max_object_size")
    @classmethod
    def _leaves_some(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_object_size", 0)
        if most is not None and most < least:
            raise ValueError(f"must not be less than min-object-size, which is {least}")
        return most


class OutputSettings(_Section):
    """Which files are written beside the records."""

    formats: Annotated[tuple[str, ...], BeforeValidator(_listed)] = _setting(
        ("png",),
        "format",
        "Write this too, besides OPEX: {names}. May be repeated.",
        metavar="NAME",
        named_by=(FORMATS, DATASETS),
    )
    overlay: bool = _setting(
        False,
        "overlay",
        "Write a small picture of each image with its masks, prompts and scores to overlay/.",
    )
    coco_polygons: bool = _setting(
        False, "coco-polygons", "COCO: outlines without holes, in the place of exact run-length encodings."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the formats, including the overlay."""
        return tuple(dict.fromkeys((*self.formats, "overlay"))) if self.overlay else self.formats


class LimitSettings(_Section):
    """What a pair may cost before it is refused."""

    max_pixels: Annotated[int, Field(ge=1)] = _setting(
        150_000_000, "max-pixels", "Refuse larger images.", metavar="N"
    )
    max_image_bytes: Annotated[int, Field(ge=1)] = _setting(
        512 * 2**20, "max-image-bytes", "Refuse larger image files.", metavar="N"
    )
    max_prompt_bytes: Annotated[int, Field(ge=1)] = _setting(
        16 * 2**20, "max-prompt-bytes", "Refuse larger prompt files.", metavar="N"
    )
    max_prompts: Annotated[int, Field(ge=1)] = _setting(
        10_000, "max-prompts", "Refuse prompt files with more prompts.", metavar="N"
    )
    max_points: Annotated[int, Field(ge=1)] = _setting(
        100_000, "max-points", "Refuse prompt files with more points in all.", metavar="N"
    )
    max_points_per_prompt: Annotated[int, Field(ge=1)] = _setting(
        1000, "max-points-per-prompt", "Refuse prompts with more points.", metavar="N"
    )
    max_mask_bytes: Annotated[int, Field(ge=1)] = _setting(
        MASK_BYTES, "max-mask-bytes", "Refuse pairs whose masks take more memory, compressed.", metavar="N"
    )


class RedisSettings(_Section):
    """Which Redis, as whom, and on which channels."""

    redis_url: str | None = _setting(
        None,
        "redis-url",
        "redis://, rediss:// or unix:// URL of the server, in the place of host, port and db.",
        metavar="URL",
    )
    redis_host: str = _setting("localhost", "redis-host", "Host of the server.", metavar="HOST")
    redis_port: Annotated[int, Field(ge=1, le=65535)] = _setting(
        6379, "redis-port", "Port of the server.", metavar="PORT"
    )
    redis_db: Annotated[int, Field(ge=0)] = _setting(0, "redis-db", "Database of the server.", metavar="N")
    redis_username: str | None = _setting(
        None, "redis-username", "Name of the user, where the server has users.", metavar="NAME"
    )
    redis_password: SecretStr | None = _setting(
        None, "redis-password", "Password; not a flag, because flags can be read by everyone.", is_flag=False
    )
    redis_password_file: NamedPath | None = _setting(
        None, "redis-password-file", "File that holds the password.", metavar="FILE"
    )
    redis_in: Annotated[str, Field(min_length=1)] = _setting(
        "sam_in", "redis-in", "Channel for requests; to serve, a pattern with * ? [].", metavar="CHANNEL"
    )
    redis_out: Annotated[str, Field(min_length=1)] = _setting(
        "sam_out", "redis-out", "Channel for replies.", metavar="CHANNEL"
    )


class RequestSettings(_Section):
    """What requests may take before and after they are worked on."""

    queue_bytes: Annotated[int, Field(ge=1)] = _setting(
        2**30, "queue-bytes", "Refuse requests while so much of them waits.", metavar="BYTES"
    )
    reply_ttl_seconds: Annotated[int, Field(ge=1)] = _setting(
        600, "reply-ttl", "Keep the reply to a request with an id for so long.", metavar="SECONDS"
    )


class StreamsSettings(_Section):
    """Jobs in a stream that many workers share."""

    stream: Annotated[str, Field(min_length=1)] = _setting(
        "sam", "stream", "Stream of jobs; results are in NAME:results.", metavar="NAME"
    )
    group: Annotated[str, Field(min_length=1)] = _setting(
        "sampoll", "group", "Group of workers that share the stream.", metavar="NAME"
    )
    root: NamedPath | None = _setting(
        None, "root", "Directory below which the paths in jobs are; none are taken without it.", metavar="DIR"
    )
    result_ttl_seconds: Annotated[int, Field(ge=1)] = _setting(
        7 * 86400, "result-ttl", "Keep results in the stream for so long.", metavar="SECONDS"
    )


class OperationSettings(_Section):
    """How the process behaves towards people."""

    io_threads: Annotated[int, Field(ge=1)] | None = _setting(
        None,
        "io-threads",
        "Threads that decode images, and as many that encode results; half the cores, at most 8, if not set.",
        metavar="N",
    )
    report: NamedPath | None = _setting(
        None,
        "report",
        "Add a line of JSON to this file for each job: its outcome, seconds a stage, and files.",
        metavar="FILE",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "log-level", "How much is logged to standard error.", metavar="debug|info|warning|error"
    )
    log_format: Literal["auto", "text", "json"] = _setting(
        "auto",
        "log-format",
        "Lines of text, or of JSON; auto is text on a terminal.",
        metavar="auto|text|json",
    )


class MonitoringSettings(_Section):
    """How a service is seen from outside."""

    http: Annotated[str, AfterValidator(_address)] | None = _setting(
        None,
        "http",
        "Show on this address how the service is: health, metrics, and a page; loopback if no host is named.",
        metavar="HOST:PORT",
    )
    http_thumbnails: bool = _setting(
        False, "http-thumbnails", "Show small pictures of the last results on that page, too."
    )
    metrics_file: NamedPath | None = _setting(
        None,
        "metrics-file",
        "Write the metrics to this file at the end, for Prometheus's node exporter.",
        metavar="FILE",
    )
    stall_seconds: Annotated[FiniteFloat, Field(gt=0)] = _setting(
        600.0,
        "stall",
        "A service is not healthy once its work has stood still for this long.",
        metavar="SECONDS",
    )

    @property
    def http_address(self) -> tuple[str, int] | None:
        """The host and port of `http`; None if it is not set."""
        if self.http is None:
            return None
        host, _, port = self.http.rpartition(":")
        return host.strip("[]"), int(port)


class Settings(_Section):
    """Everything in force, by section."""

    spool: SpoolSettings = SpoolSettings()
    model: ModelSettings = ModelSettings()
    masks: MaskSettings = MaskSettings()
    outputs: OutputSettings = OutputSettings()
    limits: LimitSettings = LimitSettings()
    redis: RedisSettings = RedisSettings()
    requests: RequestSettings = RequestSettings()
    streams: StreamsSettings = StreamsSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    operations: OperationSettings = OperationSettings()
