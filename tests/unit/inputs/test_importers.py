"""Annotations with odd values, and files that are not what their names say: one error each."""

import errno
import hashlib
import io
import json
import os
import tempfile
import time
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from support.images import encoded, image_of, turned_image

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import InputUnavailable, JobError
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.core.results import Mask
from sampoll.files.file_set import replaced_set
from sampoll.formats.geometry.rle import rle_of
from sampoll.inputs.check import Checked, check_prompts
from sampoll.inputs.importers.base import AnnotatedImage, files_of, image_name, json_of
from sampoll.inputs.importers.registry import load_importer
from sampoll.inputs.importers.write_pairs import Imported, write_pairs
from sampoll.inputs.options import DecodingOptions

IMAGE = encoded(image_of())
YOLO_LINE = "0 0.5 0.5 0.5 0.5\n"


def imported(importer: str, source: Path) -> list[str]:
    """The names of the images that have pairs now, and the errors; what is written can be run."""
    target = source.parent / "pairs"
    outcomes = list(
        write_pairs(load_importer(importer)(source, None), target, DecodingOptions(), copies=False)
    )
    written = [outcome.name for outcome in outcomes if isinstance(outcome, Imported) and outcome.prompts]
    checked = list(check_prompts([target], DecodingOptions())) if written else []
    assert all(isinstance(one, Checked) and one.image for one in checked)
    assert len(checked) == len(written)
    return [*written, *(str(outcome) for outcome in outcomes if isinstance(outcome, JobError))]


def annotated(importer: str, source: Path, images: Path | None = None) -> list[AnnotatedImage]:
    """What an importer reads, which must be images without an error."""
    found = list(load_importer(importer)(source, images))
    assert all(isinstance(image, AnnotatedImage) for image in found), found
    return [image for image in found if isinstance(image, AnnotatedImage)]


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def coco(folder: Path, image: dict[str, Any], annotation: Any, **more: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(IMAGE)
    images = [{"id": 1, "file_name": "a.png", **image}]
    if isinstance(annotation, dict):
        annotation = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], **annotation}
    path = folder / "coco.json"
    path.write_text(json.dumps({"images": images, "annotations": [annotation], **more}))
    return path


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


Outcome = tuple[list[dict[str, Any]], list[str]]


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


@pytest.mark.parametrize(
    ("importer", "document"),
    [
        ("labelme", {"imagePath": deep(500), "shapes": []}),
        ("labelme", {"imagePath": "x" * 300 + "/done/a.png", "shapes": []}),
        ("labelme", {"imagePath": "a.png", "shapes": [{"label": deep(500), "points": [[1, 1], [2, 2]]}]}),
        ("opex", {"objects": [{"label": deep(500), "bbox": {"left": 1, "top": 1, "right": 2, "bottom": 2}}]}),
    ],
)
def test_an_odd_value_in_a_file_of_an_image_is_one_error(
    tmp_path: Path, importer: str, document: dict[str, Any]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(IMAGE)
    (tmp_path / "set" / "a.json").write_text(json.dumps(document))

    [error] = imported(importer, tmp_path / "set")

    assert "a.json" in error


def opex(left: int, top: int, right: int, bottom: int, **meta: str) -> dict[str, Any]:
    box = {"left": left, "top": top, "right": right, "bottom": bottom}
    return {"score": 1.0, "label": "cat", "bbox": box, "meta": meta}


def record(
    result: bytes, *objects: dict[str, Any], size: tuple[int, int] = (24, 32), name: str = "a.png"
) -> str:
    """A record as sampoll writes it, of a result that has this one file."""
    files = {name: hashlib.sha256(result).hexdigest()}
    stated = {"height": size[0], "width": size[1]}
    meta = {"files": json.dumps(files), "image_size": json.dumps(stated)}
    return json.dumps({"objects": objects, "meta": meta})


def test_the_mask_beside_a_record_is_not_taken_for_the_photograph(tmp_path: Path) -> None:
    source, photographs = tmp_path / "out", tmp_path / "photographs"
    mask = encoded(image_of(seed=1))
    for folder in (source, photographs):
        folder.mkdir()
    (source / "a.png").write_bytes(mask)
    (source / "a.json").write_text(record(mask, opex(1, 1, 2, 2, prompt="0", mask="0")))
    (photographs / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))

    assert imported("opex", source) == [
        f"{source / 'a.json'}: has no image a in {source}; a.png is a result: "
        "name the folder of the photographs by --images"
    ]
    assert [image.path for image in annotated("opex", source, photographs)] == [photographs / "a.jpg"]


