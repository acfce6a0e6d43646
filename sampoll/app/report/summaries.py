"""What a report shows about each result, read from its record."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from urllib.parse import quote

import orjson

from sampoll.core.names import printable, result_path, result_suffix

_NUMBER = re.compile(r"\.\d+\.")
"""The number of a mask in the suffix of its file."""


@dataclass(frozen=True)
class Summary:
    """One result. `thumbnail` is a URL relative to the output, or None if the result has no picture."""

    name: str
    thumbnail: str | None
    labels: Sequence[str]
    scores: Sequence[float]
    objects: int
    width: int
    height: int
    model: str
    seconds: Mapping[str, float]
    at: str

    @property
    def score(self) -> float:
        """The highest score; 0 without any mask."""
        return max(self.scores, default=0.0)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


def summary_of(record: bytes, name: str, thumbnails: Sequence[str]) -> Summary:
    """The summary of the result `name`, whose thumbnail is its first file with one of these suffixes;
    ValueError if `record` is no record of a result."""
    try:
        document = orjson.loads(record)
        meta = document["meta"]
        size = orjson.loads(meta["image_size"])
        files = orjson.loads(meta["files"])
        prompts = orjson.loads(meta["prompts"])
        return Summary(
            name=printable(name),
            thumbnail=_thumbnail(name, files, thumbnails),
            labels=list(dict.fromkeys(str(p.get("label", "object")) for p in prompts if p is not None)),
            scores=[float(score) for scores in orjson.loads(meta["scores"]) for score in scores],
            objects=len(document["objects"]),
            width=int(size["width"]),
            height=int(size["height"]),
            model=str(meta["model"]),
            seconds={str(stage): float(value) for stage, value in orjson.loads(meta["seconds"]).items()},
            at=str(document["timestamp"]).partition(".")[0],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no record of a result: {type(error).__name__}: {error}") from error


def _thumbnail(name: str, files: Mapping[str, str], suffixes: Sequence[str]) -> str | None:
    """The best picture; of several masks, the first one that there is: that of a bad prompt was skipped."""
    found = [suffix for file in files if (suffix := result_suffix(file, printable(name)))]
    firsts = {_NUMBER.sub(".0.", suffix): suffix for suffix in reversed(found)}
    for suffix in suffixes:
        if suffix in firsts:
            return quote(result_path(name, firsts[suffix]), errors="surrogateescape")
    return None


@dataclass(frozen=True)
class Stage:
    """The seconds that a stage took per image: median, slowest, and total over all images."""

    name: str
    median: float
    slowest: float
    total: float


def stages_of(summaries: Sequence[Summary]) -> list[Stage]:
    names = dict.fromkeys(name for summary in summaries for name in summary.seconds)
    stages = []
    for name in names:
        took = [summary.seconds[name] for summary in summaries if name in summary.seconds]
        stages.append(Stage(name.replace("_", " "), median(took), max(took), sum(took)))
    return stages
