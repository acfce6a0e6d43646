"""The Python API: results, many images, and models that threads share."""

import copy
import gc
import io
import json
import os
import pickle
import re
import weakref
from collections import UserDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from support import fakes
from support.images import encoded, image_of, read_mask
from support.segmenters import KeptBoxes

import sampoll
from sampoll.core.errors import JobError, Stopped, UsageError
from sampoll.inputs.photograph import photograph

BOX = (4, 4, 20, 16)


@pytest.fixture(scope="module")
def model() -> Iterator[sampoll.Model]:
    with sampoll.load("support.fakes:words") as model:
        yield model


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> KeptBoxes:
    """The one that `support.fakes:kept` loads."""
    segmenter = KeptBoxes()
    monkeypatch.setattr(fakes, "kept", lambda _: segmenter)
    return segmenter


# Results


def test_each_mask_has_a_prompt_a_label_a_score_and_a_box(model: sampoll.Model) -> None:
    prompts: list[dict[str, Any]] = [
        {"box": BOX, "label": "cat"},
        {"text": "two words"},
        {"text": "nothing"},
        {"box": (1, 2, 3, 5)},
    ]

    result = model.segment(image_of(24, 33), prompts=prompts)

    assert len(result) == 4
    assert result.prompt_indexes.tolist() == [0, 1, 1, 3]
    assert result.labels == ["cat", "two words", "two words", "object"]
    assert result.scores.tolist() == [0.5, 0.9, 0.8, 0.5]
    assert result.boxes.tolist() == [[4, 4, 20, 16], [0, 0, 33, 1], [0, 1, 33, 2], [1, 2, 3, 5]]
    assert [prompt.label for prompt in result.prompts] == ["cat", "two words", "nothing", "object"]
    assert result.size == (24, 33)
    assert repr(result) == "<Result 'image': 4 masks of 33x24 pixels, boxes>"


def test_masks_have_one_form_for_each_use(model: sampoll.Model) -> None:
    result = model.segment(image_of(24, 33), prompts=[{"box": BOX}, {"box": (0, 0, 33, 24)}])

    masks = result.masks
    assert masks.shape == (2, 24, 33)
    assert masks.dtype == np.bool_
    assert masks[0].sum() == masks[0][4:16, 4:20].sum() == 16 * 12
    assert np.array_equal(result.mask(1), masks[1])
    assert np.array_equal(result.packed, np.packbits(masks, axis=2))
    assert np.array_equal(coco.decode(result.rle[0]), masks[0])
    [outline] = result.polygons[0]
    assert outline.tolist() == [[4, 4], [4, 15], [19, 15], [19, 4]]


def test_arguments_are_values_of_sampoll_or_arrays_too(model: sampoll.Model) -> None:
    boxes = [
        model.segment(image_of(), box=box).boxes.tolist()
        for box in (BOX, np.array(BOX), sampoll.Box(*BOX), {"x0": 4, "y0": 4, "x1": 20, "y1": 16})
    ]
    points = [
        model.segment(image_of(), points=np.array([[9, 9]]), point_labels=np.array([1]), box=BOX).prompts,
        model.segment(image_of(), points=[sampoll.Point(9, 9, 1)], box=BOX).prompts,
        model.segment(image_of(), points=[{"x": 9, "y": 9, "label": 1}], box=BOX).prompts,
    ]

    assert boxes == [[list(BOX)]] * 4
    assert points == points[:1] * 3
    assert len(model.segment(image_of(), everything=sampoll.Everything(2))) == 4


def test_a_result_without_masks_has_empty_arrays(model: sampoll.Model) -> None:
    result = model.segment(image_of(24, 33), text="nothing")

    assert [each.shape for each in (result.masks, result.packed, result.boxes, result.scores)] == [
        (0, 24, 33),
        (0, 24, 5),
        (0, 4),
        (0,),
    ]
    assert (result.labels, result.polygons, result.rle) == ([], [], [])


def test_masks_of_prompts_after_a_skipped_one_keep_their_indexes() -> None:
    with sampoll.load("support.fakes:boxes", on_bad_prompt="skip") as model:
        result = model.segment(image_of(), prompts=[{"points": [(999, 1)]}, {"box": BOX}])

    assert result.prompt_indexes.tolist() == [1]
    assert [each.message for each in result.skipped] == [
        "prompts[0].points[0]: (999, 1) lies outside the image of 32x24 pixels"
    ]


def test_the_settings_of_a_run_apply() -> None:
    with sampoll.load("support.fakes:boxes", min_object_size=13) as model:
        assert model.segment(image_of(), box=BOX).masks.sum() == 0


