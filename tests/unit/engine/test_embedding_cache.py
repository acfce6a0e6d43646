"""An image that was embedded before costs neither a decoded pixel nor an encoder call."""

import logging
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from support.images import encoded, image_of
from support.one_shot import OneShot
from support.segmenters import BoxSegmenter, KeptBoxes, job_of
from support.tiny import tiny_sam

from sampoll.app.assembly import load_model
from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import BadImage, BadPrompt
from sampoll.core.jobs import Box, KnownImage, Point, Prompt
from sampoll.core.protocols import CacheableSegmenter
from sampoll.core.results import Segmentation
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.executor import Executor
from sampoll.engine.pipeline import Service
from sampoll.inputs import decode as decoding
from sampoll.inputs.decode import decode
from sampoll.inputs.options import DecodingOptions
from sampoll.models.grabcut import GrabCutSegmenter
from sampoll.models.sam.network import sam_network
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.transports.memory import submission

PROMPT = b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}'
LIMITS = DecodingOptions(LimitSettings(max_pixels=10**6, max_prompts=10))


def tiny() -> PromptableSegmenter:
    return PromptableSegmenter("tiny", sam_network(tiny_sam()), torch.device("cpu"))


def test_only_cacheable_segmenters_have_embeddings_that_are_kept() -> None:
    assert isinstance(tiny(), CacheableSegmenter)
    assert isinstance(KeptBoxes(), CacheableSegmenter)
    assert not isinstance(GrabCutSegmenter(), CacheableSegmenter)
    assert not isinstance(BoxSegmenter(), CacheableSegmenter)


def test_the_last_used_embeddings_stay_in_memory() -> None:
    cache = EmbeddingCache(KeptBoxes(), memory_bytes=2999)
    images = {name: image_of(seed=seed) for seed, name in enumerate("abc")}
    cache.put("a", images["a"])
    cache.put("b", images["b"])
    assert cache.get("a") is images["a"]

    cache.put("c", images["c"])

    assert cache.get("b") is None
    assert cache.get("a") is images["a"]
    assert cache.get("c") is images["c"]
    known = cache.known("a")
    assert known is not None
    assert (known.size, known.embedding is images["a"]) == ((24, 32), True)
    assert cache.known("b") is None


def test_without_memory_nothing_is_kept() -> None:
    cache = EmbeddingCache(KeptBoxes(), memory_bytes=0)
    cache.put("a", image_of())
    assert cache.get("a") is None


def test_a_sam_embedding_comes_back_from_its_file_exactly(tmp_path: Path) -> None:
    segmenter, prompt = tiny(), Prompt(points=(Point(20, 15, 1),), box=Box(5, 4, 30, 22))
    [embedding] = segmenter.embed([image_of(40, 57)])
    EmbeddingCache(segmenter, 0, tmp_path).put("ab" * 32, embedding)

    known = EmbeddingCache(tiny(), 0, tmp_path).known("ab" * 32)

    assert known is not None
    assert known.size == (40, 57)
    [[[ours]], [[theirs]]] = segmenter.decode([(embedding, [prompt]), (known.embedding, [prompt])])
    assert np.array_equal(ours.packed, theirs.packed)
    assert ours.score == theirs.score


