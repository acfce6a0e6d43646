"""Reads the summary of a result from its record. Imports little, for modules that render nothing."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from sampoll.core.jobs import SkippedPrompt, skipped_prompt_of
from sampoll.core.names import printable, result_suffix
from sampoll.core.results import ResultSummary

_SUFFIX = re.compile(r"([a-z0-9_-]+/)?(\.[^/]+)")


def read_record(record: bytes, name: str) -> ResultSummary | None:
    """What the record of the result `name` says; None if it is no record that `Opex` has rendered."""
    try:
        meta = orjson.loads(record)["meta"]
        files = orjson.loads(meta["files"])
        suffixes = tuple(result_suffix(file, printable(name)) for file in files)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    # A record written by another program may not name a file outside the output.
    ours = tuple(suffix for suffix in suffixes if suffix and _SUFFIX.fullmatch(suffix))
    if "job_id" not in meta or len(ours) != len(suffixes):
        return None
    return ResultSummary(ours, *_measured(meta), _skipped(meta))


def files_of(record: bytes) -> dict[str, str]:
    """The SHA-256 of each file of a result, by the printable form of its path; empty for anything else."""
    try:
        files = orjson.loads(orjson.loads(record)["meta"]["files"])
        return files if all(isinstance(sha256, str) for sha256 in files.values()) else {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def skipped_in(meta: Mapping[str, str]) -> tuple[SkippedPrompt, ...]:
    """The prompts that were skipped, from the meta data of a record; none in a record that does not say it.
    ValueError, TypeError or KeyError if it says something else."""
    return tuple(map(skipped_prompt_of, orjson.loads(meta.get("skipped", "[]"))))


def _skipped(meta: dict[str, Any]) -> tuple[SkippedPrompt, ...]:
    try:
        return skipped_in(meta)
    except (ValueError, TypeError, KeyError):
        return ()


def _measured(meta: dict[str, Any]) -> tuple[dict[str, float], tuple[tuple[float, ...], ...]]:
    """The seconds by stage, and the scores by prompt; empty if the record does not contain them."""
    try:
        seconds = {str(stage): float(took) for stage, took in orjson.loads(meta["seconds"]).items()}
        return seconds, tuple(tuple(map(float, scores)) for scores in orjson.loads(meta["scores"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}, ()