def test_an_image_without_a_prompt_has_the_one_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "box.json").write_text(json.dumps({"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}))

    with sampoll.load("support.fakes:words", default_prompt="text:two words") as model:
        assert model.segment(image_of()).labels == ["two words"] * 2
        assert model.segment(image_of(), box=BOX).labels == ["object"]
        [result] = model.segment_many([{"image": image_of()}])
        assert isinstance(result, sampoll.Result)
        assert len(result) == 2
    with sampoll.load("support.fakes:boxes", prompt=tmp_path / "box.json") as model:
        assert model.segment(image_of()).boxes.tolist() == [list(BOX)]
    with pytest.raises(sampoll.SampollError, match=r"^prompt .*none\.json cannot be read"):
        sampoll.load("support.fakes:boxes", prompt=tmp_path / "none.json")


def test_all_forms_of_an_image_give_the_same_masks_and_embeddings(tmp_path: Path) -> None:
    pixels = image_of()
    path = tmp_path / "a.png"
    path.write_bytes(encoded(pixels))

    with sampoll.load("grabcut") as model:
        masks = [
            model.segment(image, box=BOX).masks
            for image in (pixels, path, str(path), path.read_bytes(), Image.fromarray(pixels))
        ]

    assert all(np.array_equal(each, masks[0]) for each in masks)


def test_a_picture_is_the_image_with_its_masks(model: sampoll.Model) -> None:
    given = photograph()

    result = model.segment(given.content, box=BOX)

    assert result.overlay().size == (600, 400)
    with Image.open(io.BytesIO(result._repr_png_())) as picture:
        assert (picture.format, picture.size) == ("PNG", (600, 400))
    red, green, blue = np.asarray(result.overlay())[10, 10].tolist()  # inside the mask
    assert blue > max(red, green)


def test_a_result_of_a_path_keeps_no_image_and_reads_it_again(model: sampoll.Model, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image_of()))
    result = model.segment(path, box=BOX)
    picture = model.segment(image_of(), box=BOX).overlay()

    assert (result.segmentation.image, result.segmentation.pixels) == (b"", None)
    assert np.array_equal(np.asarray(result.overlay()), np.asarray(picture))
    path.write_bytes(encoded(image_of(seed=1)))
    with pytest.raises(sampoll.BadImage, match=r"a\.png: has another content than it had"):
        result.overlay()
    with pytest.raises(sampoll.BadImage, match=r"a\.png: has another content than it had"):
        result.save(tmp_path, formats="overlay")
    assert len(result.save(tmp_path)) == 2


def test_a_result_without_its_image_has_its_masks(model: sampoll.Model) -> None:
    result = model.segment(image_of(), box=BOX)

    alone = result.without_image()

    assert alone.segmentation.pixels is None
    assert np.array_equal(alone.masks, result.masks)
    assert alone.overlay().size == (32, 24)


# Files


def test_save_writes_masks_and_the_record_and_returns_their_paths(
    model: sampoll.Model, tmp_path: Path
) -> None:
    result = model.segment(image_of(), box=BOX)

    written = result.save(tmp_path / "new" / "folder")

    assert [path.name for path in written] == ["image.png", "image.json"]
    assert np.array_equal(read_mask(written[0]), result.masks[0])
    record = json.loads(written[1].read_text())
    assert (record["id"], record["meta"]["image_file"]) == ("image", "")


def test_save_writes_the_formats_that_are_asked_for_under_any_name(
    model: sampoll.Model, tmp_path: Path
) -> None:
    result = model.segment(image_of(), box=BOX)

    listed = result.save(tmp_path, formats=["png8", "overlay"], name="sub/cat")
    text = result.save(tmp_path, formats="labelme,png")

    assert [str(path.relative_to(tmp_path)) for path in listed] == [
        "png8/sub/cat.png",
        "overlay/sub/cat.jpg",
        "sub/cat.json",
    ]
    assert [str(path.relative_to(tmp_path)) for path in text] == [
        "labelme/image.json",
        "image.png",
        "image.json",
    ]
    assert json.loads(listed[-1].read_text())["meta"]["files"].count("sub/cat") == 2


def test_a_result_of_another_name_tells_where_its_image_is(model: sampoll.Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(image_of()))

    result = model.segment(tmp_path / "a.png", box=BOX, name="b")

    for written in (result.save(tmp_path), result.save(tmp_path, name="c")):
        assert json.loads(written[-1].read_text())["meta"]["image_path"] == "a.png"


@pytest.mark.parametrize("name", ["", "/etc/cat", "../cat", "a/../../cat", "a\0b", "..\\cat", "C:cat"])
def test_a_name_leads_nowhere_else(model: sampoll.Model, name: str, tmp_path: Path) -> None:
    result = model.segment(image_of(), box=BOX)

    with pytest.raises(UsageError, match="name must be a relative path"):
        result.save(tmp_path, name=name)
    with pytest.raises(UsageError, match="name must be a relative path"):
        model.segment(image_of(), box=BOX, name=name)


def test_a_name_must_be_text(model: sampoll.Model) -> None:
    for no_name, message in ((Path("a"), "and is PosixPath"), ("\ud800", "in UTF-8")):
        name: Any = no_name
        with pytest.raises(UsageError, match=f"^name must be text,? {message}"):
            model.segment(image_of(), box=BOX, name=name)


def test_a_result_is_saved_on_another_drive_than_its_image(
    model: sampoll.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_way(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    (tmp_path / "a.png").write_bytes(encoded(image_of()))
    result = model.segment(tmp_path / "a.png", box=BOX)
    monkeypatch.setattr("sampoll.app.assembly.os.path.relpath", no_way)

    [labels, _] = result.save(tmp_path / "out", formats="labelme")

    assert json.loads(labels.read_text())["imagePath"] == "a.png"


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ("pgn", "no 'pgn' among formats .*; did you mean png"),
        (["coco"], "formats of data sets are made of many results"),
        ([3], "formats must be names, such as png, and one is int"),
        (5, "formats must be names, such as png, and one is int"),
    ],
)
def test_formats_that_cannot_be_written_are_refused(
    model: sampoll.Model, formats: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        model.segment(image_of(), box=BOX).save(tmp_path, formats=formats)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        (5, "must be a path, and is int"),
        ("", "must not be empty"),
        ("a\0", "must not contain the character NUL"),
        ("\ud800", "must be text in UTF-8"),
    ],
)
def test_a_directory_that_no_system_can_have_is_refused(
    model: sampoll.Model, directory: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=f"^directory {message}"):
        model.segment(image_of(), box=BOX).save(directory)


# Many images


def test_results_of_many_come_in_order_and_errors_are_values(model: sampoll.Model) -> None:
    items: list[Any] = [
        {"image": image_of(20, 30), "box": BOX, "name": "first"},
        {"image": image_of(), "points": [(999, 1)]},
        {"image": b"no image", "box": BOX},
        {"image": image_of(), "boxx": BOX},
        {"box": BOX},
        5,
        {"image": image_of(22, 30), "box": BOX, "label": None},
    ]

    first, outside, damaged, misspelled, without, number, last = model.segment_many(items)

    assert isinstance(first, sampoll.Result)
    assert isinstance(last, sampoll.Result)
    assert (first.name, first.size, last.size) == ("first", (20, 30), (22, 30))
    assert isinstance(outside, sampoll.BadPrompt)
    assert isinstance(damaged, sampoll.BadImage)
    assert [str(each) for each in (misspelled, without, number)] == [
        "boxx is no argument of segment; did you mean box?",
        "an item must have an image",
        "an item must be a mapping of arguments, and is int",
    ]


class Broken(UserDict[str, Any]):
    """A mapping that cannot be read."""

    def __iter__(self) -> Any:
        raise RuntimeError("it is broken")


class NoPath:
    """A path object without a path."""

    def __fspath__(self) -> str:
        raise RuntimeError("it is broken")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Broken(), "an item cannot be read: RuntimeError: it is broken"),
        ({5: 1, "image": 1}, "5 is no argument of segment"),
        ({"image": NoPath(), "box": BOX}, "image: must be a path, and is NoPath"),
        ({"image": "\ud800.png", "box": BOX}, "image: must be text in UTF-8"),
        ({"image": image_of(), "box": BOX, "name": "\ud800"}, "name must be text in UTF-8"),
        ({"image": Image.new("RGB", (0, 5)), "box": BOX}, "image: must have pixels, and is 0x5"),
        (
            {"image": image_of(), "prompts": [{"box": Broken()}]},
            "prompts[0].box: cannot be read: RuntimeError: it is broken",
        ),
        (
            {"image": image_of(), "box": BOX, "label": b"cat"},
            "label: must be text, a number, a list or a mapping, and is bytes",
        ),
        (
            {"image": image_of(), "points": [(1, 2)] * 10_001},
            "points: has 10001 points, at most 1000 are allowed in a prompt (max_points_per_prompt)",
        ),
    ],
)
def test_whatever_is_wrong_with_an_item_is_its_result(model: sampoll.Model, item: Any, message: str) -> None:
    good = {"image": image_of(), "box": BOX}

    before, refused, after = model.segment_many([good, item, good])

    assert isinstance(before, sampoll.Result)
    assert isinstance(after, sampoll.Result)
    assert str(refused) == message
    assert isinstance(refused, sampoll.SampollError)
    if isinstance(item, dict) and 5 not in item:
        with pytest.raises(type(refused), match=re.escape(message)):
            model.segment(**item)


