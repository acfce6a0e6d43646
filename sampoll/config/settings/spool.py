"""The settings of the section [spool]."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import (
    ByteCount,
    DefaultPrompt,
    NamedDirectory,
    NamedPath,
    PositiveSeconds,
    Seconds,
    listed,
)
from sampoll.core.filenames import PAIR_SUFFIXES

Durability: TypeAlias = Literal["batch", "file", "off"]
"""What is synced to disk: the whole filesystem after the files of a group are written, each file by itself,
or nothing. This matters only if the power fails: a killed process loses nothing in any case."""


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


class SpoolSettings(Section):
    """Where jobs come from and where they go."""

    input: NamedDirectory | None = setting(
        None, "input", "Directory to take pairs from.", metavar="DIR", short="-i", is_everyday=True
    )
    output: NamedDirectory | None = setting(
        None,
        "output",
        "Directory for masks and OPEX; created if it does not exist.",
        metavar="DIR",
        short="-o",
        is_everyday=True,
    )
    prompt: NamedPath | None = setting(
        None,
        "prompt",
        "One prompt file for all images; they need none of their own, and other prompts stay in the input.",
        metavar="FILE",
        is_everyday=True,
    )
    default_prompt: DefaultPrompt | None = setting(
        None,
        "default-prompt",
        "The prompt of images without one: a prompt file, everything, or words as text:cat.",
        metavar="FILE|everything|text:WORDS",
        is_everyday=True,
    )
    include: Annotated[tuple[str, ...], BeforeValidator(listed)] = setting(
        (),
        "include",
        "Take only pairs of which a file has such a path below INPUT, as *.png or sub/**.",
        metavar="GLOB",
        is_everyday=True,
    )
    exclude: Annotated[tuple[str, ...], BeforeValidator(listed)] = setting(
        (), "exclude", "Leave pairs of which a file has such a path.", metavar="GLOB", is_everyday=True
    )
    continuous: bool = setting(
        False, "continuous", "Keep watching until a signal or the stop file.", is_everyday=True
    )
    limit: Annotated[int, Field(ge=1)] | None = setting(
        None,
        "limit",
        "One-shot: begin so many pairs, and leave the others; those done before do not count.",
        metavar="N",
        is_everyday=True,
    )
    done: Literal["keep", "delete"] | NamedDirectory = setting(
        "keep",
        "done",
        "Finished inputs: keep in INPUT/done, delete, or move to DIR.",
        metavar="keep|delete|DIR",
        is_everyday=True,
    )
    on_exist: Literal["version", "replace", "fail"] = setting(
        "version",
        "on-exist",
        "If the output has a result of this name: write NAME~2, replace it, or fail the pair.",
        metavar="version|replace|fail",
        is_everyday=True,
    )
    skip_done: bool = setting(
        False,
        "skip-done",
        "Skip pairs whose image, prompts, model and settings match the result that exists.",
        is_everyday=True,
    )
    settle_seconds: Seconds = setting(
        1.0, "settle", "A file is complete once unchanged for this long.", metavar="SECONDS"
    )
    ready_suffix: Annotated[str, AfterValidator(_suffix)] | None = setting(
        None,
        "ready-suffix",
        "A pair is complete as soon as a file NAME plus this suffix is beside it.",
        metavar=".SUFFIX",
    )
    pair_timeout_seconds: PositiveSeconds | None = setting(
        None,
        "pair-timeout",
        "Fail half pairs whose other half does not arrive within this time; with default-prompt, images "
        "without a prompt are done after it (10 s if not set; at once in one-shot runs).",
        metavar="SECONDS",
    )
    rescan_seconds: PositiveSeconds = setting(
        2.0, "rescan", "Scan the input at least this often.", metavar="SECONDS"
    )
    max_attempts: Annotated[int, Field(ge=1)] = setting(
        3, "max-attempts", "Attempts before a job that keeps failing is moved to failed/.", metavar="N"
    )
    give_up_seconds: Seconds = setting(
        60.0, "give-up", "One-shot: wait at most this long for retries that are due later.", metavar="SECONDS"
    )
    min_free_bytes: ByteCount = setting(
        64 * 2**20, "min-free", "Take no pairs while a disk has fewer free bytes.", metavar="BYTES"
    )
    lease_seconds: PositiveSeconds = setting(
        30.0,
        "lease",
        "Take over the jobs of a process that sends no heartbeat for this long.",
        metavar="SECONDS",
    )
    exclusive: bool = setting(
        False,
        "exclusive",
        "Refuse to run beside another process on the same input.",
    )
    recursive: bool = setting(
        False,
        "recursive",
        "Take pairs from folders below too; results are written to folders of the same names.",
        is_everyday=True,
    )
    watch: Literal["auto", "native", "polling"] = setting(
        "auto",
        "watch",
        "Find new files by events of the system, or by scans only; auto: scans on network filesystems.",
        metavar="auto|native|polling",
    )
    durability: Durability = setting(
        "batch",
        "durability",
        "How results are forced to the disk, to survive a power cut: in groups, each file, or not at all.",
        metavar="batch|file|off",
    )
    stop_file: Annotated[str, AfterValidator(_bare)] | None = setting(
        None, "stop-file", "Stop once a file of this name is in the input; it is removed.", metavar="NAME"
    )

    @field_validator("default_prompt")
    @classmethod
    def _has_no_rival(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("prompt") is not None:
            raise ValueError("is for images without a prompt, and prompt is for all images: leave one out")
        return value

    @field_validator("limit")
    @classmethod
    def _ends(cls, limit: int | None, info: ValidationInfo) -> int | None:
        if limit is not None and info.data.get("continuous"):
            raise ValueError("needs a run that ends: leave continuous out")
        return limit
