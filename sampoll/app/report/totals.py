"""Counts, areas and seconds over all results of a report."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from sampoll.app.report.entries import Result

MAX_LABELS = 10_000
"""Labels that are counted one by one: memory is bounded also if each result has labels of its own."""
OTHER_LABELS = "(other labels)"


@dataclass(slots=True)
class LabelTotal:
    """The masks of one label. Areas are in pixels; the share is that of the image, summed over the masks."""

    label: str
    results: int = 0
    masks: int = 0
    empty: int = 0
    area: int = 0
    smallest: int = 0
    largest: int = 0
    share: float = 0.0
    score: float = 0.0

    @property
    def mean_area(self) -> float:
        return self.area / self.masks

    @property
    def mean_share(self) -> float:
        return self.share / self.masks

    @property
    def mean_score(self) -> float:
        return self.score / self.masks

    def add(self, area: int, pixels: int, score: float) -> None:
        self.smallest = min(area, self.smallest) if self.masks else area
        self.largest = max(area, self.largest)
        self.masks += 1
        self.empty += area == 0
        self.area += area
        self.share += area / pixels
        self.score += score


@dataclass(frozen=True, slots=True)
class Stage:
    """The seconds that a stage took per image: median, slowest, and total over all images."""

    name: str
    median: float
    slowest: float
    total: float


@dataclass(slots=True)
class Totals:
    """What `add` has counted."""

    results: int = 0
    masks: int = 0
    empty: int = 0
    with_skipped: int = 0
    _labels: dict[str, LabelTotal] = field(default_factory=dict)
    _seconds: dict[str, "array[float]"] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        self.results += 1
        self.masks += len(result.masks)
        self.with_skipped += bool(result.skipped)
        pixels = max(1, result.width * result.height)
        seen = {}
        for mask in result.masks:
            total = self._total_of(mask.label)
            total.add(mask.area, pixels, mask.score)
            self.empty += mask.area == 0
            seen[total.label] = total
        for total in seen.values():
            total.results += 1
        for stage, took in result.seconds.items():
            self._seconds.setdefault(stage, array("d")).append(took)

    def _total_of(self, label: str) -> LabelTotal:
        if label not in self._labels and len(self._labels) >= MAX_LABELS:
            label = OTHER_LABELS
        return self._labels.setdefault(label, LabelTotal(label))

    def labels(self) -> Sequence[LabelTotal]:
        """The labels with the most masks first."""
        return sorted(self._labels.values(), key=lambda total: (-total.masks, total.label))

    def stages(self) -> Sequence[Stage]:
        return [
            Stage(name.replace("_", " "), median(took), max(took), sum(took))
            for name, took in self._seconds.items()
        ]
