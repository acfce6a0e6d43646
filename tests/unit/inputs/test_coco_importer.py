"""COCO files with odd values, and as programs write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.importing import IMAGE, Outcome, coco, deep, imported

from sampoll.core.errors import InputUnavailable
from sampoll.core.results import Mask
from sampoll.formats.geometry.rle import rle_of


@pytest.mark.parametrize(
    ("image", "annotation", "message"),
    [
        ({"file_name": "x" * 256 + ".png"}, {}, "must be a path that a file can have"),
        ({"file_name": "x/" * 3000 + "a.png"}, {}, "must not have more than 4000 characters"),
        ({"file_name": "a\0.png"}, {}, "must be a path that a file can have"),
        ({"file_name": deep(500)}, {}, "file_name must be a number or a string"),
        ({}, {"image_id": deep(500)}, "image_id must be a number or a string"),
        ({}, {"category_id": deep(500)}, "category_id must be a number or a string"),
        ({}, {"id": deep(500)}, "id must be a number or a string"),
        ({}, {"bbox": [1, 1, 2, deep(500)]}, "must be a number, got [["),
        ({}, {"bbox": [1, 1, 2, "x" * 10**6]}, "must be a number, got 'xxx"),
        ({}, {"bbox": [1, 1, 2, 1e10]}, "must be finite, and within 1e9 of 0"),
        ({}, {"bbox": None, "keypoints": [1e10, 1, 1]}, "must be finite, and within 1e9 of 0"),
    ],
)
def test_an_odd_value_in_a_coco_file_is_one_short_error(
    tmp_path: Path, image: dict[str, Any], annotation: dict[str, Any], message: str
) -> None:
    error, *of_its_annotation = imported("coco", coco(tmp_path / "set", image, annotation))

    assert message in error
    assert len(error) < 1000
    assert [text.partition(": annotations[0]: ")[2] for text in of_its_annotation] == (
        ["image_id 1 is that of an image that is passed over"] if image else []
    )


def of_coco(folder: Path, image: Any, annotation: Any, **more: Any) -> Outcome:
    """The prompts of the one image, and the errors without the name of the file."""
    source = coco(folder, image, annotation, **more)
    errors = imported("coco", source)
    pair = folder / "pairs" / "a.json"
    prompts = [json.loads(pair.read_bytes())] if pair.exists() else []
    return prompts, [error.removeprefix(f"{source}: ") for error in errors if error != "a.png"]


CATS = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


@pytest.mark.parametrize(
    ("category", "categories", "label"),
    [
        (2, CATS, "dog"),
        (2.0, CATS, "dog"),
        ("2", [*CATS, CATS[0]], "dog"),
        (2, [], "2"),
        (None, None, "object"),
    ],
)
def test_the_label_of_a_coco_annotation_is_the_name_of_its_category(
    tmp_path: Path, category: Any, categories: Any, label: str
) -> None:
    prompts, errors = of_coco(tmp_path / "set", {}, {"category_id": category}, categories=categories)

    assert [prompt.get("label", "object") for prompt in prompts] == [label]
    assert errors == []


@pytest.mark.parametrize(
    ("category", "categories", "errors"),
    [
        (None, CATS, ["annotations[0]: has no category_id"]),
        (7, CATS, ["annotations[0]: category_id 7 is not among the categories"]),
        (
            1,
            [{"id": deep(500)}, 3, {"id": 1}],
            [
                "categories[0]: id must be a number or a string",
                "categories[1]: must be a JSON object",
                "categories[2]: has no name",
                "annotations[0]: category_id 1 is that of a category that is passed over",
            ],
        ),
        (
            1,
            [*CATS, {"id": 1, "name": "cow"}],
            [
                "categories[2]: id 1 is that of several categories: none of them is imported",
                "annotations[0]: category_id 1 is that of a category that is passed over",
            ],
        ),
    ],
)
def test_a_coco_annotation_whose_category_is_unclear_is_passed_over(
    tmp_path: Path, category: Any, categories: Any, errors: list[str]
) -> None:
    found = of_coco(tmp_path / "set", {}, {"category_id": category}, categories=categories)

    assert found == ([], errors)


def test_categories_of_a_coco_file_that_are_no_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match="categories must be a list"):
        imported("coco", coco(tmp_path / "set", {}, {}, categories=5))


SQUARE = {"size": [24, 32], "counts": [24 * 3 + 2, 4, 20, 4, 24 * 28 - 6]}


@pytest.mark.parametrize(
    ("annotation", "box"),
    [
        ({"bbox": [1.5, 2, 3, 4]}, (1.5, 2, 4.5, 6)),
        ({"bbox": ["1", 2, 3, 4]}, (1, 2, 4, 6)),
        ({"bbox": [1, 2, 3, 4], "segmentation": [[0, 0, 20, 0, 20, 20]]}, (1, 2, 4, 6)),
        ({"bbox": [], "segmentation": [[1, 2, 9, 2, 5, 7], [10, 3, 12, 3, 12, 20]]}, (1, 2, 12, 20)),
        ({"segmentation": [1, 2, 9, 2, 5, 7]}, (1, 2, 9, 7)),
        ({"segmentation": SQUARE}, (3, 2, 5, 6)),
        ({"segmentation": {"size": [24, 32], "counts": [0, 24 * 32]}}, (0, 0, 32, 24)),
        ({"segmentation": {"size": [24, 32], "counts": [23, 2, 24 * 32 - 25]}}, (0, 0, 2, 24)),
        ({"segmentation": [[1, 2, 9, 2, 5, 7]], "keypoints": [1, 1, 2]}, (1, 2, 9, 7)),
    ],
)
def test_a_coco_annotation_gives_its_box_or_the_one_around_its_segmentation(
    tmp_path: Path, annotation: dict[str, Any], box: tuple[float, ...]
) -> None:
    prompts, errors = of_coco(tmp_path / "set", {}, {"bbox": None, **annotation})

    assert (tuple(prompts[0]["box"].values()), errors) == (box, [])


def test_the_box_of_compressed_runs_is_that_of_the_mask(tmp_path: Path) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        mask = random.random((24, 32)) > random.choice([0.5, 0.99])
        mask[5, 7] = True
        rle = rle_of(Mask.from_array(mask, 1.0))
        down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))

        prompts, _ = of_coco(tmp_path / f"{seed}" / "set", {}, {"bbox": None, "segmentation": rle})

        assert list(prompts[0]["box"].values()) == [across[0], down[0], across[-1] + 1, down[-1] + 1]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (5, "must be a JSON object"),
        ({"image_id": None}, "has no image_id"),
        ({"image_id": 7}, "image_id 7 is not among the images"),
        ({"image_id": True}, "image_id must be a number or a string"),
        ({"bbox": None}, "has no bbox, no segmentation and no keypoints"),
        ({"bbox": [1, 2, 3]}, "bbox must be [x, y, width, height]"),
        ({"bbox": [1, 2, 0, 3]}, "x0 must be less than x1, got 1.0 and 1.0"),
        ({"bbox": None, "keypoints": [1, 2]}, "keypoints must be [x, y, v, ...]"),
        ({"bbox": None, "keypoints": [1, 2, 0]}, "has no bbox, and no keypoint that is labeled"),
        *(
            (
                {"bbox": None, "segmentation": segmentation},
                f"has no bbox, and no box around its segmentation: {reason}",
            )
            for segmentation, reason in [
                ("abc", "polygons must be [[x, y, x, y, ...], ...]"),
                ([[1, 2, 3]], "polygons must be [[x, y, x, y, ...], ...]"),
                ([[]], "polygons must be [[x, y, x, y, ...], ...]"),
                ([[1, 2, "x", 3]], "must be a number, got 'x'"),
                ([[5, 5, 5, 9]], "x0 must be less than x1, got 5.0 and 5.0"),
                ({"counts": [1, 2]}, "a mask must have counts, and a size [height, width]"),
                ({"size": [24, 32], "counts": "~"}, "the runs of a mask are not in COCO's compressed form"),
                ({"size": [24, 32], "counts": []}, "the runs of a mask do not cover its 32x24 pixels"),
                ({"size": [24, 32], "counts": [768]}, "the mask has no pixel"),
                ({"size": [0, 32], "counts": [768]}, "the size of a mask must be two positive integers"),
            ]
        ),
    ],
)
def test_a_coco_annotation_that_cannot_be_imported_is_named(
    tmp_path: Path, annotation: Any, message: str
) -> None:
    prompts, errors = of_coco(tmp_path / "set", {}, annotation)

    assert (prompts, errors) == ([], [f"annotations[0]: {message}"])


def test_a_mask_of_a_coco_file_for_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    turned = {"size": [32, 24], "counts": [100, 10, 658]}
    found = of_coco(tmp_path / "set", {"width": 32, "height": 24}, {"bbox": None, "segmentation": turned})

    reason = "the size of the mask is not that of its image"
    assert found == ([], [f"annotations[0]: has no bbox, and no box around its segmentation: {reason}"])


def test_an_image_of_lvis_is_the_one_at_the_end_of_its_address(tmp_path: Path) -> None:
    address = "http://images.cocodataset.org/val2017/b.png"
    source = coco(tmp_path / "set", {"file_name": None, "coco_url": address}, {})
    (tmp_path / "set" / "val2017").mkdir()
    (tmp_path / "set" / "val2017" / "b.png").write_bytes(IMAGE)

    assert imported("coco", source) == ["val2017/b.png"]


def test_a_second_listing_of_an_image_of_a_coco_file_is_named_as_such(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", {}, {})
    document = json.loads(source.read_bytes())
    document["images"].append({"id": 2, "file_name": "./a.png"})
    document["annotations"].append({"image_id": 2, "bbox": [1, 1, 2, 2]})
    source.write_text(json.dumps(document))

    assert imported("coco", source) == [
        "a.png",
        "a.png: is listed several times: only the prompts of the first time are imported",
    ]


@pytest.mark.parametrize("iscrowd", [1, 1.0, True, "1"])
def test_a_crowd_of_a_coco_file_is_imported_and_named(tmp_path: Path, iscrowd: Any) -> None:
    prompts, errors = of_coco(
        tmp_path / "set", {}, {"bbox": None, "segmentation": SQUARE, "iscrowd": iscrowd}
    )

    assert (len(prompts), errors) == (
        1,
        ["annotations[0]: is marked as a crowd (iscrowd), and becomes one object"],
    )


@pytest.mark.parametrize("iscrowd", [None, 0, 0.0, False, "0"])
def test_what_is_no_crowd_is_not_named_as_one(tmp_path: Path, iscrowd: Any) -> None:
    prompts, errors = of_coco(tmp_path / "set", {}, {"iscrowd": iscrowd})

    assert (len(prompts), errors) == (1, [])


def test_images_of_a_coco_file_that_cannot_be_told_apart_are_named(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", {}, {})
    document = json.loads(source.read_bytes())
    document["images"] += [
        {"id": 1.0, "file_name": "b.png"},
        {"file_name": "c.png"},
        {"id": 4, "file_name": "d.png", "width": "wide", "height": 24},
        {"id": 5, "file_name": "a.png"},
        {"id": 5, "file_name": "a.png"},
        {"id": 6},
    ]
    document["annotations"] += [{"image_id": 5, "bbox": [1, 1, 2, 2], "id": n} for n in (3, 4, 4.0)]
    source.write_text(json.dumps(document))

    assert [outcome.removeprefix(f"{source}: ") for outcome in imported("coco", source)] == [
        "a.png",
        "images[1]: id 1 is that of several images: none of them is imported",
        "images[2]: has no id",
        "images[3]: must be a number, got 'wide'",
        "images[5]: is listed a second time",
        "images[6]: has no file_name",
        "annotations[0]: image_id 1 is that of an image that is passed over",
        "annotations[3]: id 4 is that of annotations[2] too: it gets none",
    ]
    prompts = json.loads((source.parent / "pairs" / "a.json").read_bytes())["prompts"]
    assert [prompt.get("id") for prompt in prompts] == ["3", "4", None]


def test_two_categories_of_a_coco_file_that_have_one_name_are_named_if_both_are_used(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", {}, {}, categories=[{"id": n, "name": "cat"} for n in range(3)])
    assert imported("coco", source) == ["a.png"]
    (tmp_path / "set" / "pairs" / "a.json").unlink()
    (tmp_path / "set" / "pairs" / "a.png").unlink()
    document = json.loads(source.read_bytes())
    document["annotations"] += [{"image_id": 1, "bbox": [1, 1, 2, 2], "category_id": 2}] * 2
    source.write_text(json.dumps(document))

    assert imported("coco", source) == [
        "a.png",
        f"{source}: annotations[1]: category 2 has the name of category 1: they become one",
    ]


def test_a_size_that_a_coco_file_states_is_compared_and_0_is_none(tmp_path: Path) -> None:
    assert imported("coco", coco(tmp_path / "a", {"width": 0, "height": 0}, {})) == ["a.png"]
    assert imported("coco", coco(tmp_path / "b", {"width": 32.0, "height": 24}, {})) == ["a.png"]
    assert imported("coco", coco(tmp_path / "c", {"width": 64, "height": 48}, {})) == [
        "a.png: has 32x24 pixels, and 64x48 according to the data set"
    ]
