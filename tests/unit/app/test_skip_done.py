"""Which results count as done before."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sampoll.app.skip_done import FORMATS, DoneIndex
from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import Mask, ModelInfo, Segmentation
from sampoll.formats.opex import Opex
from sampoll.formats.options import FormatOptions
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.usable_prompts import usable_prompts
from sampoll.transports.memory import submission

IN_INT8 = ModelInfo("vit_b", "cpu", "ab" * 32, "int8", "openvino", "cd" * 32)


@pytest.mark.parametrize(
    ("model", "is_done"),
    [
        (IN_INT8, True),
        (replace(IN_INT8, device="cuda"), True),
        (replace(IN_INT8, encoder_sha256="ef" * 32), False),
        (replace(IN_INT8, checkpoint_sha256="ef" * 32), False),
        (replace(IN_INT8, precision="bf16"), False),
        (replace(IN_INT8, detector="owlv2", detector_sha256="ef" * 32), False),
    ],
)
def test_a_result_of_another_encoder_is_not_done(tmp_path: Path, model: ModelInfo, is_done: bool) -> None:
    asked = submission("a", b"image", b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}')
    settings = {FORMATS: ["png"]}
    made = Segmentation(
        job_id="id",
        name="a",
        prompts=(Prompt(box=Box(1, 1, 5, 5)),),
        masks=((Mask.from_array(np.ones((8, 8), np.bool_), 0.5),),),
        model=IN_INT8,
        size=(8, 8),
        image_sha256=asked.image_sha256,
        seconds={},
    )
    [record] = Opex(FormatOptions(settings=settings)).render(made, [])

    found = DoneIndex(tmp_path, settings, DecodingOptions(), model).find(asked, record.content, "a")

    assert (found is not None) == is_done


FAR = {"points": [{"x": 9, "y": 1, "label": 1}], "id": "far"}
BOX = {"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}
SKIP = DecodingOptions(on_bad_prompt="skip")


@pytest.mark.parametrize(
    ("prompts", "options", "is_done"),
    [
        ([FAR, BOX], SKIP, True),
        ([FAR, BOX], DecodingOptions(), False),  # a run reports the error
        ([BOX, BOX], SKIP, False),  # corrected
        ([{**FAR, "id": "other"}, BOX], SKIP, False),
        ([{**FAR, "points": [{"x": 8, "y": 1, "label": 1}]}, BOX], SKIP, False),  # bad for another reason
        ([FAR], SKIP, False),
        ([BOX], SKIP, False),
        ([BOX, FAR], SKIP, False),
        ([FAR, BOX, FAR], SKIP, False),
    ],
)
def test_a_result_with_skipped_prompts_is_done_while_the_same_ones_would_be_skipped(
    tmp_path: Path, prompts: list[object], options: DecodingOptions, is_done: bool
) -> None:
    settings = {FORMATS: ["png"]}
    asked = submission("a", b"image", json.dumps({"prompts": prompts}).encode())
    usable = usable_prompts(json.dumps({"prompts": [FAR, BOX]}).encode(), "a.json", SKIP).inside((8, 8))
    made = Segmentation(
        job_id="id",
        name="a",
        prompts=usable.prompts,
        masks=((Mask.from_array(np.ones((8, 8), np.bool_), 0.5),),),
        model=IN_INT8,
        size=(8, 8),
        image_sha256=asked.image_sha256,
        seconds={},
        skipped=usable.skipped,
    )
    [record] = Opex(FormatOptions(settings=settings)).render(made, [])

    found = DoneIndex(tmp_path, settings, options, IN_INT8).find(asked, record.content, "a")

    assert (found is not None) == is_done
    assert found is None or found.skipped == usable.skipped