def test_exports_beside_records_are_not_taken_for_records(tmp_path: Path) -> None:
    source = tmp_path / "out"
    for kind in ("labelme", "coco", "else"):
        (source / kind).mkdir(parents=True)
    of_run, of_export, of_others = b'{"shapes": []}', b'{"images": []}', b'{"shapes": [1]}'
    (source / "labelme" / "a.json").write_bytes(of_run)
    with replaced_set(source / "coco") as files:
        files.write("instances.json", of_export)
    (source / "else" / "a.json").write_bytes(of_others)
    (source / "a.jpg").write_bytes(IMAGE)
    box = opex(1, 1, 2, 2, prompt="0", mask="0")
    (source / "a.json").write_text(record(of_run, box, name="labelme/a.json"))

    assert imported("opex", source) == [
        "a.jpg",
        f'{source / "else" / "a.json"}: is no OPEX file: it has no list of "objects"',
    ]


def test_the_photograph_beside_a_record_and_its_mask_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))
    (tmp_path / "a.json").write_text(record(IMAGE, opex(1, 1, 2, 2, prompt="0", mask="0")))

    assert [image.path.name for image in annotated("opex", tmp_path)] == ["a.jpg"]


def test_parts_of_one_mask_are_one_prompt_in_a_record_and_objects_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    objects = [
        opex(1, 2, 4, 4, prompt="0", mask="0", prompt_id="x"),
        opex(8, 1, 9, 3, prompt="0", mask="0", prompt_id="x"),
        opex(1, 1, 2, 2, prompt="0", mask="1", prompt_id="x"),
    ]
    (tmp_path / "a.json").write_text(record(b"", *objects))

    [image] = annotated("opex", tmp_path)

    assert image.prompts == (
        Prompt(box=Box(1, 1, 10, 5), label="cat", id="x"),
        Prompt(box=Box(1, 1, 3, 3), label="cat", id="x"),
    )
    assert image.fields == ("objects[0]", "objects[2]")
    (tmp_path / "a.json").write_text(json.dumps({"objects": objects, "meta": {}}))
    [image] = annotated("opex", tmp_path)
    assert len(image.prompts) == 3


