"""Boxes of CVAT become masks, and go back: docs/how-to/cvat.md."""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco
from support.cvat import BOX, write_task
from support.folders import Folders
from support.images import encoded, image_of
from support.process import sampoll

POLYGON = {
    "segmentation": [[2.0, 3.0, 12.0, 3.0, 12.0, 9.0]],
    "area": 30.0,
    "bbox": [2.0, 3.0, 10.0, 6.0],
    "iscrowd": 0,
}
MASK = {
    "segmentation": {"counts": [24 * 5 + 6, 8, 16, 8, 24 * 24 + 10], "size": [24, 32]},
    "area": 16.0,
    "bbox": [5.0, 6.0, 2.0, 8.0],
    "iscrowd": 1,
}


def test_boxes_of_a_task_come_back_as_masks_with_its_images_and_labels(
    folders: Folders, tmp_path: Path
) -> None:
    write_task(tmp_path / "task", "cat.jpg", encoded(image_of(), "JPEG"), (24, 32), [BOX, POLYGON, MASK])
    source, images = tmp_path / "task/annotations/instances_default.json", tmp_path / "task/images/default"

    read = sampoll("prompts", "import", "--from", "coco", source, "--images", images, "--to", folders.input)
    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--format", "coco")

    assert (read.returncode, run.returncode) == (1, 0), read.stderr + run.stderr
    assert read.stderr.count("annotations[2]: is marked as a crowd (iscrowd), and becomes one object") == 1
    made = json.loads((folders.output / "coco/instances.json").read_text())
    [image] = made["images"]
    assert (image["file_name"], image["width"], image["height"]) == ("cat.jpg", 32, 24)
    assert [category["name"] for category in made["categories"]] == ["cup"]
    assert [found["bbox"] for found in made["annotations"]] == [
        shape["bbox"] for shape in (BOX, POLYGON, MASK)
    ]
    for found in made["annotations"]:
        x, y, width, height = map(int, found["bbox"])
        expected = np.zeros((24, 32), np.uint8)
        expected[y : y + height, x : x + width] = 1
        assert (coco.decode(found["segmentation"]) == expected).all()