def test_the_folder_of_an_embedding_names_model_checkpoint_and_precision(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        segmenter = PromptableSegmenter(
            "tiny",
            sam_network(tiny_sam()),
            torch.device("cpu"),
            precision=precision,
            checkpoint_sha256="cd" * 32,
        )
        EmbeddingCache(segmenter, 0, tmp_path).put("ab" * 32, segmenter.embed([image_of()])[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"tiny-{'cd' * 8}-bf16-1",
        f"tiny-{'cd' * 8}-fp32-1",
    ]


def test_embeddings_depend_on_the_rules_of_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for exif in ("apply", "ignore"):
        settings = {"model": "support.fakes:kept", "exif": exif, "embedding-cache": tmp_path}
        for rules in (7, 8):
            monkeypatch.setattr(decoding, "PIXEL_RULES", rules)
            embeddings = load_model(ModelSettings.model_validate(settings)).embeddings
            assert embeddings is not None
            assert embeddings.get("ab" * 32) is None
            embeddings.put("ab" * 32, image_of())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pixels-7",
        "pixels-7-exif-ignore",
        "pixels-8",
        "pixels-8-exif-ignore",
    ]


DAMAGES = ["torn", "empty", "flipped", "longer", "of another model", "of another image", "without a digest"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_embedding_file_is_logged_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    segmenter = tiny()
    cache = EmbeddingCache(segmenter, 0, tmp_path)
    cache.put("ab" * 32, segmenter.embed([image_of()])[0])
    [path] = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    match damage:
        case "torn":
            path.write_bytes(whole[:-10])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
        case "longer":
            path.write_bytes(whole + b"x")
        case "of another model":
            other = PromptableSegmenter("tiny", sam_network(tiny_sam(seed=1)), torch.device("cpu"))
            EmbeddingCache(other, 0, tmp_path).put("ab" * 32, other.embed([image_of()])[0])
            [theirs] = set(tmp_path.rglob("*.safetensors")) - {path}
            path.write_bytes(theirs.read_bytes())
        case "of another image":
            cache.put("cd" * 32, segmenter.embed([image_of(seed=1)])[0])
            path.write_bytes(next(tmp_path.glob("*/cd/*")).read_bytes())
        case "without a digest":
            path.write_bytes(save(load(whole)))

    assert cache.get("ab" * 32) is None
    assert cache.known("ab" * 32) is None
    assert caplog.text.count("cannot be used, its image is embedded again") == 1

    cache.put("ab" * 32, segmenter.embed([image_of()])[0])
    assert path.read_bytes() == whole
    assert cache.get("ab" * 32) is not None


def test_a_folder_in_the_place_of_an_embedding_file_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = EmbeddingCache(KeptBoxes(), 0, tmp_path)
    cache.put("ab" * 32, image_of())
    [path] = tmp_path.rglob("*.safetensors")
    path.unlink()
    path.mkdir()

    assert cache.get("ab" * 32) is None
    cache.put("ab" * 32, image_of())

    assert path.is_dir()
    assert "cannot keep embeddings" in caplog.text


def test_a_cache_that_cannot_be_written_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(KeptBoxes(), 2000, tmp_path / "file")
    with caplog.at_level(logging.INFO):
        cache.put("a" * 64, image_of())
        cache.put("b" * 64, image_of())

    assert caplog.text.count("cannot keep embeddings") == 1
    assert cache.has_failed_writes
    assert cache.get("a" * 64) is not None  # in memory


# In the pipeline


def test_a_batch_embeds_each_image_once() -> None:
    segmenter = KeptBoxes()
    executor = Executor(segmenter, 8, EmbeddingCache(segmenter, 10_000))
    a, b = (
        job_of(image_of(), Prompt(box=Box(1, 1, 5, 5))),
        job_of(image_of(30, 40), Prompt(box=Box(2, 2, 9, 9))),
    )

    [outcomes], [again] = executor.run([a, b, a]), executor.run([b, a])

    assert segmenter.batches == [2]
    masks = [outcome.masks[0][0] for outcome in (*outcomes, *again) if isinstance(outcome, Segmentation)]
    assert [mask.size for mask in masks] == [(24, 32), (30, 40), (24, 32), (30, 40), (24, 32)]
    assert isinstance(again[0], Segmentation)
    assert again[0].seconds["embedding"] < 0.1


def test_the_seconds_of_the_encoder_are_those_of_the_images_that_it_embedded() -> None:
    segmenter = KeptBoxes()
    executor = Executor(segmenter, 8, EmbeddingCache(segmenter, 10_000))
    prompt = Prompt(box=Box(1, 1, 5, 5))
    known, new = job_of(image_of(), prompt), job_of(image_of(seed=1), prompt)
    list(executor.run([known]))

    [outcomes] = executor.run([known, new])

    seconds = [outcome.seconds["embedding"] for outcome in outcomes if isinstance(outcome, Segmentation)]
    assert seconds[0] == 0 < seconds[1]


def test_a_known_image_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(image_of())
    known = {submission("a", content, PROMPT).image_sha256: KnownImage((24, 32), "its embedding")}
    monkeypatch.setattr(decoding, "decode_image", None)

    job = decode(submission("a", content, PROMPT), LIMITS, known.get)

    assert job.image is known[job.image_sha256]
    assert job.size == (24, 32)
    outside = b'{"points": [{"x": 40, "y": 1, "label": 1}]}'
    with pytest.raises(BadPrompt, match="outside the image of 32x24 pixels"):
        decode(submission("a", content, outside), LIMITS, known.get)


def test_a_known_image_that_exceeds_the_present_limit_is_refused() -> None:
    content = encoded(image_of())
    known = {submission("a", content, PROMPT).image_sha256: KnownImage((24, 32), "its embedding")}
    with pytest.raises(BadImage, match=r"is 32x24, more than 100 pixels \(--max-pixels\)"):
        decode(
            submission("a", content, PROMPT),
            DecodingOptions(LimitSettings(max_pixels=100, max_prompts=10)),
            known.get,
        )


def test_the_second_prompt_for_an_image_costs_no_encoder_call() -> None:
    segmenter = KeptBoxes()
    cache = EmbeddingCache(segmenter, 10_000)
    content = encoded(image_of())

    for name in ("first", "second"):
        transport = OneShot([submission(name, content, PROMPT)])
        Service(
            transport, partial(decode, options=LIMITS, known=cache.known), segmenter, [], 4, embeddings=cache
        ).run(Event())
        assert list(transport.delivered) == [name]

    assert segmenter.batches == [1]