def test_a_record_about_an_image_of_another_size_is_passed_over(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    (source / "a.png").write_bytes(IMAGE)
    (source / "a.json").write_text(record(b"", opex(1, 1, 2, 2, prompt="0", mask="0"), size=(48, 64)))

    assert imported("opex", source) == ["a.png: has 32x24 pixels, and 64x48 according to the data set"]


def test_two_images_of_one_stem_are_named(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    for name in ("a.png", "a.jpg"):
        (source / name).write_bytes(IMAGE)
    (source / "a.json").write_text(json.dumps({"objects": [opex(1, 1, 2, 2)]}))

    assert imported("opex", source) == [f"{source / 'a.json'}: has 2 images: a.jpg, a.png"]


def of_csv(folder: Path, content: str | bytes) -> Outcome:
    """The prompts of a.png by a table, and the errors without the name of the file."""
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(IMAGE)
    source = folder / "table.csv"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    errors = imported("csv", source)
    pair = folder / "pairs" / "a.json"
    document = json.loads(pair.read_bytes()) if pair.exists() else {"prompts": []}
    return document.get("prompts", [document]), [
        e.removeprefix(f"{source}: ") for e in errors if e != "a.png"
    ]


@pytest.mark.parametrize(
    "table",
    [
        "image,x0,y0,x1,y1,label\na.png,1,2,3,4.5,cat\n",
        "image;x0;y0;x1;y1;label\r\na.png;1;2;3;4,5;cat\r\n;;;;;\r\n",
        "image\tx0\ty0\tx1\ty1\tlabel\na.png\t1\t2\t3\t4.5\tcat\n",
        "sep=;\nimage;x0;y0;x1;y1;label\na.png;1;2;3;4.5;cat\n",
        "image, x0, y0, x1, y1, label\na.png, 1, 2, 3, 4.5, cat\n",
        '"image","x0","y0","x1","y1","label"\r"a.png","1","2","3","4.5","cat"\r',
        "\ufeffimage,x0,y0,x1,y1,label\na.png,1,2,3,4.5,cat\n",
        "image,x0,y0,x1,y1,label\na.png,1,2,3,4.5,cat\n".encode("utf-16"),
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,32,24,cat,1,2,3,4.5\n",
        "image_path,xmin,ymin,xmax,ymax,label\na.png,1,2,3,4.5,cat\n",
        "file_name,class_name,confidence,x_min,y_min,x_max,y_max\na.png,cat,0.5,1,2,3,4.5\n",
        "image,x1,y1,x2,y2,label\na.png,1,2,3,4.5,cat\n",
    ],
)
def test_a_table_is_read_as_programs_write_it(tmp_path: Path, table: str | bytes) -> None:
    assert of_csv(tmp_path / "set", table) == (
        [{"box": {"x0": 1, "y0": 2, "x1": 3, "y1": 4.5}, "label": "cat"}],
        [],
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("a.png,1,1,9,,,,,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,1,1,9,,5,5,,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,,,,,5,,,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,,,,,,,cat,", "must have x0, y0, x1 and y1, or x and y"),
        ("a.png,1,1,9,9,,,cat,,7", "has 10 values for 9 columns"),
        ("a.png,,,,,5,5,dog,7", "id 7 has another label, 'cat', in line 2"),
        ("a.png,1,1,9,9,,,,7", "id 7 has a second box: a prompt has one"),
        (",1,1,9,9,,,,", "image must be a path below the folder of the images"),
        ("a.png,1,1,9,9,,," + "x" * 1001 + ",", "label and id must not have more than 1000 characters"),
    ],
)
def test_a_line_of_a_table_that_is_wrong_is_named(tmp_path: Path, line: str, error: str) -> None:
    first = "image,x0,y0,x1,y1,x,y,label,id\na.png,1,1,9,9,,,cat,7\n"

    prompts, errors = of_csv(tmp_path / "set", f"{first}{line}\n")

    assert errors == [f"line 3: {error}"]
    assert len(prompts) == 1


def test_lines_of_a_table_that_have_one_id_are_one_prompt(tmp_path: Path) -> None:
    lines = ["a.png,,,,,5,6,,7", "a.png,1,1,9,9,2,3,cat,7", "a.png,,,,,1,1,cat,8", "a.png,,,,,4,4,cat,"]

    prompts, errors = of_csv(tmp_path / "set", "\n".join(["image,x0,y0,x1,y1,x,y,label,id", *lines]))

    assert errors == []
    assert [(prompt.get("id"), len(prompt["points"]), "box" in prompt) for prompt in prompts] == [
        ("7", 2, True),
        ("8", 1, False),
        (None, 1, False),
    ]


def test_an_image_of_a_table_without_values_has_no_prompt(tmp_path: Path) -> None:
    assert of_csv(tmp_path / "set", "image,x1,y1,x2,y2,class\na.png,,,,,\n") == ([], [])


def test_a_table_that_states_another_size_is_about_another_image(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    _, errors = of_csv(tmp_path / "a", f"{header}a.png,64,48,cat,1,1,9,9\n")
    assert errors == ["a.png: has 32x24 pixels, and 64x48 according to the data set"]

    prompts, errors = of_csv(tmp_path / "b", f"{header}a.png,32,24,cat,1,1,9,9\na.png,24,32,cat,1,1,9,9\n")
    assert errors == ["line 3: width and height are not those of an earlier line of the image"]
    assert len(prompts) == 1


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("image,x,y,w,h", "has x and y beside a width or height: name corners x0, y0, x1, y1"),
        ("image,x,y,bbox_width,bbox_height", "has x and y beside a width or height"),
        ("image,x,y,x", "has several columns for x: x, x"),
        ("filename,image_path,x,y", "has several columns for image: filename, image_path"),
        ("image,x_min,y_min,x_max,y_max,y_min", "has several columns for y0: y_min, y_min"),
        ("ImageID,XMin,XMax,YMin,YMax", "needs a first line that names the columns"),
        ("", "needs a first line that names the columns"),
    ],
)
def test_a_table_whose_columns_are_unclear_is_refused(tmp_path: Path, columns: str, reason: str) -> None:
    with pytest.raises(InputUnavailable, match=reason):
        of_csv(tmp_path / "set", f"{columns}\n")


