"""Detectors find what transformers' own pipeline finds, and any segmenter of boxes makes masks of it."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.folders import BOX
from support.images import encoded, image_of
from support.one_shot import OneShot
from support.segmenters import BoxSegmenter, KeptBoxes
from support.small_detectors import small_grounding_dino, small_owlv2, transformers

from sampoll import run_transport
from sampoll.core.errors import BadPrompt, ModelUnavailable, UsageError
from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.core.protocols import CacheableSegmenter
from sampoll.models.detectors import detector_in, with_detector
from sampoll.models.detectors.detector import Detector, Features, Found
from sampoll.models.detectors.grounding_dino import caption_of
from sampoll.models.detectors.segmenter import CacheableDetectingSegmenter, DetectingSegmenter, box_inside
from sampoll.transports.memory import submission

CPU = torch.device("cpu")
MAKERS: dict[str, Callable[[Path], Path]] = {"owlv2": small_owlv2, "grounding-dino": small_grounding_dino}
IMAGES = [image_of(70, 110), image_of(120, 50, seed=1), image_of(70, 110, seed=2), image_of(1, 1)]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


@pytest.fixture(params=MAKERS)
def directory(request: pytest.FixtureRequest, directories: dict[str, Path]) -> Path:
    return directories[request.param]


@torch.inference_mode()
def found_by(detector: Detector, images: Sequence[RgbImage], texts: Sequence[str]) -> list[list[Found]]:
    """For each image, what is found for each text."""
    pairs = [(features, text) for features in detector.features(images) for text in texts]
    found = dict(detector.found(pairs))
    assert sorted(found) == list(range(len(pairs)))
    return [
        [found[start + number] for number in range(len(texts))] for start in range(0, len(pairs), len(texts))
    ]


def test_boxes_and_scores_are_those_of_the_pipeline_of_transformers(directory: Path) -> None:
    texts = ("a cat.", "red-brown dog.")
    pipeline = transformers.pipeline("zero-shot-object-detection", model=str(directory), device="cpu")

    ours = found_by(detector_in(directory, CPU, 2), IMAGES, texts)

    for image, own in zip(IMAGES, ours, strict=True):
        for text, found in zip(texts, own, strict=True):
            asked = [{"image": Image.fromarray(image), "candidate_labels": [text]}]
            [theirs] = pipeline(asked, threshold=0.0)
            boxes, scores = zip(*found.best(0.0), strict=True)
            assert scores == pytest.approx([each["score"] for each in theirs], abs=1e-6)
            assert len(set(scores)) > 10
            expected = [[each["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for each in theirs]
            # The pipeline rounds to whole pixels, towards 0.
            assert np.abs(np.array(boxes) - expected).max() < 1 + 1e-3


def test_images_together_have_the_boxes_that_they_have_alone(directory: Path) -> None:
    detector = detector_in(directory, CPU, 2)

    together = found_by(detector, IMAGES, ["cat"])

    for image, [found] in zip(IMAGES, together, strict=True):
        [[alone]] = found_by(detector, [image], ["cat"])
        assert np.abs(found.scores - alone.scores).max() < 1e-5
        assert np.abs(found.boxes - alone.boxes).max() < 1e-3


def test_words_are_encoded_once(directory: Path) -> None:
    detector: Any = detector_in(directory, CPU, 2)
    inner = detector._model
    encoder = inner.owlv2.text_model if detector.name == "owlv2" else inner.model.text_backbone.encoder

    with mock.patch.object(type(encoder), "forward", autospec=True, side_effect=type(encoder).forward) as run:
        for image in IMAGES[:2]:
            found_by(detector, [image], ["cat", "dog"])

    assert run.call_count == 2


def test_text_is_refused_where_the_model_would_cut_it(directory: Path) -> None:
    detector = detector_in(directory, CPU, 2)
    [features] = detector.features(IMAGES[:1])
    at_most = 16 if detector.name == "owlv2" else 32

    with pytest.raises(BadPrompt, match=f"has .* tokens, and the model takes {at_most}: shorten it"):
        dict(detector.found([(features, "many words " * 8)]))


def test_grounding_dino_gets_small_letters_and_a_full_stop() -> None:
    assert caption_of(" A Cat") == "a cat."
    assert caption_of("a cat. a dog.") == "a cat. a dog."


def test_a_tensor_that_is_missing_is_named(directory: Path, tmp_path: Path) -> None:
    other = shutil.copytree(directory, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("norm.weight"))
    save_file({name: each for name, each in tensors.items() if name != lost}, other / "model.safetensors")

    with pytest.raises(ModelUnavailable, match=f"lacks .*{lost[-10:]}"):
        with_detector(BoxSegmenter(), other, 1)


@pytest.mark.parametrize("lost", ["tokenizer", "preprocessor"])
def test_a_directory_without_one_of_its_parts_is_refused(directory: Path, tmp_path: Path, lost: str) -> None:
    other = shutil.copytree(directory, tmp_path / "other")
    names = {"tokenizer": ("tokenizer", "vocab", "merges"), "preprocessor": ("preprocessor",)}[lost]
    for path in list(other.iterdir()):
        if path.name.startswith(names):
            path.unlink()

    with pytest.raises(
        ModelUnavailable, match=r"other has no (tokenizer|image processor) that can be used: "
    ):
        with_detector(BoxSegmenter(), other, 1)


def test_other_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no directory"):
        with_detector(BoxSegmenter(), tmp_path / "none", 1)
    with pytest.raises(ModelUnavailable, match=r"config\.json cannot be read"):
        with_detector(BoxSegmenter(), tmp_path, 1)
    (tmp_path / "config.json").write_text('{"model_type": "detr"}')
    with pytest.raises(ModelUnavailable, match="of the type detr: it must be grounding-dino or owlv2"):
        with_detector(BoxSegmenter(), tmp_path, 1)


def test_an_older_transformers_is_refused(directory: Path) -> None:
    with (
        mock.patch("sampoll.models.shared.hub_model.OLDEST", (99, 1)),
        pytest.raises(ModelUnavailable, match=r"99\.1 or later, and there is .*: pip install"),
    ):
        with_detector(BoxSegmenter(), directory, 1)


def test_without_transformers_the_error_says_what_to_install(directory: Path) -> None:
    with (
        mock.patch.dict(sys.modules, {"transformers": None}),
        pytest.raises(ModelUnavailable, match="--detector needs transformers: pip install 'sampoll"),
    ):
        with_detector(BoxSegmenter(), directory, 1)


def test_a_run_with_a_detector_records_it_and_its_scores(directories: dict[str, Path]) -> None:
    prompts = {"prompts": [{"text": "a cat", "score_thresh": 0.4}, {"box": BOX["box"]}]}
    job = submission("a", encoded(image_of(40, 60), "PNG"), json.dumps(prompts).encode())
    transport = OneShot([job])

    run_transport(transport, model="grabcut", detector=str(directories["owlv2"]))

    meta = json.loads(transport.delivered["a"][".json"])["meta"]
    words, box = json.loads(meta["scores"])
    assert 1 < len(words) < 144
    assert words == sorted(words, reverse=True)
    assert min(words) >= 0.4
    assert len(box) == 1
    assert meta["detector"] == "owlv2"
    assert len(meta["detector_sha256"]) == 64


def test_a_detector_and_a_model_must_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes words itself: leave --detector out"):
        run_transport(OneShot([]), model="support.fakes:words", detector=str(tmp_path))
    with pytest.raises(ModelUnavailable, match="none is no directory"):
        run_transport(OneShot([]), model="grabcut", detector=str(tmp_path / "none"))


# From here on, with a detector that finds what a test says.


SCORES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


class Scripted:
    """Finds one box a word, with SCORES; it counts what it is asked."""

    name = "scripted"
    sha256 = "ab" * 32
    threshold = 0.5
    preprocessing = 1
    features_bytes = 12

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.asked: list[str] = []

    def features(self, images: Sequence[RgbImage]) -> list[Features]:
        self.seen.append(len(images))
        tensors = (torch.arange(3.0),)
        return [Features(tensors, (image.shape[0], image.shape[1]), (7, 8)) for image in images]

    def found(self, work: Sequence[tuple[Features, str]]) -> Any:
        for index, (_, text) in enumerate(work):
            self.asked.append(text)
            count = 0 if text == "nothing" else len(text.split())
            rows = np.arange(count, dtype=np.float32)
            boxes = np.stack([rows, rows, rows + 4, rows + 4], axis=1)
            scores = np.array(SCORES[:count], np.float32)
            yield index, Found(boxes[::-1], scores[::-1])


def test_words_become_boxes_and_masks_have_their_scores() -> None:
    segmenter = DetectingSegmenter(BoxSegmenter(), Scripted(), CPU)
    prompts = (Prompt(text="a b c d e f"), Prompt(text="nothing"), Prompt(text="a b", score_thresh=0.85))

    [answer] = segmenter.decode([(segmenter.embed([image_of(20, 30)])[0], prompts)])

    assert [[mask.score for mask in masks] for masks in answer] == [
        pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5], abs=1e-6),
        [],
        pytest.approx([0.9], abs=1e-6),
    ]
    assert [(mask.box.left, mask.box.bottom) for mask in answer[0] if mask.box] == [
        (0, 3),
        (1, 4),
        (2, 5),
        (3, 6),
        (4, 7),
    ]


def test_other_prompts_go_to_the_segmenter_as_they_are() -> None:
    detector = Scripted()
    segmenter = DetectingSegmenter(BoxSegmenter(), detector, CPU)
    prompts = (Prompt(box=Box(1, 2, 5, 6)), Prompt(text="a b"), Prompt(points=(Point(3, 3, 1),)))

    [answer] = segmenter.decode([(segmenter.embed([image_of(20, 30)])[0], prompts)])

    alone = BoxSegmenter().decode([(image_of(20, 30), (prompts[0], prompts[2]))])[0]
    assert np.array_equal(answer[0][0].packed, alone[0][0].packed)
    assert np.array_equal(answer[2][0].packed, alone[1][0].packed)
    assert (answer[0][0].score, answer[2][0].score) == (0.5, 0.5)
    assert detector.asked == ["a b"]


def test_a_text_is_looked_for_once_in_an_image() -> None:
    detector = Scripted()
    segmenter = DetectingSegmenter(BoxSegmenter(), detector, CPU)
    [embedding] = segmenter.embed([image_of(20, 30)])

    segmenter.decode([(embedding, (Prompt(text="a"), Prompt(text="a", score_thresh=0.1), Prompt(text="b")))])

    assert detector.asked == ["a", "b"]


def test_a_known_image_needs_no_pixels() -> None:
    detector = Scripted()
    segmenter = CacheableDetectingSegmenter(KeptBoxes(), detector, CPU)
    [embedding] = segmenter.embed([image_of(20, 30)])

    again = segmenter.unpacked(segmenter.packed(embedding))

    assert detector.seen == [1]
    assert torch.equal(again.features.tensors[0], torch.arange(3.0))
    assert segmenter.image_size(again) == (20, 30)
    assert again.features.seen_size == (7, 8)
    assert segmenter.embedding_bytes == 1000 + 12


def test_embeddings_and_records_name_the_segmenter_and_the_detector(directory: Path, tmp_path: Path) -> None:
    other = shutil.copytree(directory, tmp_path / "other")
    (other / "tokenizer_config.json").write_text(
        (other / "tokenizer_config.json").read_text().replace("{", '{"other": 1, ', 1)
    )

    first, second = (with_detector(KeptBoxes(), each, 1) for each in (directory, other))

    assert isinstance(first, CacheableSegmenter)
    assert isinstance(second, CacheableSegmenter)
    assert first.embedding_key.startswith("boxes-1-")
    assert len(f"{first.embedding_key}") < 200
    assert first.info.detector in MAKERS
    assert first.info.detector_sha256 != second.info.detector_sha256
    assert first.embedding_key != second.embedding_key


def test_a_segmenter_without_a_cache_has_none_with_a_detector(directory: Path) -> None:
    assert not isinstance(with_detector(BoxSegmenter(), directory, 1), CacheableSegmenter)


def test_the_memory_of_features_is_that_of_the_largest_image(directory: Path) -> None:
    detector = detector_in(directory, CPU, 2)

    [wide] = detector.features([image_of(128, 213)])

    taken = sum(tensor.nbytes for tensor in wide.tensors)
    assert 0.9 * taken <= detector.features_bytes <= 1.2 * taken


def test_boxes_end_where_the_image_does() -> None:
    assert box_inside(np.array([-3, 2, 50, 9], np.float32), (20, 30)) == Box(0, 2, 30, 9)
    assert box_inside(np.array([1, 21, 9, 29], np.float32), (20, 30)) is None
    assert box_inside(np.array([np.nan] * 4, np.float32), (20, 30)) is None
