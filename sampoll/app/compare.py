"""Every engine and precision of a model, compared with segment_anything in float32 on given images."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampoll.app.assembly import named
from sampoll.config.settings import Settings
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import UsageError
from sampoll.inputs.decode import decode_image
from sampoll.inputs.discovery import image_files, read_image
from sampoll.models.registry import attribute_of_model, find_factory, load_segmenter
from sampoll.models.shared.device import chosen_engine, device_named, variants
from sampoll.models.shared.fidelity import GATES, ComparableSegmenter, Fidelity, compare, way_of

HEADER = (
    "",
    "seconds per image",
    "x the original",
    "embedding",
    "logits",
    "mean IoU",
    "flips",
    "keeps its limits",
)


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison, for people (`rows`) and for programs (`document`)."""

    model: str
    original: str
    original_seconds: Sequence[float]
    variants: dict[str, Fidelity]

    def rows(self) -> list[tuple[str, ...]]:
        """Below HEADER: median seconds, relative errors, and the limits that a variant exceeds."""
        original = statistics.median(self.original_seconds)
        rows = [(self.original, f"{original:.2f}", "1.0", *[""] * 5)]
        for name, found in self.variants.items():
            broken = found.broken(GATES[name.rpartition(" ")[2]])
            rows.append(
                (
                    name,
                    f"{found.median_seconds:.2f}",
                    f"{original / found.median_seconds:.1f}",
                    f"{found.embedding_error:.1e}",
                    f"{found.logits_error:.1e}",
                    f"{found.mean_iou:.4f}",
                    f"{found.flipped:.1%}",
                    f"no: {', '.join(broken)}" if broken else "yes",
                )
            )
        return rows

    def markdown(self) -> Iterator[str]:
        """The lines of a table in Markdown."""
        for row in (HEADER, ("---",) * len(HEADER), *self.rows()):
            yield f"| {' | '.join(row)} |"

    def document(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "images": len(self.original_seconds),
            "original": {"name": self.original, "seconds": list(self.original_seconds)},
            "variants": {
                name: {
                    "seconds": found.seconds,
                    "embedding_error": found.embedding_error,
                    "logits_error": found.logits_error,
                    "mean_iou": found.mean_iou,
                    "flipped": found.flipped,
                }
                for name, found in self.variants.items()
            },
        }


def compare_variants(settings: Settings, paths: Sequence[Path]) -> Comparison:
    """Compares the engines and precisions that the settings name, or all that suit the device.

    Raises JobError, which names the image, if one cannot be read; another SampollError if nothing can be
    compared at all.
    """
    settings = named(settings)
    model, limits = settings.model, settings.limits
    original_of = attribute_of_model(model, "original")
    images = [
        decode_image(read_image(path, limits.max_image_bytes), str(path), limits.max_pixels, model.exif)
        for path in image_files(paths)
    ]
    if not images:
        raise UsageError(f"no image in {', '.join(map(str, paths))}")
    original: ComparableSegmenter = original_of(model)
    ways = {f"{engine}, {precision}": (engine, precision) for engine, precision in _chosen(model)}
    if len(ways) > 1:
        ways.pop(way_of(original), None)  # it is what all others are compared with
    segmenters = {name: _segmenter(model, *way) for name, way in ways.items()}
    seconds, found = compare(original, segmenters, images)
    return Comparison(model.model, way_of(original), seconds, found)


def _chosen(model: ModelSettings) -> list[tuple[str, str]]:
    """The engines and precisions to compare; one that was requested is included even if the device is slow
    at it."""
    device = device_named(model.device)
    found = variants(device)
    if model.engine != "auto" and model.precision != "auto":
        return [(model.engine, model.precision)]
    if model.engine != "auto":
        precisions = dict.fromkeys(precision for _, precision in found)
        return [(model.engine, precision) for precision in precisions]
    if model.precision != "auto":
        engines = dict.fromkeys(engine for engine, precision in found if precision == model.precision)
        engines = engines or {chosen_engine("auto", device, model.precision): None}
        return [(engine, model.precision) for engine in engines]
    return found


def _segmenter(model: ModelSettings, engine: str, precision: str) -> ComparableSegmenter:
    options = model.model_copy(update={"engine": engine, "precision": precision})
    segmenter: Any = load_segmenter(options, find_factory(options))
    comparable: ComparableSegmenter = segmenter
    return comparable