def test_points_with_the_size_of_the_image_are_points_where_a_column_says_so(tmp_path: Path) -> None:
    prompts, errors = of_csv(tmp_path / "set", "image,x,y,point,width,height\na.png,3,4,1,32,24\n")

    assert (prompts[0]["points"], errors) == ([{"x": 3.0, "y": 4.0, "label": 1}], [])


def test_many_lines_of_one_prompt_are_joined_soon(tmp_path: Path) -> None:
    lines = [f"a.png,{index % 32},{index % 24},7" for index in range(40_000)]
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "table.csv").write_text("\n".join(["image,x,y,id", *lines]))
    started = time.process_time()

    [image] = load_importer("csv")(tmp_path / "table.csv", None)

    assert isinstance(image, AnnotatedImage)
    assert len(image.prompts[0].points) == 40_000
    assert time.process_time() - started < 3


def yolo(folder: Path, names: str) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(IMAGE)
    (folder / "a.txt").write_text(YOLO_LINE)
    (folder / "data.yaml").write_text(names)
    return folder


MERGES = "".join(f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}\n" for n in range(1, 40))
PAIRS = "".join(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "names",
    [
        "names: [2001-99-99]",
        "names: !!timestamp x",
        "names: [!!float x, !!int y, !!bool z]",
        f"l0: &l0 {{a: b}}\n{MERGES}names: [cat]",
        f"l0: &l0 [a]\n{PAIRS}names: !!pairs [a: *l39]",
        f"names: {'[' * 1000}{']' * 1000}",
        "names: &a [*a]",
        "names: {? [a, b] : c}",
        "names: \0",
    ],
)
def test_a_data_yaml_of_any_kind_is_read_or_refused_soon(tmp_path: Path, names: str) -> None:
    started = time.process_time()
    try:
        assert imported("yolo", yolo(tmp_path / "set", names)) == ["a.png"]
    except InputUnavailable as error:
        assert 'has no "names" of classes' in str(error)  # noqa: PT017  either outcome is right
    assert time.process_time() - started < 5


def test_names_of_classes_are_taken_as_they_are_written(tmp_path: Path) -> None:
    imported("yolo", yolo(tmp_path / "set", "names: {0: no}"))

    assert json.loads((tmp_path / "pairs" / "a.json").read_bytes())["label"] == "no"


def test_a_folder_with_the_name_of_an_image_is_none(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", "names: [cat]")
    (source / "a.png").unlink()
    (source / "a.png").mkdir()

    [error] = imported("yolo", source)

    assert error.endswith(f"a.txt: has no image a in {source}")


BOX = Prompt(box=Box(1, 1, 3, 3))
OUTSIDE = Prompt(box=Box(100, 1, 120, 3))


def written(tmp_path: Path, *images: AnnotatedImage, **options: Any) -> list[Imported | JobError]:
    """What becomes of the images; what is written is valid by the rules of a run."""
    made = DecodingOptions(**options)
    outcomes = list(write_pairs(images, tmp_path / "in", made, copies=False))
    pairs = [outcome for outcome in outcomes if isinstance(outcome, Imported) and outcome.prompts]
    checked = list(check_prompts([tmp_path / "in"], made)) if pairs else []
    assert all(isinstance(one, Checked) and one.image for one in checked)
    assert len(checked) == len(pairs)
    return outcomes


def photograph(tmp_path: Path, content: bytes = IMAGE) -> Path:
    path = tmp_path / "photograph.png"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name",
    ["~a.png", ".a.png", "done/a.png", "failed/b/a.png", "@eaDir/a.png", "b/.hidden/a.png", "b.jpg/a.png"],
)
def test_an_image_is_not_laid_where_no_run_looks(tmp_path: Path, name: str) -> None:
    [error] = written(tmp_path, AnnotatedImage(name, photograph(tmp_path), (BOX,)))

    assert str(error) == f"{name}: lies where no run looks, by its name or a folder's: rename that"
    assert not (tmp_path / "in").exists()


def test_a_prompt_outside_its_image_costs_only_itself(tmp_path: Path) -> None:
    point = Prompt(points=(Point(1, 1, 1), Point(1, 24, 1)))
    image = AnnotatedImage("a.png", photograph(tmp_path), (BOX, OUTSIDE, point), "c.json", ("x", "y", "z"))

    outcomes = written(tmp_path, image)

    assert [str(outcome) for outcome in outcomes[:-1]] == [
        "c.json: y: box: lies outside the image of 32x24 pixels",
        "c.json: z: points[1]: (1, 24) lies outside the image of 32x24 pixels",
    ]
    assert outcomes[-1] == Imported("a.png", 1)


