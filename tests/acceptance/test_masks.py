"""The settings that clean masks, from the command line to the files."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco
from support.folders import BOX, Folders, drop_pair, read_opex
from support.images import read_mask
from support.process import sampoll

BOXES = ("--model", "support.fakes:boxes")
RAGGED = {
    **BOX,
    "points": [{"x": 8, "y": 8, "label": 0}, {"x": 28, "y": 2, "label": 1}, {"x": 29, "y": 2, "label": 1}],
}
"""A mask of 16 x 12 pixels with a hole of one, and an island of two."""


@pytest.mark.parametrize(
    ("flags", "area", "objects"),
    [
        ((), 16 * 12 - 1 + 2, 2),
        (("--fill-holes", 2), 16 * 12 + 2, 2),
        (("--fill-holes", 1), 16 * 12 - 1 + 2, 2),
        (("--remove-islands", 3), 16 * 12 - 1, 1),
        (("--largest-only",), 16 * 12 - 1, 1),
        (("--min-object-size", 2), 16 * 12 - 1, 1),
        (("--max-object-size", 15), 2, 1),
        (("--max-object-size", 15, "--min-object-size", 2), 0, 0),
    ],
)
def test_the_mask_the_objects_and_the_rle_agree_after_cleaning(
    folders: Folders, flags: tuple[object, ...], area: int, objects: int
) -> None:
    drop_pair(folders.input, "a", RAGGED)

    run = sampoll("run", *folders.flags, *BOXES, *flags)

    mask, opex = read_mask(folders.output / "a.png"), read_opex(folders.output / "a.json")
    assert run.returncode == 0
    assert mask.sum() == area
    assert len(opex.objects) == objects
    assert np.array_equal(coco.decode(json.loads(opex.meta["rle"])[0][0]), mask)


def test_the_record_has_the_settings_and_outlines_have_fewer_points(folders: Folders) -> None:
    drop_pair(folders.input, "a", {"prompts": [RAGGED]})

    sampoll("run", *folders.flags, *BOXES, "--simplify", 30)

    opex = read_opex(folders.output / "a.json")
    assert sorted(len(found.polygon.points) for found in opex.objects) == [3, 3]
    assert json.loads(opex.meta["settings"])["simplify"] == 30


def test_a_minimum_size_above_the_maximum_is_refused(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, *BOXES, "--min-object-size", 5, "--max-object-size", 4)

    assert run.returncode == 2
    assert run.stderr == (
        "sampoll: --max-object-size: must not be less than min-object-size, which is 5, got '4'\n"
    )


def test_a_settings_file_has_the_same_names_as_the_flags(folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a", RAGGED)
    config = tmp_path / "masks.toml"
    config.write_text("[masks]\nfill-holes = 9\nlargest-only = true\n")

    sampoll("run", *folders.flags, *BOXES, "--config", config)

    assert read_mask(folders.output / "a.png").sum() == 16 * 12
