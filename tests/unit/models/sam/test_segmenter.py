"""Parity with segment_anything's own SamPredictor, and loading of official weights."""

import copy
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from skimage import data
from support.images import image_of
from support.recorded_cuda import RecordedCuda
from support.segmenters import job_of
from support.tiny import tiny_sam

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import DeviceFailed, ModelUnavailable, OutOfMemory
from sampoll.core.jobs import LOW_RES_SIDE, Box, Everything, LowResMask, Point, Prompt, RgbImage
from sampoll.core.results import ModelInfo, Segmentation
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.executor import Executor
from sampoll.files.files import sha256_of
from sampoll.models import sam as sam_models
from sampoll.models.checkpoints import checkpoint_file, official_checkpoint
from sampoll.models.registry import find_factory, load_segmenter
from sampoll.models.sam.network import sam_network, sam_of
from sampoll.models.shared.checkpoint_file import read_checkpoint
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.packed_bits import _packed_by_torch
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.streams import ThreadStreams
from sampoll.models.shared.thresholds import MaskThresholds
from sampoll.models.shared.torch_device import PRECISIONS, torch_device
from sampoll.models.shared.vit import Encoder

CPU = torch.device("cpu")
PROMPTS = {
    "point": Prompt(points=(Point(20, 15, 1),)),
    "points": Prompt(points=(Point(20, 15, 1), Point(3.5, 4.25, 0), Point(30, 20, 1))),
    "box": Prompt(box=Box(5, 4, 30.5, 22)),
    "both": Prompt(points=(Point(20, 15, 1), Point(2, 2, 0)), box=Box(5, 4, 30, 22)),
}


