"""A folder of photographs, words, and a directory of the Hugging Face Hub: a data set after one command."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle
from safetensors.torch import load_file, save_file
from skimage import data
from support.folders import Folders
from support.images import encoded
from support.process import sampoll
from support.small_detectors import small_owlv2
from support.small_sam3 import small_sam3

PHOTOGRAPHS = {"astronaut": 3, "chelsea": 2, "coffee": 3}
"""Of scikit-image, each with how many times smaller it is used."""


def with_sam3(directory: Path) -> list[object]:
    file = small_sam3(directory) / "model.safetensors"
    weights = load_file(file)
    detector = "detector_model."
    weights[f"{detector}detr_decoder.presence_head.layer3.bias"] += 10  # sure that it is in the image,
    for part in ("weight", "bias"):
        weights[f"{detector}dot_product_scoring.text_proj.{part}"] *= -1  # and where
    save_file(weights, file)
    return ["--checkpoint", directory]  # --model auto: the directory says what it is


def with_owlv2(directory: Path) -> list[object]:
    return ["--model", "support.fakes:boxes", "--detector", small_owlv2(directory)]


@pytest.mark.parametrize("model", [with_sam3, with_owlv2])
def test_photographs_and_words_are_a_data_set_after_one_command(
    folders: Folders, tmp_path: Path, model: Callable[[Path], list[object]]
) -> None:
    sizes = {}
    for name, step in PHOTOGRAPHS.items():
        image = np.ascontiguousarray(getattr(data, name)()[::step, ::step])
        (folders.input / f"{name}.jpg").write_bytes(encoded(image, "JPEG"))
        sizes[f"{name}.jpg"] = image.shape[:2]
    flags = [*folders.flags, *model(tmp_path / "hub"), "--device", "cpu", "--format", "coco"]

    run = sampoll("run", *flags, "--default-prompt", "text:a red cat")

    assert run.stdout.startswith("3 done, 0 failed"), run.stderr
    document = json.loads((folders.output / "coco/instances.json").read_text())
    assert {each["file_name"]: (each["height"], each["width"]) for each in document["images"]} == sizes
    assert [category["name"] for category in document["categories"]] == ["a red cat"]
    records = [json.loads((folders.output / f"{name}.json").read_text()) for name in PHOTOGRAPHS]
    found = sum(len(json.loads(record["meta"]["scores"])[0]) for record in records)
    assert len(document["annotations"]) == found > 0
    for annotation in document["annotations"]:
        assert int(rle.decode(annotation["segmentation"]).sum()) == annotation["area"] > 0
