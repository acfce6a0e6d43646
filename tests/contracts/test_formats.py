"""The contract of every output format."""

import numpy as np
import pytest
from support.images import encoded, image_of

from sampoll.config.plugins import FORMATS, plugins
from sampoll.core.jobs import Box, Prompt
from sampoll.core.names import result_path, result_suffix
from sampoll.core.protocols import Format
from sampoll.core.results import Artifact, Mask, ModelInfo, Segmentation
from sampoll.formats.options import FormatOptions
from sampoll.formats.registry import load_format


def segmentation(*masks: Mask, name: str = "a") -> Segmentation:
    prompts = tuple(Prompt(box=Box(0, 0, 1, 1)) for _ in masks)
    return Segmentation(
        "job",
        name,
        prompts,
        tuple((mask,) for mask in masks),
        ModelInfo("m"),
        (4, 5),
        "0" * 64,
        {"embedding": 1},
        image=encoded(image_of(4, 5)),
    )


MASK = Mask.from_array(np.eye(4, 5, dtype=np.bool_), 0.5)
EMPTY = Mask.from_array(np.zeros((4, 5), np.bool_), 0.0)


@pytest.fixture(params=list(plugins(FORMATS)))
def rendering(request: pytest.FixtureRequest) -> Format:
    return load_format(request.param, FormatOptions(simplify_pixels=0.5, kept_images="../in/done"))


@pytest.mark.parametrize("masks", [(MASK,), (MASK, MASK), (EMPTY,), (EMPTY, MASK)])
def test_the_suffixes_are_known_before_anything_is_rendered(
    rendering: Format, masks: tuple[Mask, ...]
) -> None:
    job = segmentation(*masks)

    rendered = rendering.render(job, [])

    assert [artifact.suffix for artifact in rendered] == list(rendering.suffixes(job))
    assert len(set(rendering.suffixes(job))) == len(rendered)
    assert all(result_suffix(result_path(job.name, a.suffix), job.name) == a.suffix for a in rendered)


def test_what_is_rendered_has_content(rendering: Format) -> None:
    assert all(artifact.content for artifact in rendering.render(segmentation(MASK), []))


def test_a_format_renders_beside_artifacts_of_other_formats(rendering: Format) -> None:
    assert rendering.render(segmentation(MASK), [Artifact(".txt", b"x")])