def test_a_prompt_that_a_run_would_refuse_costs_only_itself(tmp_path: Path) -> None:
    many = Prompt(points=(Point(1, 1, 1),) * 11)
    image = AnnotatedImage("a.png", photograph(tmp_path), (many, Prompt(box=BOX.box, label="\ud800"), BOX))

    *errors, last = written(tmp_path, image, limits=LimitSettings(max_points_per_prompt=10))

    assert [str(error).split(": ")[:2] for error in errors] == [
        ["a.png", "prompts[0]"],
        ["a.png", "prompts[1]"],
    ]
    assert last == Imported("a.png", 1)


def test_an_image_without_a_valid_prompt_gets_no_pair(tmp_path: Path) -> None:
    path = photograph(tmp_path)

    outcomes = written(tmp_path, AnnotatedImage("a.png", path, (OUTSIDE,)), AnnotatedImage("b.png", path, ()))

    assert outcomes[1:] == [Imported("a.png", 0), Imported("b.png", 0)]
    assert not (tmp_path / "in").exists()


def test_an_image_of_another_size_than_the_data_set_states_is_passed_over(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    content = io.BytesIO()
    Image.fromarray(image_of()).save(content, "PNG", exif=turned)
    path = photograph(tmp_path, content.getvalue())
    stored, upright = (AnnotatedImage("a.png", path, (BOX,), size=size) for size in ((24, 32), (32, 24)))

    [error] = written(tmp_path, stored)

    assert str(error) == (
        "a.png: has 24x32 pixels, and 32x24 according to the data set; with --exif ignore it has that size"
    )
    assert written(tmp_path, upright) == [Imported("a.png", 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGE[:-12], "a.png: is truncated, or damaged: it has no IEND chunk"),
        (b"no image", "a.png: is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)"),
    ],
)
def test_an_image_that_a_run_would_refuse_is_passed_over(
    tmp_path: Path, content: bytes, message: str
) -> None:
    [error] = written(tmp_path, AnnotatedImage("a.png", photograph(tmp_path, content), (BOX,)))

    assert str(error) == message


CONTENTS = {
    "good.png": IMAGE,
    "good.jpg": encoded(image_of(40, 20), "JPEG"),
    "turned.jpg": turned_image(),
    "cut.png": IMAGE[:-12],
    "text.png": b"no image",
}
NAMES = (
    *("a.png", "a.jpg", "A.PNG", "b/a.png", "b\\a.png", "./a.png", "done/a.png", "b/done/a.png", "~a.png"),
    *(
        "a.json.png",
        "a.prompt",
        "é.png",
        "a\n.png",
        "x" * 251 + ".png",
        "b.png/a.png",
        "../a.png",
        "/a.png",
        "",
    ),
)
PLACES = st.floats(-20, 60, allow_nan=False)
BOXES = st.builds(
    lambda x, y, width, height: Box(x, y, x + width, y + height),
    *(PLACES, PLACES),
    *(st.floats(0.1, 30), st.floats(0.1, 30)),
)
PROMPTS = st.builds(
    Prompt,
    points=st.lists(st.builds(Point, PLACES, PLACES, st.just(1)), max_size=3).map(tuple),
    box=BOXES,
    label=st.text(min_size=1, max_size=3),
    id=st.none() | st.text(max_size=3),
)
IMAGES = st.builds(
    AnnotatedImage,
    name=st.sampled_from(NAMES),
    path=st.sampled_from(sorted(CONTENTS)).map(Path),
    prompts=st.lists(PROMPTS, max_size=4).map(tuple),
    size=st.none() | st.sampled_from([(24, 32), (32, 24), (40, 20)]),
)