@pytest.mark.parametrize("items", [5, None, "a.png", {"image": image_of()}])
def test_what_is_no_list_of_items_is_refused_at_once(model: sampoll.Model, items: Any) -> None:
    with pytest.raises(UsageError, match="items must be an iterable of mappings"):
        model.segment_many(items)


def test_errors_of_items_keep_no_images_alive(model: sampoll.Model) -> None:
    image = image_of()
    alive = weakref.ref(image)

    [outside, no_text] = model.segment_many(
        [{"image": image, "points": [(999, 1)]}, {"image": image, "box": BOX, "label": b""}]
    )
    del image
    gc.collect()

    assert isinstance(outside, Exception)
    assert isinstance(no_text, Exception)
    assert alive() is None


def test_only_so_many_items_are_taken_before_their_results(segmenter: KeptBoxes) -> None:
    taken = 0

    def items() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield {"image": image_of(seed=number), "box": BOX}

    with sampoll.load("support.fakes:kept") as model:
        results = model.segment_many(items())
        next(results)
        assert taken <= 17
        assert len(list(results)) == 99


def test_large_images_are_not_taken_far_ahead(segmenter: KeptBoxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampoll.app.python.model.BYTES_AHEAD", image_of().nbytes)
    taken: list[int] = []

    def items() -> Iterator[dict[str, Any]]:
        for number in range(10):
            taken.append(number)
            yield {"image": image_of(seed=number), "box": BOX}

    with sampoll.load("support.fakes:kept") as model:
        next(model.segment_many(items()))

    assert len(taken) <= 4


def test_one_array_may_hold_one_image_after_the_other() -> None:
    buffer = np.empty((24, 32, 3), np.uint8)

    def items() -> Iterator[dict[str, Any]]:
        for number in range(20):
            buffer[:] = image_of(seed=number)
            yield {"image": buffer, "box": BOX}

    with sampoll.load("support.fakes:boxes") as model:
        results = [each for each in model.segment_many(items()) if isinstance(each, sampoll.Result)]

    assert len(results) == 20
    for number, result in enumerate(results):
        assert result.segmentation.pixels is not None
        assert np.array_equal(result.segmentation.pixels, image_of(seed=number))


def test_an_image_of_many_items_is_embedded_once(segmenter: KeptBoxes) -> None:
    with sampoll.load("support.fakes:kept") as model:
        list(model.segment_many({"image": image_of(), "box": (n, 0, n + 2, 5)} for n in range(20)))

    assert sum(segmenter.batches) == 1


def test_who_takes_no_more_results_cancels_the_others(segmenter: KeptBoxes) -> None:
    with sampoll.load("support.fakes:kept") as model:
        results = model.segment_many({"image": image_of(seed=n), "box": BOX} for n in range(16))
        next(results)
        results.close()

        assert model._service.transport.waiting_count == 0


def test_progress_is_shown_if_it_is_asked_for(
    model: sampoll.Model, capfd: pytest.CaptureFixture[str]
) -> None:
    items: list[dict[str, Any]] = [{"image": image_of(), "box": BOX}, {"image": b"", "box": BOX}]

    list(model.segment_many(items))
    assert capfd.readouterr().err == ""
    list(model.segment_many(items, progress=True))

    shown = capfd.readouterr().err
    assert "2/2" in shown
    assert "1 failed" in shown


# Models


def test_a_model_says_what_it_is(model: sampoll.Model) -> None:
    assert repr(model) == "<Model boxes on cpu>"
    assert model.info.name == "boxes"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_model_is_not_copied(model: sampoll.Model, copied: Any) -> None:
    with pytest.raises(TypeError, match="a Model cannot be copied or pickled: share it between threads, or"):
        copied(model)


def test_a_result_goes_to_another_process(model: sampoll.Model) -> None:
    result = model.segment(image_of(), box=BOX)

    arrived = pickle.loads(pickle.dumps(result))

    assert np.array_equal(arrived.masks, result.masks)
    assert copy.deepcopy(result).labels == result.labels


def test_threads_share_batches_and_embeddings(segmenter: KeptBoxes) -> None:
    with sampoll.load("support.fakes:kept", batch_size=4) as model, ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: model.segment(image_of(seed=n % 3), box=BOX), range(64)))

    assert len(results) == 64
    assert sum(segmenter.batches) == 3


