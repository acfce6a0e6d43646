"""All settings, in frozen sections.

Each field is declared once, here; its flag, its variable and its TOML key come from its alias. A component
receives its own section, and does not see those of others.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    Secret,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from sampoll.config.plugins import DATASETS, FORMATS, SEGMENTERS
from sampoll.config.quantities import SIZE_PATTERN, TIME_PATTERN, bytes_of, seconds_of
from sampoll.core.addresses import is_address, redacted
from sampoll.core.filenames import PAIR_SUFFIXES
from sampoll.core.names import printable
from sampoll.files.files import file_in_the_way
from sampoll.files.home import expanded

LOOPBACK = "127.0.0.1"

Durability: TypeAlias = Literal["batch", "file", "off"]
"""What is synced to disk: the whole filesystem after the files of a group are written, each file by itself,
or nothing. This matters only if the power fails: a killed process loses nothing in any case."""
MASK_BYTES = 512 * 2**20
"""What the masks of a batch may take in memory."""

KEPT_IMAGES = 64
"""The images whose embeddings are kept in memory, if nothing else is set: 256 MiB for SAM."""

_TimeText = Annotated[str, Field(pattern=f"^{TIME_PATTERN}$")]
_SizeText = Annotated[str, Field(pattern=f"^{SIZE_PATTERN}$")]
_AS_TIME = BeforeValidator(seconds_of, json_schema_input_type=float | _TimeText)
_AS_SIZE = BeforeValidator(bytes_of, json_schema_input_type=int | _SizeText)
Seconds = Annotated[FiniteFloat, _AS_TIME, Field(ge=0)]
PositiveSeconds = Annotated[FiniteFloat, _AS_TIME, Field(gt=0)]
WholeSeconds = Annotated[int, _AS_TIME, Field(ge=1)]
ByteCount = Annotated[int, _AS_SIZE, Field(ge=0)]
PositiveByteCount = Annotated[int, _AS_SIZE, Field(ge=1)]


class SecretAddress(Secret[str]):
    """An address that may have a login, which is hidden wherever the setting is shown."""

    def _display(self) -> str:
        return redacted(self.get_secret_value())


def _named(value: Any) -> Any:
    """A path, in which a leading ~ or ~USER is replaced by the home directory."""
    if value == "":
        raise ValueError("must not be empty")
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    return expanded(value)  # before it is a Path, which makes ~ of ./~


def _address_with(*schemes: str, query: bool) -> Callable[[SecretAddress], SecretAddress]:
    """A check for an address with one of `schemes`; with what follows a question mark only if `query`."""

    def check(address: SecretAddress) -> SecretAddress:
        text = address.get_secret_value()
        if not text.startswith(schemes) or not is_address(text) or not (query or {"?", "#"}.isdisjoint(text)):
            raise ValueError(
                f"must begin with {' or '.join(schemes)} and have a host, with / ? # [ ] and spaces of a "
                "password written as %2F %3F %23 %5B %5D %20; its value is not shown"
            )
        return address

    return check


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


def _log_format(value: Any) -> Any:
    return "text" if value == "auto" else value  # as files of earlier versions have it


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


class FileInTheWay(ValueError):
    """A file was given for a directory, or is a part of its path."""


def no_file(path: Path) -> Path:
    """`path`, which may be a directory or nothing yet; FileInTheWay if it is a file, or below one."""
    if (file := file_in_the_way(path)) is not None:
        raise FileInTheWay(f"must be a directory, but {printable(str(file))} is a file")
    return path


NamedPath = Annotated[Path, BeforeValidator(_named)]
NamedDirectory = Annotated[Path, BeforeValidator(_named), AfterValidator(no_file)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
RedisAddress = Annotated[
    SecretAddress, AfterValidator(_address_with("redis://", "rediss://", "unix://", query=True))
]
FolderAddress = Annotated[SecretAddress, AfterValidator(_address_with("http://", "https://", query=False))]
SECRETS = (SecretStr, RedisAddress, FolderAddress)
"""The types of settings whose values are hidden, completely or in part: they are never shown as given."""


def _setting(
    default: Any,
    key: str,
    help: str,
    *,
    metavar: str = "",
    short: str = "",
    is_flag: bool = True,
    is_everyday: bool = False,
    named_by: Sequence[str] = (),
) -> Any:
    """A field whose flag (if `is_flag`), variable and TOML key are made from `key`. --help shows everyday
    settings, --help-all shows all. In the help, {names} stands for the names of the plug-ins in the groups
    `named_by`."""
    extra: dict[str, Any] = {
        "metavar": metavar,
        "short": short,
        "is_flag": is_flag,
        "is_everyday": is_everyday,
        "named_by": list(named_by),
    }
    return Field(default, alias=key, description=help, json_schema_extra=extra)


OnBadPrompt: TypeAlias = Literal["fail", "skip"]
"""Whether a bad prompt fails its pair, or is left out and the others of its file are segmented."""


class _Section(BaseModel):
    # Fields can be set by their Python names too: the keys of files and flags are checked before this.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        validate_by_name=True,
        hide_input_in_errors=True,  # it may be a password
    )


class SpoolSettings(_Section):
    """Where jobs come from and where they go."""

    input: NamedDirectory | None = _setting(
        None, "input", "Directory to take pairs from.", metavar="DIR", short="-i", is_everyday=True
    )
    output: NamedDirectory | None = _setting(
        None,
        "output",
        "Directory for masks and OPEX; created if it does not exist.",
        metavar="DIR",
        short="-o",
        is_everyday=True,
    )
    prompt: NamedPath | None = _setting(
        None,
        "prompt",
        "One prompt file for all images; they need none of their own, and other prompts stay in the input.",
        metavar="FILE",
        is_everyday=True,
    )
    include: Annotated[tuple[str, ...], BeforeValidator(_listed)] = _setting(
        (),
        "include",
        "Take only pairs of which a file has such a path below INPUT, as *.png or sub/**.",
        metavar="GLOB",
        is_everyday=True,
    )
    exclude: Annotated[tuple[str, ...], BeforeValidator(_listed)] = _setting(
        (), "exclude", "Leave pairs of which a file has such a path.", metavar="GLOB", is_everyday=True
    )
    continuous: bool = _setting(
        False, "continuous", "Keep watching until a signal or the stop file.", is_everyday=True
    )
    limit: Annotated[int, Field(ge=1)] | None = _setting(
        None,
        "limit",
        "One-shot: begin so many pairs, and leave the others; those done before do not count.",
        metavar="N",
        is_everyday=True,
    )
    done: Literal["keep", "delete"] | NamedDirectory = _setting(
        "keep",
        "done",
        "Finished inputs: keep in INPUT/done, delete, or move to DIR.",
        metavar="keep|delete|DIR",
        is_everyday=True,
    )
    on_exist: Literal["version", "replace", "fail"] = _setting(
        "version",
        "on-exist",
        "If the output has a result of this name: write NAME~2, replace it, or fail the pair.",
        metavar="version|replace|fail",
        is_everyday=True,
    )
    skip_done: bool = _setting(
        False,
        "skip-done",
        "Skip pairs whose image, prompts, model and settings match the result that exists.",
        is_everyday=True,
    )
    settle_seconds: Seconds = _setting(
        1.0, "settle", "A file is complete once unchanged for this long.", metavar="SECONDS"
    )
    ready_suffix: Annotated[str, AfterValidator(_suffix)] | None = _setting(
        None,
        "ready-suffix",
        "A pair is complete as soon as a file NAME plus this suffix is beside it.",
        metavar=".SUFFIX",
    )
    pair_timeout_seconds: PositiveSeconds | None = _setting(
        None,
        "pair-timeout",
        "Fail half pairs whose other half does not arrive within this time.",
        metavar="SECONDS",
    )
    rescan_seconds: PositiveSeconds = _setting(
        2.0, "rescan", "Scan the input at least this often.", metavar="SECONDS"
    )
    max_attempts: Annotated[int, Field(ge=1)] = _setting(
        3, "max-attempts", "Attempts before a job that keeps failing is moved to failed/.", metavar="N"
    )
    give_up_seconds: Seconds = _setting(
        60.0, "give-up", "One-shot: wait at most this long for retries that are due later.", metavar="SECONDS"
    )
    min_free_bytes: ByteCount = _setting(
        64 * 2**20, "min-free", "Take no pairs while a disk has fewer free bytes.", metavar="BYTES"
    )
    lease_seconds: PositiveSeconds = _setting(
        30.0,
        "lease",
        "Take over the jobs of a process that sends no heartbeat for this long.",
        metavar="SECONDS",
    )
    exclusive: bool = _setting(
        False,
        "exclusive",
        "Refuse to run beside another process on the same input.",
    )
    recursive: bool = _setting(
        False,
        "recursive",
        "Take pairs from folders below too; results are written to folders of the same names.",
        is_everyday=True,
    )
    watch: Literal["auto", "native", "polling"] = _setting(
        "auto",
        "watch",
        "Find new files by events of the system, or by scans only; auto: scans on network filesystems.",
        metavar="auto|native|polling",
    )
    durability: Durability = _setting(
        "batch",
        "durability",
        "How results are forced to the disk, to survive a power cut: in groups, each file, or not at all.",
        metavar="batch|file|off",
    )
    stop_file: Annotated[str, AfterValidator(_bare)] | None = _setting(
        None, "stop-file", "Stop once a file of this name is in the input; it is removed.", metavar="NAME"
    )

    @field_validator("limit")
    @classmethod
    def _ends(cls, limit: int | None, info: ValidationInfo) -> int | None:
        if limit is not None and info.data.get("continuous"):
            raise ValueError("needs a run that ends: leave continuous out")
        return limit


class ModelSettings(_Section):
    """The model and its device."""

    model: str = _setting(
        "auto",
        "model",
        "{names}, or package.module:factory; auto is what --checkpoint holds, and vit_b without one.",
        metavar="auto|NAME",
        named_by=(SEGMENTERS,),
        is_everyday=True,
    )
    checkpoint: NamedPath | None = _setting(
        None,
        "checkpoint",
        "Weights of the model: a .pth, .pt or .safetensors file, or a directory of the Hugging Face Hub.",
        metavar="FILE",
        is_everyday=True,
    )
    pull: bool = _setting(
        False,
        "pull",
        "Download the official checkpoint of the model first, if it is not there yet.",
        is_everyday=True,
    )
    mirror: FolderAddress | None = _setting(
        None,
        "mirror",
        "URL of a folder that has the official checkpoints too, by their file names.",
        metavar="URL",
    )
    home: NamedDirectory | None = _setting(
        None,
        "home",
        "Directory for checkpoints and converted models; the user's cache if not set.",
        metavar="DIR",
    )
    device: Annotated[str, AfterValidator(_device)] = _setting(
        "auto",
        "device",
        "Device of the model; auto is cuda if there is one, else cpu.",
        metavar="auto|cpu|cuda|cuda:N",
        is_everyday=True,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = _setting(
        "auto",
        "precision",
        "Precision of the image encoder; auto is bf16 if the device computes in it, else fp32. int8 is "
        "experimental, and needs sampoll models quantize first.",
        metavar="auto|fp32|bf16|fp16|int8",
    )
    engine: Literal["auto", "torch", "openvino"] = _setting(
        "auto",
        "engine",
        "What computes the image encoder; auto is OpenVINO on a CPU if it is installed, else torch.",
        metavar="auto|torch|openvino",
    )
    compile: bool = _setting(
        False, "compile", "CUDA: compile the encoder at the start, for long runs; needs a C compiler."
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = _setting(
        "auto",
        "batch-size",
        "Largest number of images in a batch; auto is 8 on CUDA, 1 on a CPU.",
        metavar="auto|N",
    )
    max_wait_seconds: Seconds = _setting(
        0.1, "max-wait", "How long an image may wait for a batch to fill.", metavar="SECONDS"
    )
    embedding_memory_bytes: Literal["auto"] | ByteCount = _setting(
        "auto",
        "embedding-memory",
        f"Memory that keeps the embeddings of the last images, for further prompts for them; auto is what "
        f"{KEPT_IMAGES} images take.",
        metavar="auto|BYTES",
    )
    embedding_cache: NamedDirectory | None = _setting(
        None,
        "embedding-cache",
        "Directory that keeps embeddings in files between runs.",
        metavar="DIR",
        is_everyday=True,
    )
    prompt_batch: Literal["auto"] | Annotated[int, Field(ge=1)] = _setting(
        "auto",
        "prompt-batch",
        "Largest number of prompts that are decoded at once; auto is 64 on CUDA, 4 on a CPU.",
        metavar="auto|N",
    )
    mask_policy: Literal["best", "first", "single"] = _setting(
        "best",
        "mask-policy",
        "The mask of a prompt: the best or the first of its three, or the model's single mask.",
        metavar="best|first|single",
    )

    exif: Literal["apply", "ignore"] = _setting(
        "apply",
        "exif",
        "Rotate images by their EXIF orientation, so that prompts refer to the upright image; or do not.",
        metavar="apply|ignore",
    )

    def batch_size_on(self, device: str) -> int:
        """The batch size in force on a device of this name."""
        if self.batch_size != "auto":
            return self.batch_size
        return 8 if device.startswith("cuda") else 1

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


class MaskSettings(_Section):
    """What is done to masks and outlines before they are written."""

    simplify_pixels: Annotated[FiniteFloat, Field(ge=0)] = _setting(
        0.0,
        "simplify",
        "Simplify outlines: omit points at most this far from the remaining line; masks stay exact.",
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

    formats: Names = _setting(
        ("png",),
        "format",
        "Format to write besides OPEX: {names}. May be repeated. Any replaces png: name png too to keep it.",
        metavar="NAME",
        named_by=(FORMATS, DATASETS),
        is_everyday=True,
    )
    overlay: bool = _setting(
        False,
        "overlay",
        "Write a small picture of each image with its masks, prompts and scores to overlay/.",
        is_everyday=True,
    )
    coco_polygons: bool = _setting(
        False, "coco-polygons", "COCO: outlines without holes instead of exact run-length encodings."
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
    max_image_bytes: PositiveByteCount = _setting(
        512 * 2**20, "max-image-bytes", "Refuse larger image files.", metavar="BYTES"
    )
    max_prompt_bytes: PositiveByteCount = _setting(
        16 * 2**20, "max-prompt-bytes", "Refuse larger prompt files.", metavar="BYTES"
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
    max_mask_bytes: PositiveByteCount = _setting(
        MASK_BYTES,
        "max-mask-bytes",
        "Refuse pairs whose masks take more memory, compressed.",
        metavar="BYTES",
    )


class PromptSettings(_Section):
    """How prompts are read."""

    on_bad_prompt: Literal["fail", "skip"] = _setting(
        "fail",
        "on-bad-prompt",
        "A bad prompt fails its pair; or it is skipped, and the other prompts of its file are done.",
        metavar="fail|skip",
    )


class RedisSettings(_Section):
    """Which Redis, as whom, and on which channels."""

    redis_url: RedisAddress | None = _setting(
        None,
        "redis-url",
        "redis://, rediss:// or unix:// URL of the server, instead of host, port and db.",
        metavar="URL",
        is_everyday=True,
    )
    redis_host: str = _setting(
        "localhost", "redis-host", "Host of the server.", metavar="HOST", is_everyday=True
    )
    redis_port: Annotated[int, Field(ge=1, le=65535)] = _setting(
        6379, "redis-port", "Port of the server.", metavar="PORT", is_everyday=True
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
        "sam_in",
        "redis-in",
        "Channel for requests; to serve, a pattern with * ? [].",
        metavar="CHANNEL",
        is_everyday=True,
    )
    redis_out: Annotated[str, Field(min_length=1)] = _setting(
        "sam_out", "redis-out", "Channel for replies.", metavar="CHANNEL", is_everyday=True
    )


class RequestSettings(_Section):
    """What requests may take before and after they are worked on."""

    queue_bytes: PositiveByteCount = _setting(
        2**30, "queue-bytes", "Refuse requests while this much of them waits.", metavar="BYTES"
    )
    reply_ttl_seconds: WholeSeconds = _setting(
        600, "reply-ttl", "Keep the reply to a request with an id for this long.", metavar="SECONDS"
    )


class StreamsSettings(_Section):
    """Jobs in a stream that many workers share."""

    stream: Annotated[str, Field(min_length=1)] = _setting(
        "sam", "stream", "Stream of jobs; results are in NAME:results.", metavar="NAME", is_everyday=True
    )
    group: Annotated[str, Field(min_length=1)] = _setting(
        "sampoll", "group", "Group of workers that share the stream.", metavar="NAME", is_everyday=True
    )
    root: NamedDirectory | None = _setting(
        None,
        "root",
        "Directory that contains the paths in jobs; without it, paths are refused.",
        metavar="DIR",
        is_everyday=True,
    )
    result_ttl_seconds: WholeSeconds = _setting(
        7 * 86400, "result-ttl", "Keep results in the stream for this long.", metavar="SECONDS"
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
        "info",
        "log-level",
        "How much is logged to standard error.",
        metavar="debug|info|warning|error",
        is_everyday=True,
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_log_format)] = _setting(
        "text", "log-format", "Log lines of text, or of JSON for programs.", metavar="text|json"
    )
    progress: bool = _setting(
        True, "progress", "Show a progress bar if standard error is a terminal and the log is text."
    )
    quiet: bool = _setting(
        False,
        "quiet",
        "Write nothing but errors: no other log lines, no progress, no summary.",
        short="-q",
        is_everyday=True,
    )


class MonitoringSettings(_Section):
    """How a service is seen from outside."""

    http: Annotated[str, AfterValidator(_address)] | None = _setting(
        None,
        "http",
        "Address for health, metrics and a status page over HTTP; loopback if no host is named.",
        metavar="HOST:PORT",
        is_everyday=True,
    )
    http_thumbnails: bool = _setting(
        False, "http-thumbnails", "Show thumbnails of the last results on the status page."
    )
    metrics_file: NamedPath | None = _setting(
        None,
        "metrics-file",
        "Write the metrics to this file at the end, for Prometheus's node exporter.",
        metavar="FILE",
    )
    stall_seconds: PositiveSeconds = _setting(
        600.0,
        "stall",
        "A service is not healthy if its work makes no progress for this long.",
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
    prompts: PromptSettings = PromptSettings()
    redis: RedisSettings = RedisSettings()
    requests: RequestSettings = RequestSettings()
    streams: StreamsSettings = StreamsSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    operations: OperationSettings = OperationSettings()
