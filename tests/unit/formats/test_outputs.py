import hashlib
import io
import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from opex import ObjectPredictions
from PIL import Image
from pycocotools import mask as coco

from sampoll.core.jobs import Box, Point, Prompt, SkippedPrompt
from sampoll.core.results import Artifact, Mask, ModelInfo, Segmentation
from sampoll.formats import json_document
from sampoll.formats.indexed import build as build_indexed
from sampoll.formats.opex import Opex
from sampoll.formats.opex_reader import labels_of, segmentation_of
from sampoll.formats.options import FormatOptions
from sampoll.formats.png import PngMask

DISK = np.hypot(*np.mgrid[-8:9, -10:11]) < 6


def segmentation(*scores: float, pixels: np.ndarray = DISK, name: str = "cat") -> Segmentation:
    mask = [(Mask.from_array(pixels, score),) for score in scores]
    prompts = tuple(Prompt(box=Box(0, 0, 5, 5), label=f"thing {k}", id=f"p{k}") for k, _ in enumerate(scores))
    size = (pixels.shape[0], pixels.shape[1])
    return Segmentation(
        "job1",
        name,
        prompts,
        tuple(mask),
        ModelInfo("vit_b", "cuda:0", "ab" * 32),
        size,
        "cd" * 32,
        {"embedding": 0.5},
    )


def opex_of(job: Segmentation, *earlier: Artifact) -> ObjectPredictions:
    [artifact] = Opex().render(job, earlier)
    return ObjectPredictions.from_json_string(artifact.content.decode())


def test_a_png_is_one_bit_grayscale_of_the_images_size_as_another_library_reads_it() -> None:
    [artifact] = PngMask().render(segmentation(0.5), [])

    with Image.open(io.BytesIO(artifact.content)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "1", (21, 17))
        assert np.array_equal(np.asarray(image), DISK)
    assert artifact.content[24:26] == b"\x01\x00"  # bit depth 1, grayscale


def test_a_record_of_very_many_outlines_is_not_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    [few] = Opex().render(segmentation(0.5, 0.6), [])
    monkeypatch.setattr(json_document, "MAX_INDENTED", 1)
    [many] = Opex().render(segmentation(0.5, 0.6), [])

    assert b"\n  " in few.content
    assert b"\n" not in many.content
    assert json.loads(many.content)["objects"] == json.loads(few.content)["objects"]


def test_one_mask_is_name_png_and_several_are_numbered() -> None:
    assert PngMask().suffixes(segmentation(0.5)) == [".png"]
    assert PngMask().suffixes(segmentation(0.5, 0.6, 0.7)) == [".0.png", ".1.png", ".2.png"]


def test_more_than_255_masks_need_16_bits_in_a_label_image() -> None:
    pixels = [np.arange(300 * 2).reshape(300, 2) // 2 == number for number in range(300)]
    job = segmentation(*[0.5] * 300)
    masks = tuple((Mask.from_array(mask, 0.5),) for mask in pixels)

    [artifact] = build_indexed(FormatOptions()).render(replace(job, masks=masks, size=(300, 2)), [])

    with Image.open(io.BytesIO(artifact.content)) as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image)[:, 0], np.arange(1, 301))


def test_of_overlapping_masks_the_smaller_is_on_top_in_any_order() -> None:
    small, large = np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)
    small[1, 1] = True
    job = segmentation(0.5, 0.5, pixels=large)
    masks = ((Mask.from_array(small, 0.5),), (Mask.from_array(large, 0.5),))

    [artifact] = build_indexed(FormatOptions()).render(replace(job, masks=masks), [])

    with Image.open(io.BytesIO(artifact.content)) as image:
        assert np.array_equal(np.asarray(image), np.where(small, 1, 2))


def test_an_object_has_score_label_box_and_polygon() -> None:
    predictions = opex_of(segmentation(0.75))

    [found] = predictions.objects
    assert predictions.id == "cat"
    assert (found.score, found.label) == (0.75, "thing 0")
    assert (found.bbox.left, found.bbox.top, found.bbox.right, found.bbox.bottom) == (5, 3, 15, 13)
    assert found.meta == {"prompt": "0", "prompt_id": "p0", "mask": "0"}


def test_a_negative_score_is_zero_and_kept_as_text() -> None:
    [found] = opex_of(segmentation(-0.01)).objects

    assert found.score == 0.0
    assert found.meta["raw_score"] == "-0.01"


def test_an_empty_mask_gives_no_object() -> None:
    assert opex_of(segmentation(0.0, pixels=np.zeros((4, 4), np.bool_))).objects == []


def test_the_timestamp_always_has_microseconds() -> None:
    timestamp = opex_of(segmentation(0.5)).timestamp

    assert datetime.strptime(timestamp, "%Y-%m-%d %H:%M:%S.%f")
    assert len(timestamp.partition(".")[2]) == 6