def test_a_bad_prompt_is_raised_and_the_model_goes_on(model: sampoll.Model) -> None:
    with pytest.raises(sampoll.BadPrompt, match=r"^points\[0\]: \(99, 1\) lies outside"):
        model.segment(image_of(), points=[(99, 1)])

    assert len(model.segment(image_of(), box=BOX)) == 1


def test_an_unknown_setting_or_a_bad_value_is_refused() -> None:
    with pytest.raises(UsageError, match="devise is no setting of sampoll; did you mean device"):
        sampoll.load("grabcut", devise="cpu")
    with pytest.raises(UsageError, match="max_pixels: "):
        sampoll.load("grabcut", max_pixels=0)
    with pytest.raises(UsageError, match=r"^no 'pgn' among formats .*; did you mean png"):
        sampoll.load("grabcut", format="pgn")


def test_a_setting_that_is_none_is_left_out() -> None:
    with sampoll.load("support.fakes:boxes", checkpoint=None, device=None) as model:
        assert model.info.device == "cpu"


def test_messages_have_the_names_of_settings_in_python(tmp_path: Path) -> None:
    with pytest.raises(sampoll.ModelUnavailable) as refused:
        sampoll.load(home=tmp_path)
    assert str(refused.value) == (
        "vit_b needs its weights: run `sampoll models pull vit_b`, or add pull=True, or give "
        "checkpoint=FILE; model grabcut needs none"
    )
    with pytest.raises(UsageError, match=r"^pull: Input should be a valid boolean"):
        sampoll.load(pull="maybe")
    with sampoll.load("support.fakes:boxes", on_bad_prompt="skip", max_points_per_prompt=1) as model:
        result = model.segment(image_of(), prompts=[{"box": BOX}, {"points": [(1, 2)] * 2}])
    assert result.skipped[0].message.endswith("in a prompt (max_points_per_prompt)")


