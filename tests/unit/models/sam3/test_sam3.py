"""SAM 3 by one pass of its trunk: equal to transformers' two models, with the corrections that make their
masks those of the authors."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.folders import BOX
from support.images import encoded
from support.one_shot import OneShot
from support.small_sam2 import PROMPTS, golden_image
from support.small_sam3 import TRACKER, small_sam3, transformers, write_sam3
from support.tiny import relative_error
from torch import Tensor, nn

from sampoll import run_transport
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import BadPrompt, ModelUnavailable
from sampoll.core.jobs import Everything, Prompt
from sampoll.models.registry import find_factory, with_model_named
from sampoll.models.sam3 import build
from sampoll.models.sam3 import words as words_module
from sampoll.models.sam3.segmenter import Sam3Segmenter
from sampoll.models.shared.prompt_tokens import PADDING, sam2_tokens
from sampoll.transports.memory import submission

TEXT = "a red cat"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_sam3(tmp_path_factory.mktemp("sam3"))


def options_for(directory: Path, **more: Any) -> ModelSettings:
    return ModelSettings(model="sam3", checkpoint=directory, device="cpu", precision="fp32", **more)


@pytest.fixture(scope="module")
def segmenter(directory: Path) -> Sam3Segmenter:
    return build(options_for(directory))


@contextmanager
def authors_norms(trunk: nn.Module) -> Iterator[None]:
    norms = [module for module in trunk.modules() if isinstance(module, nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}
    for norm in norms:
        norm.eps = 1e-5
    yield


@torch.inference_mode()
def theirs(directory: Path, *, is_corrected: bool) -> tuple[Tensor, Tensor]:
    """Scores and low-res logits by transformers' own model and processor, from the image and the words."""
    model = transformers.Sam3Model.from_pretrained(directory).eval()
    processor = transformers.Sam3Processor.from_pretrained(directory)
    inputs = processor(images=golden_image(), text=TEXT, return_tensors="pt")
    asked = {name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")}
    if is_corrected:
        asked |= {"input_boxes": torch.zeros(1, 1, 4), "input_boxes_labels": torch.full((1, 1), -10)}
        with authors_norms(model.vision_encoder.backbone):
            answer = model(**asked)
    else:
        answer = model(**asked)
    return answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid(), answer.pred_masks


@torch.inference_mode()
def ours(segmenter: Sam3Segmenter) -> tuple[Tensor, Tensor]:
    [embedding] = segmenter.embed([golden_image()])
    words = segmenter._words
    return words.candidates(words.seen([embedding.levels[-1]]), TEXT)


def test_words_have_the_scores_and_masks_of_the_corrected_model(
    directory: Path, segmenter: Sam3Segmenter
) -> None:
    scores, logits = ours(segmenter)

    expected_scores, expected_logits = theirs(directory, is_corrected=True)
    assert relative_error(scores, expected_scores) < 1e-5
    assert relative_error(logits, expected_logits) < 1e-5


def test_the_model_as_it_is_has_other_masks(directory: Path, segmenter: Sam3Segmenter) -> None:
    _, logits = ours(segmenter)

    _, uncorrected = theirs(directory, is_corrected=False)
    assert relative_error(logits, uncorrected) > 0.05


def test_without_the_norms_of_the_authors_all_is_a_little_different(
    directory: Path, segmenter: Sam3Segmenter
) -> None:
    trunk: Any = segmenter._encoder
    assert {each.eps for each in trunk.modules() if isinstance(each, nn.LayerNorm)} == {1e-5}
    [embedding] = segmenter.embed([golden_image()])
    with mock.patch("sampoll.models.sam3.segmenter.NORM_EPSILON", 1e-6):
        [other] = build(options_for(directory)).embed([golden_image()])

    assert 1e-7 < relative_error(other.levels[-1], embedding.levels[-1]) < 1e-2


@pytest.mark.parametrize("name", PROMPTS)
@torch.inference_mode()
def test_points_and_boxes_have_the_masks_of_the_tracker(
    directory: Path, segmenter: Sam3Segmenter, name: str
) -> None:
    # Of four levels, it adds the embedding of "no memory" to the coarsest one and then drops that; the
    # authors add it to the third.
    vision = {**TRACKER["vision_config"], "scale_factors": [4.0, 2.0, 1.0]}
    config = transformers.Sam3TrackerConfig(**{**TRACKER, "vision_config": vision})
    model = transformers.Sam3TrackerModel.from_pretrained(directory, config=config).eval()
    places, kinds = sam2_tokens(PROMPTS[name])
    assert kinds[-1] == PADDING  # transformers adds it to points itself
    points = segmenter._rules.places(places[:-1], golden_image().shape[:2])
    image = golden_image()
    pixels = segmenter.preprocessed(image)[None]
    with authors_norms(model.vision_encoder.backbone):
        answer = model(
            pixel_values=pixels,
            input_points=torch.tensor(points, dtype=torch.float32)[None, None],
            input_labels=torch.tensor(kinds[:-1])[None, None],
            multimask_output=True,
        )

    [embedding] = segmenter.embed([image])
    logits, scores, _ = segmenter.candidates(embedding, PROMPTS[name])

    assert relative_error(logits, answer.pred_masks[0, 0]) < 1e-5
    assert torch.allclose(scores, answer.iou_scores[0, 0], atol=1e-5)


def test_one_pass_of_the_trunk_serves_words_and_points(segmenter: Sam3Segmenter) -> None:
    trunk: Any = segmenter._encoder
    prompts = (
        PROMPTS["box"],
        Prompt(text=TEXT, score_thresh=0),
        Prompt(everything=Everything(points_per_side=2)),
    )

    with mock.patch.object(trunk.trunk, "forward", side_effect=trunk.trunk.forward) as run:
        [embedding] = segmenter.embed([golden_image()])
        [answer] = segmenter.decode([(embedding, prompts)])

    assert run.call_count == 1
    assert len(answer[0]) == 1
    assert len(answer[1]) == 20


def test_masks_of_words_are_sorted_and_cut_by_their_scores(segmenter: Sam3Segmenter) -> None:
    [embedding] = segmenter.embed([golden_image()])
    scores, logits = (each[0] for each in ours(segmenter))
    middle = float(scores.median())
    size = golden_image().shape[:2]

    [[every, some, none]] = segmenter.decode(
        [(embedding, [Prompt(text=TEXT, score_thresh=each) for each in (0, middle, 1)])]
    )

    ordered = sorted(scores.tolist(), reverse=True)
    assert [mask.score for mask in every] == pytest.approx(ordered)
    assert [mask.score for mask in some] == pytest.approx([each for each in ordered if each >= middle])
    assert none == []
    whole = torch.nn.functional.interpolate(logits[None], size, mode="bilinear")[0] > 0
    assert np.array_equal(every[0].pixels(), whole[scores.argmax()].numpy())


def test_masks_of_words_have_the_threshold_of_the_authors(segmenter: Sam3Segmenter) -> None:
    [embedding] = segmenter.embed([golden_image()])
    scores = torch.tensor([[0.49, 0.5, 0.7]])
    with mock.patch.object(segmenter._words, "candidates", return_value=(scores, torch.ones(1, 3, 8, 8))):
        [[masks]] = segmenter.decode([(embedding, [Prompt(text=TEXT)])])

    assert [mask.score for mask in masks] == pytest.approx([0.7, 0.5])


def test_words_are_encoded_once_and_searched_in_images_together(directory: Path) -> None:
    segmenter = build(options_for(directory, batch_size=2))
    embeddings = segmenter.embed([golden_image(), golden_image((90, 60))])
    encoder: Any = segmenter._words._model.text_encoder
    prompts = [Prompt(text=TEXT, score_thresh=0), Prompt(text="dog", score_thresh=0)]
    work = [(embeddings[0], prompts[:1]), (embeddings[1], prompts)]

    with (
        mock.patch.object(encoder, "forward", side_effect=encoder.forward) as encode,
        mock.patch.object(segmenter._words, "candidates", wraps=segmenter._words.candidates) as search,
    ):
        together = segmenter.decode(work)
        alone = [segmenter.decode([each])[0] for each in work]

    assert encode.call_count == 2
    assert search.call_count == 2 + 3
    for first, second in zip(together, alone, strict=True):
        for masks, expected in zip(first, second, strict=True):
            scores = [mask.score for mask in expected]
            assert [mask.score for mask in masks] == pytest.approx(scores, abs=1e-6)


def test_text_is_refused_where_the_model_would_cut_it(segmenter: Sam3Segmenter) -> None:
    [embedding] = segmenter.embed([golden_image()])

    with pytest.raises(BadPrompt, match="has 42 tokens, and the model takes 32: shorten it"):
        segmenter.decode([(embedding, [Prompt(text="a" * 40)])])


def test_bf16_is_near(directory: Path, segmenter: Sam3Segmenter) -> None:
    lower = build(options_for(directory).model_copy(update={"precision": "bf16"}))

    [first], [second] = (each.embed([golden_image()]) for each in (segmenter, lower))

    for level, other in zip(first.levels, second.levels, strict=True):
        assert other.dtype == torch.float32
        assert 0 < relative_error(other, level) < 0.03
    assert lower.embedding_key != segmenter.embedding_key


@pytest.mark.parametrize(
    "part", ["detector_model.detr_encoder", "tracker_model.mask_decoder", "tracker_neck"]
)
def test_a_tensor_that_is_missing_is_named(directory: Path, tmp_path: Path, part: str) -> None:
    other = shutil.copytree(directory, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    lost = next(name for name in tensors if name.startswith(part) and name.endswith(".bias"))
    save_file({name: each for name, each in tensors.items() if name != lost}, other / "model.safetensors")

    with pytest.raises(ModelUnavailable, match="lacks"):
        build(options_for(other))


def test_a_directory_is_known_by_its_tensors(directory: Path) -> None:
    named = with_model_named(ModelSettings(checkpoint=directory))

    assert named.model == "sam3"
    assert find_factory(named) is build


def test_a_run_embeds_an_image_once_for_words_and_points(directory: Path) -> None:
    image = encoded(golden_image((40, 60)), "PNG")
    prompts: list[dict[str, Any]] = [
        {"text": "a cat", "score_thresh": 0},
        {"prompts": [BOX, {"text": "dogs", "score_thresh": 0}]},
    ]
    jobs = [
        submission(name, image, json.dumps(each).encode()) for name, each in zip("ab", prompts, strict=True)
    ]
    transport = OneShot(jobs)

    run_transport(transport, checkpoint=str(directory), device="cpu")

    metas = [json.loads(transport.delivered[name][".json"])["meta"] for name in "ab"]
    assert {meta["model"] for meta in metas} == {"sam3"}
    assert [json.loads(meta["seconds"])["embedding"] > 0 for meta in metas] == [True, False]
    assert [len(scores) for scores in json.loads(metas[1]["scores"])] == [1, 20]


def test_it_is_never_fetched_and_runs_in_torch_only(directory: Path) -> None:
    with pytest.raises(ModelUnavailable, match="needs --checkpoint DIR"):
        build(ModelSettings(model="sam3", pull=True))
    with pytest.raises(ModelUnavailable, match="in torch only"):
        build(options_for(directory, engine="openvino"))
    with pytest.raises(ModelUnavailable, match="is a file"):
        build(options_for(directory / "model.safetensors"))


def test_the_ignored_box_has_the_label_that_transformers_ignores() -> None:
    assert words_module.IGNORED == -10


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_model_of_official_size_is_that_of_transformers_corrected(tmp_path: Path) -> None:
    """32 blocks, 1008 x 1008 input; takes 3.4 GB of disk, and twice that of memory."""
    official = write_sam3(tmp_path / "official", transformers.Sam3VideoConfig(), 1008)
    expected_scores, expected_logits = theirs(official, is_corrected=True)

    segmenter = build(options_for(official))
    scores, logits = ours(segmenter)

    errors = relative_error(scores, expected_scores), relative_error(logits, expected_logits)
    assert max(errors) < 1e-3, errors
    assert segmenter.embedding_bytes == build.embedding_bytes