def predicted(
    sam: Sam, image: RgbImage, prompt: Prompt, policy: MaskPolicy, mask_input: np.ndarray | None = None
) -> tuple[np.ndarray, float, np.ndarray]:
    """Mask, score and low-res logits as SamPredictor gives them, the index chosen by `policy`."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks, scores, logits = predictor.predict(
        point_coords=np.array([[p.x, p.y] for p in prompt.points]) if prompt.points else None,
        point_labels=np.array([p.label for p in prompt.points]) if prompt.points else None,
        box=np.array([prompt.box.x0, prompt.box.y0, prompt.box.x1, prompt.box.y1]) if prompt.box else None,
        mask_input=mask_input,
        multimask_output=policy != "single",
    )
    index = int(np.argmax(scores)) if policy == "best" else 0
    return masks[index], float(scores[index]), logits[index]


def loaded(options: ModelSettings) -> Any:
    return load_segmenter(options, find_factory(options))


def assert_parity(sam: Sam, image: RgbImage, prompt: Prompt, policy: MaskPolicy) -> None:
    mask, score, logits = predicted(sam, image, prompt, policy)
    segmenter = PromptableSegmenter("sam", sam_network(sam), CPU, policy)
    [embedding] = segmenter.embed([image])

    our_logits, our_score = segmenter.low_res_logits(embedding, prompt)
    [[[ours]]] = segmenter.decode([(embedding, [prompt])])

    difference = np.linalg.norm(np.asarray(our_logits) - logits) / np.linalg.norm(logits)
    assert difference <= 1e-4
    assert float(our_score) == pytest.approx(score, abs=1e-4)
    assert ours.score == pytest.approx(score, abs=1e-4)
    assert (ours.pixels() != mask).mean() < 1e-4


@pytest.mark.parametrize("policy", ["best", "first", "single"])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_tiny_sam_answers_as_sam_predictor_does(prompt: Prompt, policy: MaskPolicy) -> None:
    assert_parity(tiny_sam(), image_of(40, 57), prompt, policy)


LOGITS = np.random.default_rng(3).normal(0, 5, (LOW_RES_SIDE, LOW_RES_SIDE)).astype(np.float32)
MASK = LowResMask(b"", LOGITS)


ASKED = {
    **PROMPTS,
    "mask": Prompt(mask=MASK),
    **{f"{name} and mask": replace(prompt, mask=MASK) for name, prompt in PROMPTS.items()},
}


@pytest.mark.parametrize("refine", [0, 1, 3])
@pytest.mark.parametrize("prompt", ASKED.values(), ids=ASKED)
def test_masks_are_prompts_as_for_sam_predictor_and_answers_are_refined_as_with_it(
    prompt: Prompt, refine: int
) -> None:
    asked = replace(prompt, refine=refine)
    sam, image = tiny_sam(), image_of(40, 57)
    segmenter = PromptableSegmenter("sam", sam_network(sam), CPU)
    # A tiny model has tiny masks.
    small = F.interpolate(torch.tensor(LOGITS[None, None]), (16, 16), mode="bilinear", antialias=True)[0]
    expected, score, logits = predicted(sam, image, asked, "best", small.numpy() if asked.mask else None)
    for _ in range(refine):
        expected, score, logits = predicted(sam, image, asked, "single", logits[None])

    [embedding] = segmenter.embed([image])
    our_logits, _ = segmenter.low_res_logits(embedding, asked)
    [[[ours]]] = segmenter.decode([(embedding, [asked])])

    assert np.linalg.norm(np.asarray(our_logits) - logits) / np.linalg.norm(logits) <= 1e-4
    assert ours.score == pytest.approx(score, abs=1e-4)
    assert (ours.pixels() != expected).mean() < 1e-3


def test_prompts_of_all_kinds_for_several_images_keep_their_answers_in_one_call() -> None:
    kinds = [
        *PROMPTS.values(),
        replace(PROMPTS["box"], mask=MASK),
        replace(PROMPTS["point"], refine=2),
        Prompt(mask=MASK),
        Prompt(everything=Everything(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)),
    ]
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU, prompt_batch=3)
    embeddings = segmenter.embed([image_of(40, 57), image_of(30, 30, seed=1)])

    together = segmenter.decode([(embedding, kinds) for embedding in embeddings])

    for embedding, answers in zip(embeddings, together, strict=True):
        for prompt, masks in zip(kinds, answers, strict=True):
            [[alone]] = segmenter.decode([(embedding, [prompt])])
            assert [mask.score for mask in masks] == pytest.approx([mask.score for mask in alone], abs=1e-5)
            for ours, theirs in zip(masks, alone, strict=True):
                assert (ours.pixels() != theirs.pixels()).mean() < 1e-3


ANYTHING = Everything(
    points_per_side=6, pred_iou_thresh=0, stability_score_thresh=0, stability_score_offset=0.003
)
EVERYTHINGS = {
    "all": ANYTHING,
    "overlapping less": replace(ANYTHING, box_nms_thresh=0.3),
    "overlapping more": replace(ANYTHING, box_nms_thresh=0.95),
    "good": replace(ANYTHING, pred_iou_thresh=0.06),
    "stable": replace(ANYTHING, stability_score_thresh=0.6),
    "stable for longer": replace(ANYTHING, stability_score_thresh=0.6, stability_score_offset=0.01),
    "clean": replace(ANYTHING, min_mask_region_area=40),
    "none": replace(ANYTHING, pred_iou_thresh=1),
}


def finding_sam() -> Sam:
    """A tiny SAM that finds many small things: only the highest of its random logits are objects."""
    sam = tiny_sam()
    sam.mask_threshold = 0.05
    return sam


@pytest.mark.parametrize("everything", EVERYTHINGS.values(), ids=EVERYTHINGS)
def test_everything_is_what_sam_automatic_mask_generator_finds(everything: Everything) -> None:
    sam, image = finding_sam(), image_of(40, 57)
    generator = SamAutomaticMaskGenerator(sam, **asdict(everything))
    expected = generator.generate(image)

    segmenter = PromptableSegmenter("sam", sam_network(sam), CPU, prompt_batch=7)
    [[masks]] = segmenter.decode([(segmenter.embed([image])[0], [Prompt(everything=everything)])])

    assert len(masks) == len(expected)
    assert [mask.score for mask in masks] == pytest.approx([e["predicted_iou"] for e in expected], abs=1e-4)
    for mask, theirs in zip(masks, expected, strict=True):
        assert (mask.pixels() != theirs["segmentation"]).mean() < 1e-3


def test_everything_without_thresholds_uses_those_of_the_model() -> None:
    said = replace(ANYTHING, pred_iou_thresh=0.06, stability_score_thresh=0.6)
    unsaid = replace(ANYTHING, pred_iou_thresh=None, stability_score_thresh=None)
    network = replace(sam_network(finding_sam()), everything=MaskThresholds(0.06, 0.6))
    segmenter = PromptableSegmenter("sam", network, CPU)

    [answers] = segmenter.decode(
        [(segmenter.embed([image_of(40, 57)])[0], [Prompt(everything=e) for e in (said, unsaid, ANYTHING)])]
    )

    scores = [[mask.score for mask in masks] for masks in answers]
    assert scores[0] == scores[1]
    assert 0 < len(scores[0]) < len(scores[2])


def test_the_thresholds_of_sam_are_those_of_sam_automatic_mask_generator() -> None:
    generator = SamAutomaticMaskGenerator(tiny_sam())
    thresholds = MaskThresholds(generator.pred_iou_thresh, generator.stability_score_thresh)
    assert sam_network(tiny_sam()).everything == thresholds


def test_the_thresholds_above_tell_masks_apart() -> None:
    segmenter = PromptableSegmenter("sam", sam_network(finding_sam()), CPU)
    [embedding] = segmenter.embed([image_of(40, 57)])

    counts = {
        name: len(segmenter.decode([(embedding, [Prompt(everything=everything)])])[0][0])
        for name, everything in EVERYTHINGS.items()
    }

    assert counts["none"] == 0
    assert len(set(counts.values())) == len(counts), counts


@pytest.mark.parametrize("shape", [(64, 64), (57, 200), (200, 31), (17, 9)])
def test_images_of_any_shape_are_resized_as_sam_predictor_does(shape: tuple[int, int]) -> None:
    prompt = Prompt(points=(Point(4, 4, 1),), box=Box(1, 1, 8, 8))

    assert_parity(tiny_sam(), image_of(*shape), prompt, "best")


def test_best_is_not_always_first() -> None:
    """Otherwise the tests above would not tell the policies apart."""
    sam, image = tiny_sam(), image_of(40, 57)

    best, first = (
        PromptableSegmenter("sam", sam_network(sam), CPU, policy).decode(
            [(PromptableSegmenter("sam", sam_network(sam), CPU).embed([image])[0], [PROMPTS["box"]])]
        )[0][0][0]
        for policy in ("best", "first")
    )

    assert best.score > first.score


def test_an_embedding_takes_no_more_memory_than_it_says() -> None:
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)

    for embedding in segmenter.embed([image_of(), image_of(seed=1)]):
        assert embedding.levels[0].untyped_storage().nbytes() == segmenter.embedding_bytes


def test_the_image_is_encoded_once_however_many_prompts_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = Encoder.forward

    def counted(encoder: Encoder, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls.append(len(images))
        return original(encoder, images)

    monkeypatch.setattr(Encoder, "forward", counted)
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)

    embeddings = segmenter.embed([image_of(), image_of(seed=1)])
    segmenter.decode([(embedding, list(PROMPTS.values())) for embedding in embeddings])

    assert calls == [2]


# Checkpoints


def test_the_checkpoint_is_the_one_that_was_named_or_else_the_one_that_was_pulled(tmp_path: Path) -> None:
    named, pulled = tmp_path / "named.pth", tmp_path / "checkpoints" / official_checkpoint("vit_b").file
    pulled.parent.mkdir()
    for path in (named, pulled):
        path.touch()
    options = {"model": "vit_b", "home": tmp_path}

    assert checkpoint_file(official_checkpoint("vit_b"), ModelSettings.model_validate(options)) == pulled
    assert (
        checkpoint_file(
            official_checkpoint("vit_b"), ModelSettings.model_validate({**options, "checkpoint": named})
        )
        == named
    )
    with pytest.raises(ModelUnavailable, match="vit_l needs its weights: run `sampoll models pull vit_l`"):
        checkpoint_file(official_checkpoint("vit_l"), ModelSettings.model_validate(options))


@pytest.fixture(scope="module")
def vit_b() -> Sam:
    """The official vit_b, randomly initialised."""
    torch.manual_seed(0)
    return sam_model_registry["vit_b"]()


@pytest.fixture(scope="module")
def checkpoints(vit_b: Sam, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with vit_b's weights in either format."""
    from safetensors.torch import save_file

    directory = tmp_path_factory.mktemp("checkpoints")
    torch.save(vit_b.state_dict(), directory / "vit_b.pth")
    save_file(vit_b.state_dict(), directory / "vit_b.safetensors")
    torch.save(vit_b.state_dict(), directory / "legacy.pth", _use_new_zipfile_serialization=False)
    yield directory
    for path in directory.iterdir():
        path.unlink()