def test_a_message_can_be_printed_whatever_the_path(tmp_path: Path) -> None:
    with pytest.raises(sampoll.ModelUnavailable, match=r"no checkpoint at .*\\xff\.pth"):
        sampoll.load(checkpoint=os.fsencode(tmp_path / "a").decode() + "\udcff.pth")


@pytest.mark.parametrize("setting", ["input", "continuous", "log_format", "bind", "redis_url", "http"])
def test_a_setting_that_has_no_effect_in_a_program_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match=f"{setting} has no effect here: leave it out"):
        sampoll.load("grabcut", **{setting: "1"})


def test_a_closed_model_refuses_to_work() -> None:
    model = sampoll.load("support.fakes:boxes")
    item: dict[str, Any] = {"image": image_of(), "box": BOX}
    model.segment(**item)

    model.close()
    model.close()

    for ask in (model.segment, lambda **item: list(model.segment_many([item]))):
        with pytest.raises(Stopped, match=r"the model is closed, .*: load it again"):
            ask(**item)


def test_what_ends_the_model_is_raised_by_every_call() -> None:
    poison = {"image": image_of(fakes.POISON_HEIGHT, 40), "box": BOX}

    with sampoll.load("support.fakes:lost") as model:
        with pytest.raises(sampoll.ModelUnavailable, match="the CUDA device failed"):
            list(model.segment_many([poison]))
        with pytest.raises(sampoll.ModelUnavailable):
            model.segment(image_of(), box=BOX)


def test_an_image_that_the_model_fails_with_is_an_error_of_its_own() -> None:
    with sampoll.load("support.fakes:raising") as model:
        with pytest.raises(JobError, match="the model failed: ArithmeticError: the poison was found"):
            model.segment(image_of(fakes.POISON_HEIGHT, 40), box=BOX)
        assert len(model.segment(image_of(), box=BOX)) == 1


def test_a_model_that_is_forgotten_ends() -> None:
    model = sampoll.load("support.fakes:boxes")
    ended = model._service.ended

    del model
    gc.collect()

    assert ended.result(30) is None


def test_a_forked_process_is_told_to_load_the_model_itself(
    model: sampoll.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.app.in_process.os.getpid", lambda: -1)

    with pytest.raises(sampoll.ModelUnavailable, match="load the model after the fork"):
        model.segment(image_of(), box=BOX)