@settings(deadline=None, max_examples=60)
@given(
    images=st.lists(IMAGES, max_size=4),
    limits=st.builds(LimitSettings, max_prompts=st.integers(1, 4), max_points=st.integers(1, 6)),
    exif=st.sampled_from(["apply", "ignore"]),
)
def test_no_pair_is_written_that_the_check_refuses(
    images: list[AnnotatedImage], limits: LimitSettings, exif: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in CONTENTS.items():
            Path(folder, name).write_bytes(content)
        placed = [replace(image, path=Path(folder, image.path)) for image in images]

        outcomes = written(Path(folder), *placed, limits=limits, exif=exif)

    # Each image is imported, or named, and so is each prompt that a pair lacks.
    errors = sum(isinstance(outcome, JobError) for outcome in outcomes)
    in_pairs = sum(outcome.prompts for outcome in outcomes if isinstance(outcome, Imported))
    assert len(outcomes) >= len(images)
    assert errors + in_pairs >= sum(len(image.prompts) > 0 for image in images)


@pytest.mark.parametrize("there", ["a.jpg", "a.JSON", "a.prompt", "a.png"])
def test_a_pair_is_not_made_beside_a_file_of_its_stem(tmp_path: Path, there: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / there).write_text("mine")

    [error] = write_pairs(
        [AnnotatedImage("a.png", photograph(tmp_path), (BOX,))],
        tmp_path / "in",
        DecodingOptions(),
        copies=True,
    )

    assert f"{tmp_path / 'in' / there} is there already" in str(error)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [there]


def test_a_name_that_the_input_cannot_have_costs_only_itself(tmp_path: Path) -> None:
    path = photograph(tmp_path)
    target = tmp_path / ("d" * 200) / "in"
    target.mkdir(parents=True)
    (target / "file").write_text("")
    names = [
        "a" * 251 + ".png",
        ("b" * 200 + "/") * 19 + "a.png",
        "c/" * 1900 + "a.png",
        "file/a.png",
        "a.png",
    ]
    images = [AnnotatedImage(name, path, (BOX,)) for name in names]

    *errors, last = write_pairs(images, target, DecodingOptions(), copies=True)

    assert [str(error).rpartition("a.png: ")[2] for error in errors[:3]] == [
        "has a name too long for that of its prompt file: shorten it",
        "cannot be written: File name too long",
        "must be a path that a file can have: it is too long, or has a NUL",
    ]
    assert "file is there already" in str(errors[3])
    assert last == Imported("a.png", 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"label": "é"}', encoding)

    assert json_of(tmp_path / "a.json") == {"label": "é"}


def test_json_of_python_may_have_values_that_json_has_not(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", {}, {"area": "NAN"})
    source.write_text(source.read_text().replace('"NAN"', "NaN"))
    assert imported("coco", source) == ["a.png"]

    source = coco(tmp_path / "b" / "set", {}, {"bbox": [1, 1, "NAN", 2]})
    source.write_text(source.read_text().replace('"NAN"', "1" * 400))
    assert imported("coco", source)[0].startswith(f"{source}: annotations[0]: ")


def test_a_path_written_on_windows_is_one_with_folders(tmp_path: Path) -> None:
    assert image_name("images\\sub\\a.jpg") == "images/sub/a.jpg"
    for outside in ("C:\\a.jpg", "c:/a.jpg", "..\\a.jpg", "\\\\server\\a.jpg"):
        with pytest.raises(ValueError, match="must be a path below the folder of the images"):
            image_name(outside)


@pytest.mark.parametrize(("stated", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_image_is_found_whose_accents_are_other_characters(
    tmp_path: Path, stated: Any, on_disk: Any
) -> None:
    (tmp_path / unicodedata.normalize(on_disk, "Käse.png")).write_bytes(IMAGE)
    name = unicodedata.normalize(stated, "Käse.png")

    assert written(tmp_path, AnnotatedImage(name, tmp_path / name, (BOX,))) == [Imported(name, 1)]


def test_a_source_without_any_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match=r"no \.json file in "):
        imported("labelme", tmp_path)


def test_folders_that_are_not_looked_into_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        "set/a.json",
        "set/closed/b.json",
        "set/.hidden/c.json",
        "other/d.json",
        "photographs/e.jpg",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "set" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "set" / "images").symlink_to(tmp_path / "photographs")
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)

    assert [str(found) for found in files_of(tmp_path / "set", ".json")] == [
        f"{tmp_path}/set/other: is a link to a folder, which is not followed",
        f"{tmp_path}/set/closed: cannot be read: Permission denied",
        f"{tmp_path}/set/a.json",
    ]


def test_files_are_found_whatever_the_case_of_their_extension(tmp_path: Path) -> None:
    (tmp_path / "A.JSON").write_text("")

    assert list(files_of(tmp_path, ".json")) == [tmp_path / "A.JSON"]
