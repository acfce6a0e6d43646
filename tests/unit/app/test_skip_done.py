"""Which results count as done before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sampoll.app.skip_done import FORMATS, DoneIndex
from sampoll.config.settings import LimitSettings
from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import Mask, ModelInfo, Segmentation
from sampoll.formats.opex import Opex
from sampoll.formats.options import FormatOptions
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

    found = DoneIndex(tmp_path, settings, LimitSettings(), model).find(asked, record.content, "a")

    assert (found is not None) == is_done