@pytest.mark.campaign
def test_a_real_vit_b_from_its_checkpoint_answers_as_sam_predictor_does(
    vit_b: Sam, checkpoints: Path
) -> None:
    path = checkpoints / "vit_b.pth"
    image, prompt = data.astronaut(), Prompt(points=(Point(220, 110, 1),), box=Box(150, 10, 310, 210))
    mask, score, logits = predicted(vit_b, image, prompt, "best")

    for engine, precision in (("torch", "fp32"), ("openvino", "bf16")):
        largest_error = {"fp32": 1e-4, "bf16": 2e-2}[precision]
        options = {"checkpoint": path, "device": "cpu", "precision": precision, "engine": engine}
        segmenter = loaded(ModelSettings.model_validate(options))
        [embedding] = segmenter.embed([image])
        our_logits, _ = segmenter.low_res_logits(embedding, prompt)
        [[[ours]]] = segmenter.decode([(embedding, [prompt])])

        assert np.linalg.norm(np.asarray(our_logits) - logits) / np.linalg.norm(logits) <= largest_error
        assert ours.score == pytest.approx(score, abs=largest_error)
        if precision == "fp32":
            assert (ours.pixels() != mask).mean() < 1e-4
        assert segmenter.info == ModelInfo("vit_b", "cpu", sha256_of(path), precision, engine)