def test_meta_is_all_strings_and_names_the_source_of_a_mask() -> None:
    masks = [Artifact(".0.png", b"one"), Artifact(".1.png", b"two")]

    meta = opex_of(segmentation(0.5, 0.6), *masks).meta

    assert all(isinstance(value, str) for value in meta.values())
    assert (meta["job_id"], meta["model"], meta["device"]) == ("job1", "vit_b", "cuda:0")
    assert (meta["checkpoint_sha256"], meta["image_sha256"]) == ("ab" * 32, "cd" * 32)
    assert meta["sampoll"]
    assert json.loads(meta["files"]) == {
        "cat.0.png": hashlib.sha256(b"one").hexdigest(),
        "cat.1.png": hashlib.sha256(b"two").hexdigest(),
    }
    assert json.loads(meta["image_size"]) == {"width": 21, "height": 17}
    assert json.loads(meta["seconds"]) == {"embedding": 0.5}
    assert [prompt["id"] for prompt in json.loads(meta["prompts"])] == ["p0", "p1"]


def test_each_mask_is_in_the_meta_exactly_with_holes_and_detached_parts() -> None:
    pixels = DISK.copy()
    pixels[8, 10] = pixels[8, 12] = False
    pixels[0, 0] = True

    meta = opex_of(segmentation(0.5, 0.6, pixels=pixels)).meta

    for [rle] in json.loads(meta["rle"]):
        assert np.array_equal(coco.decode(rle).view(np.bool_), pixels)


def test_outlines_are_simplified_and_boxes_and_rle_stay_exact() -> None:
    [artifact] = Opex(FormatOptions(simplify_pixels=3)).render(segmentation(0.5), [])
    simple = ObjectPredictions.from_json_string(artifact.content.decode())
    exact = opex_of(segmentation(0.5))

    assert 3 <= len(simple.objects[0].polygon.points) < len(exact.objects[0].polygon.points)
    assert simple.objects[0].bbox.to_dict() == exact.objects[0].bbox.to_dict()
    assert simple.meta["rle"] == exact.meta["rle"]


def test_the_settings_that_masks_depend_on_are_in_the_meta() -> None:
    [artifact] = Opex(FormatOptions(settings={"fill-holes": 9})).render(segmentation(0.5), [])

    assert json.loads(json.loads(artifact.content)["meta"]["settings"]) == {"fill-holes": 9}


def test_points_are_in_the_meta_unchanged() -> None:
    job = segmentation(0.5)
    prompt = Prompt(points=(Point(1.5, 2, 1),))
    job = Segmentation(
        job.job_id, job.name, (prompt,), job.masks, job.model, job.size, job.image_sha256, job.seconds
    )

    assert json.loads(opex_of(job).meta["prompts"]) == [{"points": [{"x": 1.5, "y": 2.0, "label": 1}]}]


def with_a_skipped_prompt() -> Segmentation:
    """The first of three prompts is skipped."""
    made = segmentation(0.5, 0.25)
    return replace(made, skipped=(SkippedPrompt(0, "bad", "prompts[0]", "cat.json: prompts[0]: is bad"),))


def test_a_skipped_prompt_leaves_the_numbers_of_all_others_as_they_are() -> None:
    made = with_a_skipped_prompt()

    assert PngMask().suffixes(made) == [".1.png", ".2.png"]
    assert [o.meta["prompt"] for o in opex_of(made).objects] == ["1", "2"]
    [indexed] = build_indexed(FormatOptions()).render(made, [])
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(indexed.content))))) <= {0, 2, 3}


def test_a_result_with_skipped_prompts_comes_back_from_its_record() -> None:
    made = with_a_skipped_prompt()
    [record] = Opex().render(made, [])

    read = segmentation_of(record.content, "cat")

    assert (read.prompts, read.skipped, read.indexes) == (made.prompts, made.skipped, (1, 2))
    assert [len(masks) for masks in read.masks] == [1, 1]
    assert labels_of(record.content) == {"thing 0", "thing 1"}


def test_a_record_whose_skipped_prompts_are_not_those_that_are_missing_is_refused() -> None:
    [record] = Opex().render(with_a_skipped_prompt(), [])
    document = json.loads(record.content)
    document["meta"]["skipped"] = "[]"

    with pytest.raises(ValueError, match="its prompts and its skipped prompts do not fit"):
        segmentation_of(json.dumps(document).encode(), "cat")


def test_a_name_that_is_no_unicode_is_escaped() -> None:
    assert opex_of(segmentation(0.5, name="caf\udce9")).id == r"caf\xe9"


def test_what_a_record_says_about_its_model_comes_back_from_it() -> None:
    model = ModelInfo("vit_b", "cpu", "ab" * 32, "int8", "openvino", "ef" * 32)
    made = replace(segmentation(0.5), model=model, exif="ignore")
    [record] = Opex().render(made, [])

    read = segmentation_of(record.content, "cat")

    assert (read.model, read.exif) == (model, "ignore")
