"""Finds pairs that were done before: a committed result has the same image, prompts, model and settings."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Submission
from sampoll.core.names import result_path
from sampoll.core.results import ModelInfo, ResultSummary
from sampoll.formats.opex_record import read_record, skipped_in
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import prompts_document
from sampoll.inputs.usable_prompts import usable_prompts

FORMATS = "format"


@dataclass(frozen=True)
class DoneIndex:
    """What a run makes its results with; `settings` are those that records contain, including `FORMATS`.

    A result in more formats than requested now counts as done; a result in fewer formats, or with missing
    files, does not. A result without prompts that were skipped counts as done if a run now would skip the
    same ones, for the same reasons.
    """

    output: Path
    settings: Mapping[str, Any]
    decoding: DecodingOptions
    model: ModelInfo

    def find(self, submission: Submission, record: bytes, name: str) -> ResultSummary | None:
        """The summary of the result `name`, if it is of this submission and all its files exist, or None."""
        summary = read_record(record, name)
        return summary if summary is not None and self._has(submission, record, name, summary) else None

    def _has(self, submission: Submission, record: bytes, name: str, summary: ResultSummary) -> bool:
        try:
            meta = orjson.loads(record)["meta"]
            return (
                meta["image_sha256"] == submission.image_sha256
                and _model_in(meta) == _model_of(self.model)
                and self._covers(orjson.loads(meta["settings"]))
                and self._has_prompts(meta, submission)
                and all((self.output / result_path(name, suffix)).exists() for suffix in summary.suffixes)
            )
        except (ValueError, TypeError, KeyError, AttributeError, BadPrompt):
            return False  # another program's file; or a bad prompt, whose error the run will report

    def _covers(self, settings: dict[str, Any]) -> bool:
        written: Collection[str] = settings.pop(FORMATS)
        wanted = dict(self.settings)
        return set(written).issuperset(wanted.pop(FORMATS)) and settings == wanted

    def _has_prompts(self, meta: Mapping[str, str], submission: Submission) -> bool:
        size = orjson.loads(meta["image_size"])
        usable = usable_prompts(submission.prompt, submission.prompt_name, self.decoding)
        usable = usable.inside((size["height"], size["width"]))
        segmented = [prompt for prompt in orjson.loads(meta["prompts"]) if prompt is not None]
        return segmented == prompts_document(usable.prompts) and skipped_in(meta) == usable.skipped


def _model_of(model: ModelInfo) -> tuple[str, ...]:
    """Everything about a model except the device, which must not change the results."""
    weights = (model.checkpoint_sha256 or "", model.encoder_sha256 or "", model.detector_sha256 or "")
    return (model.name, *weights, model.precision or "", model.engine or "")


def _model_in(meta: Mapping[str, str]) -> tuple[str, ...]:
    weights = (
        meta["checkpoint_sha256"],
        meta.get("encoder_sha256", ""),
        meta.get("detector_sha256", ""),
    )
    return (meta["model"], *weights, meta["precision"], meta["engine"])