@pytest.mark.parametrize("name", ["vit_b.pth", "vit_b.safetensors", "legacy.pth"])
def test_weights_come_back_exactly_from_any_format(vit_b: Sam, checkpoints: Path, name: str) -> None:
    weights, sha256 = read_checkpoint(checkpoints / name)
    sam = sam_of("vit_b", weights)

    loaded, expected = sam.state_dict(), vit_b.state_dict()
    assert sha256 == sha256_of(checkpoints / name)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["vit_b.pth", "vit_b.safetensors", "legacy.pth"])
def test_a_checkpoint_that_is_changed_after_it_was_loaded_changes_nothing(
    vit_b: Sam, checkpoints: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes((checkpoints / name).read_bytes())
    sam = sam_of("vit_b", read_checkpoint(path)[0])

    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    os.truncate(path, 10)  # reading what is mapped from it would now end the process

    loaded, expected = sam.state_dict(), vit_b.state_dict()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    path.unlink()


def mapped_copies() -> set[str]:
    """The inodes of the private copies of weights that this process has mapped."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[4] for line in maps if "memfd:sampoll" in line}


def test_weights_that_were_converted_are_freed_with_the_file(checkpoints: Path) -> None:
    of_other_tests = mapped_copies()
    network, _ = sam_models.vit_b.network(checkpoints / "vit_b.pth")
    [ours] = mapped_copies() - of_other_tests

    segmenter = PromptableSegmenter("vit_b", network, CPU, precision="bf16")
    del network

    assert ours not in mapped_copies()
    assert segmenter.info.precision == "bf16"


def test_a_file_at_the_place_of_an_official_checkpoint_must_have_its_digest(
    checkpoints: Path, tmp_path: Path
) -> None:
    options = ModelSettings.model_validate({"model": "vit_b", "home": tmp_path, "device": "cpu"})
    place = tmp_path / "checkpoints" / official_checkpoint("vit_b").file
    place.parent.mkdir()
    place.symlink_to(checkpoints / "vit_b.pth")

    with pytest.raises(ModelUnavailable, match="is not vit_b as published, but damaged or something else"):
        loaded(options)


def test_a_model_without_a_checkpoint_is_known_by_its_weights() -> None:
    keys = [PromptableSegmenter("tiny", sam_network(tiny_sam(seed)), CPU).embedding_key for seed in (0, 1, 0)]

    assert keys[0] == keys[2] != keys[1]


def test_a_checkpoint_of_another_model_is_named(checkpoints: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"vit_b\.pth holds vit_b, not vit_h: use --model vit_b"):
        sam_models.vit_h.network(checkpoints / "vit_b.pth")


def test_without_a_checkpoint_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailable, match=r"vit_b needs its weights: .* --checkpoint .* --model grabcut"
    ):
        loaded(ModelSettings.model_validate({"home": tmp_path}))
    with pytest.raises(ModelUnavailable, match=r"no checkpoint at .*nowhere.pth: correct --checkpoint"):
        loaded(ModelSettings.model_validate({"checkpoint": tmp_path / "nowhere.pth"}))


# Devices


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_a_device_that_is_not_there_is_one_clear_error() -> None:
    assert torch_device("auto") == CPU
    with pytest.raises(ModelUnavailable, match="no CUDA device was found: use --device cpu"):
        torch_device("cuda")


def test_the_error_of_a_missing_gpu_names_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert torch_device("cuda:1").index == 1
    with pytest.raises(ModelUnavailable, match="no device cuda:2: there are 2, cuda:0 to cuda:1"):
        torch_device("cuda:2")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceFailed),
        (RuntimeError("CUDA error: out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), OutOfMemory),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), OutOfMemory),
        (RuntimeError("shapes do not match"), RuntimeError),
    ],
)
def test_only_errors_that_make_the_device_unusable_end_the_process(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]
) -> None:
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(Encoder, "forward", fail)

    with pytest.raises(expected):
        segmenter.embed([image_of()])


def test_the_memory_of_a_batch_that_did_not_fit_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)
    emptied: list[int] = []
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: emptied.append(1))
    whole = Encoder.forward

    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    segmenter.embed([image_of()])
    monkeypatch.setattr(Encoder, "forward", fail)
    with pytest.raises(OutOfMemory):
        segmenter.embed([image_of()])
    assert emptied == []  # not yet: the error still holds the batch
    monkeypatch.setattr(Encoder, "forward", whole)
    segmenter.embed([image_of()])
    segmenter.embed([image_of()])
    assert emptied == [1]


# The order of what is computed on a device and what crosses between it and the host


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> tuple[PromptableSegmenter, RecordedCuda]:
    """A segmenter whose device is recorded, and computes on the CPU."""
    # The way of bits on CUDA; on a CPU they are packed by numpy.
    monkeypatch.setattr("sampoll.models.shared.torch_arrays.packed_bits", _packed_by_torch)
    monkeypatch.setattr("sampoll.models.shared.automatic_masks.packed_bits", _packed_by_torch)
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)
    recorded = RecordedCuda(monkeypatch)
    monkeypatch.setattr("sampoll.models.shared.torch_arrays._to_host", recorded.copied_without_waiting)
    segmenter._calls.streams = ThreadStreams(torch.device("cuda:1"))
    return segmenter, recorded


KEPT = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)
[EMBEDDING] = KEPT.embed([image_of(40, 57)])
PACKED = KEPT.packed(EMBEDDING)
CALLS: dict[str, Callable[[PromptableSegmenter], object]] = {
    "embed": lambda sam: sam.embed([image_of(40, 57), image_of()]),
    "decode": lambda sam: sam.decode([(EMBEDDING, list(ASKED.values()))]),
    "decode nothing": lambda sam: sam.decode([(EMBEDDING, [])]),
    "decode everything": lambda sam: sam.decode([(EMBEDDING, [Prompt(everything=ANYTHING)])]),
    "packed": lambda sam: sam.packed(EMBEDDING),
    "unpacked": lambda sam: sam.unpacked(PACKED),
    "preprocessed": lambda sam: sam.preprocessed(image_of()),
    "low_res_logits": lambda sam: sam.low_res_logits(EMBEDDING, PROMPTS["box"]),
    "candidates": lambda sam: sam.candidates(EMBEDDING, PROMPTS["box"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_a_call_returns_is_finished_for_the_host_and_for_every_other_thread(
    queued: tuple[PromptableSegmenter, RecordedCuda], call: Callable[[PromptableSegmenter], object]
) -> None:
    segmenter, recorded = queued

    with recorded:
        call(segmenter)

    assert recorded.streams == [torch.device("cuda:1")]
    assert recorded.on_other_streams == []
    assert recorded.unfinished == []
    assert recorded.read_too_early == []


def test_the_record_above_notices_a_copy_that_is_not_waited_for(
    queued: tuple[PromptableSegmenter, RecordedCuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter, recorded = queued
    monkeypatch.setattr(ThreadStreams, "wait", lambda streams: None)

    with recorded:
        segmenter.decode([(EMBEDDING, [PROMPTS["box"]])])

    assert recorded.unfinished != []
    assert recorded.read_too_early != []


def test_the_encoder_has_finished_before_an_embedding_without_prompts_is_copied_to_the_host(
    queued: tuple[PromptableSegmenter, RecordedCuda], tmp_path: Path
) -> None:
    segmenter, recorded = queued
    cache = EmbeddingCache(segmenter, 0, tmp_path)

    with recorded:
        [[outcome]] = Executor(segmenter, 1, cache).run([job_of(image_of(40, 57))])

    assert isinstance(outcome, Segmentation)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert recorded.on_other_streams == recorded.read_too_early == []


def test_each_thread_has_a_stream_of_its_own_that_begins_after_the_weights_are_there(
    queued: tuple[PromptableSegmenter, RecordedCuda],
) -> None:
    segmenter, recorded = queued
    for _ in range(2):
        segmenter.embed([image_of()])
        with ThreadPoolExecutor(1) as other:
            other.submit(segmenter.embed, [image_of()]).result()

    assert recorded.streams == [torch.device("cuda:1")] * 3
    assert recorded.waited_for_default == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_another_thread_takes_from_a_gpu_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    image, whole = image_of(40, 57), Encoder.forward

    def slow(encoder: Encoder, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if images.is_cuda:
            torch.cuda._sleep(500_000_000)  # cycles: a fraction of a second
        return whole(encoder, images)

    monkeypatch.setattr(Encoder, "forward", slow)
    kept, masks = [], []
    for device in (CPU, torch.device("cuda")):
        segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), device)
        segmenter.embed([image_of(40, 57, seed=1)])  # what is freed of it holds other features
        with ThreadPoolExecutor(1) as other, ThreadPoolExecutor(1) as third:
            [embedding] = other.submit(segmenter.embed, [image]).result()
            kept.append(third.submit(segmenter.packed, embedding).result()["features"])
            again = other.submit(segmenter.unpacked, segmenter.packed(embedding)).result()
            [[[mask]]] = third.submit(segmenter.decode, [(again, [PROMPTS["box"]])]).result()
            masks.append(mask.pixels())

    assert np.allclose(kept[0], kept[1], atol=1e-4)
    assert (masks[0] != masks[1]).mean() < 1e-2


@pytest.mark.parametrize(
    ("queued_bytes", "expected"), [(0, "bwtbwtbwtbwt"), (2 * 40 * 8, "bbbwtttbwt"), (2**28, "bbbbwtttt")]
)
def test_a_device_makes_a_bounded_number_of_masks_before_they_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, queued_bytes: int, expected: str
) -> None:
    """b: a batch is begun; w: the device is waited for; t: a mask is taken."""
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU)
    [embedding] = segmenter.embed([image_of(40, 57)])
    done: list[str] = []
    original = segmenter._masks.packed_masks

    def packed_masks(*given: Any) -> Any:
        done.append("b")
        segmenter._device = CPU
        made = original(*given)
        segmenter._device = torch.device("cuda")
        return made

    monkeypatch.setattr(segmenter._masks, "packed_masks", packed_masks)
    monkeypatch.setattr(segmenter, "_device", torch.device("cuda"))
    monkeypatch.setattr(segmenter._calls.streams, "wait", lambda: done.append("w"))
    monkeypatch.setattr("sampoll.models.shared.base_segmenter.QUEUED_BYTES", queued_bytes)

    segmenter._decode_tasks([(embedding, [PROMPTS["box"]] * 4)], lambda *_: done.append("t"))

    assert "".join(done).startswith(expected)
    assert done.count("t") == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpu_answers_as_the_cpu_does(precision: str) -> None:
    image = image_of(40, 57)
    answers = []
    for device in (CPU, torch.device("cuda")):
        segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), device, precision=precision)
        answers.append(segmenter.decode([(segmenter.embed([image])[0], list(PROMPTS.values()))])[0])

    for [cpu], [cuda] in zip(*answers, strict=True):
        assert (cpu.pixels() != cuda.pixels()).mean() < 1e-2
        assert cuda.score == pytest.approx(cpu.score, abs=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_with_little_memory_left_segments_every_image(vit_b: Sam) -> None:
    segmenter = PromptableSegmenter(
        "sam", sam_network(copy.deepcopy(vit_b)), torch.device("cuda"), precision="bf16"
    )
    segmenter.decode([(segmenter.embed([image_of(40, 57)])[0], [PROMPTS["box"]])])
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(free - 1200 * 2**20, dtype=torch.uint8, device="cuda")

    outcomes = Executor(segmenter, 16).run(
        [job_of(image_of(40, 57, seed), PROMPTS["box"], name=str(seed)) for seed in range(16)]
    )

    del hog
    assert [
        str(outcome) for part in outcomes for outcome in part if not isinstance(outcome, Segmentation)
    ] == []
