"""Data sets of results with unusual labels and names."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import BoolMask, Mask, ModelInfo, Segmentation
from sampoll.formats.datasets.coco import Coco
from sampoll.formats.datasets.yolo import Yolo
from sampoll.formats.options import FormatOptions

LABELS = {
    "NEL": "a\x85b",
    "DEL": "a\x7fb",
    "C1": "a\x9b31mb",
    "line separators": "a\u2028b\u2029c",
    "a new line": "a\nb",
    "NUL": "a\0b",
    "a byte order mark": "\ufeffa",
    "directions": "a\u202eb",
    "a word of YAML": "no",
    "null": "~",
    "a number": "1",
    "a colon": "a: b #c",
    "quotes": "'a' \"b\"",
    "an anchor": "&a *b !c %d @e `f`",
    "spaces": "  a  ",
    "an emoji": "\U0001f469\u200d\U0001f680",
    "Chinese": "猫",
    "a lone surrogate": "\ud800",
    "the last one": "\U0010ffff",
}

SQUARE = np.ones((8, 8), np.bool_)


@dataclass(frozen=True)
class ResultsOf:
    segmentations: Sequence[Segmentation]

    @property
    def labels(self) -> Sequence[str]:
        return sorted({prompt.label for one in self.segmentations for prompt in one.prompts})

    def __iter__(self) -> Iterator[Segmentation]:
        return iter(self.segmentations)


def result(name: str, *labels: str, array: BoolMask = SQUARE) -> Segmentation:
    mask = Mask.from_array(array, 0.5)
    prompts = tuple(Prompt(box=Box(0, 0, 5, 5), label=label) for label in labels)
    return Segmentation(
        "id", name, prompts, tuple((mask,) for _ in labels), ModelInfo("boxes"), mask.size, "ab" * 32, {}
    )


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_every_label_is_in_data_yaml_as_it_is(tmp_path: Path, label: str) -> None:
    results = ResultsOf([result("cat", label, "other")])

    Yolo(FormatOptions()).write(results, tmp_path)

    names = yaml.safe_load((tmp_path / "data.yaml").read_text("utf-8"))["names"]
    assert names == dict(enumerate(results.labels))
    first = (tmp_path / "labels/cat.txt").read_text().splitlines()[0]
    assert names[int(first.split()[0])] == label


def test_labels_that_people_can_read_are_not_escaped(tmp_path: Path) -> None:
    Yolo(FormatOptions()).write(ResultsOf([result("cat", "猫", "café")]), tmp_path)

    assert "猫" in (tmp_path / "data.yaml").read_text("utf-8")


@pytest.mark.parametrize("label", [label for label in LABELS.values() if label.isascii()])
def test_every_label_is_a_category_of_coco_as_it_is(tmp_path: Path, label: str) -> None:
    results = ResultsOf([result("cat", label, "other")])

    Coco(FormatOptions()).write(results, tmp_path)

    document = json.loads((tmp_path / "instances.json").read_bytes())
    names = {category["id"]: category["name"] for category in document["categories"]}
    assert names[document["annotations"][0]["category_id"]] == label


@pytest.mark.parametrize("name", ["caf\udce9", "a\x07b", r"a\x07b", "sub/a.b"])
def test_label_files_are_named_as_the_images_are(tmp_path: Path, name: str) -> None:
    Yolo(FormatOptions()).write(ResultsOf([result(name, "a")]), tmp_path)

    assert (tmp_path / "labels" / f"{name}.txt").is_file()


@pytest.mark.parametrize("width", [8, 30, 97, 4001, 50_000])
def test_readers_that_drop_fractions_and_readers_that_round_get_the_same_pixels(
    tmp_path: Path, width: int
) -> None:
    columns = np.zeros((1, width), np.bool_)
    columns[:, :: max(1, width // 500)] = True
    Yolo(FormatOptions()).write(ResultsOf([result("cat", "a", array=columns)]), tmp_path)

    shares = np.array((tmp_path / "labels/cat.txt").read_text().split()[1:], np.float32)
    places = shares[::2] * np.float32(width)
    assert np.array_equal(np.trunc(places), np.round(places))
    assert set(np.trunc(places)) >= {0, np.nonzero(columns)[1].max()}
