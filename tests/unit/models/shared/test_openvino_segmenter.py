"""Models that OpenVINO runs as a whole answer as they do in torch, and start without it."""

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.images import image_of
from support.parity import MASK, PROMPTS
from support.small_families import small_mobile_sam, small_sam_hq
from support.small_sam2 import small_edgetam, small_sam2
from support.tiny import relative_error, tiny_sam, with_positions

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Box, Everything, Point, Prompt
from sampoll.models.checkpoints import Checkpoint
from sampoll.models.mobile_sam.network import mobile_sam_network
from sampoll.models.sam import SamModel
from sampoll.models.sam.network import sam_network
from sampoll.models.sam.original import OriginalSam
from sampoll.models.sam_hq.network import sam_hq_network
from sampoll.models.shared import conventions as of
from sampoll.models.shared import converted_models
from sampoll.models.shared.base_segmenter import BaseSegmenter
from sampoll.models.shared.conventions import Conventions
from sampoll.models.shared.conversion import decoder_graphs
from sampoll.models.shared.decoder import Decoder, is_traced
from sampoll.models.shared.device import BFLOAT16_FLAGS, cpu_flags
from sampoll.models.shared.fidelity import GATES, compare
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.network import Network
from sampoll.models.shared.openvino import converted_decoder
from sampoll.models.shared.openvino_decoder import WITH_MASKS, OpenVinoDecoder, compiled_decoder
from sampoll.models.shared.openvino_graph import CompiledGraph
from sampoll.models.shared.openvino_segmenter import OpenVinoSegmenter
from sampoll.models.shared.segmenter import PromptableSegmenter

CPU = torch.device("cpu")
SHA256 = "ab" * 32
SIZES = [(90, 120), (128, 128)]
IMAGES = [image_of(*size, seed=seed) for seed, size in enumerate(SIZES)]


class Family(NamedTuple):
    """A small model, and what it is to OpenVINO."""

    network: Callable[[], Network]
    conventions: Conventions


FAMILIES = {
    "sam": Family(lambda: sam_network(with_positions(tiny_sam())), of.SAM),
    "mobile_sam": Family(lambda: mobile_sam_network(small_mobile_sam()), of.SAM),
    "sam_hq": Family(lambda: sam_hq_network(small_sam_hq("vit")), of.SAM_HQ),
    "sam2": Family(small_sam2, of.SAM2),
    "edgetam": Family(small_edgetam, of.SAM2),
}


class TorchGraph(CompiledGraph):
    """The encoder of a network as if it were converted, which takes seconds and is tested elsewhere."""

    def __init__(self, network: Network) -> None:
        self.precision = "fp32"
        self._encoder = network.encoder(torch.float32).eval().requires_grad_(False)
        self._levels, self._side = network.levels, network.rules.img_size

    @property
    def input_shape(self) -> tuple[int, ...]:
        return 1, 3, self._side, self._side

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        return [(1, *shape) for shape in self._levels]

    @torch.inference_mode()
    def each(self, inputs: Sequence[Sequence[NDArray[Any]]]) -> list[tuple[NDArray[Any], ...]]:
        by_image = [self._encoder(torch.from_numpy(image)) for [image] in inputs]
        return [tuple(level.numpy() for level in levels) for levels in by_image]


class Both(NamedTuple):
    """The same model, in torch and by OpenVINO, by the policy that chooses its masks."""

    by_torch: Callable[[MaskPolicy], PromptableSegmenter]
    by_openvino: Callable[[MaskPolicy], OpenVinoSegmenter]


@pytest.fixture(scope="module", params=FAMILIES)
def both(request: pytest.FixtureRequest) -> Both:
    family = FAMILIES[request.param]
    network = family.network()
    decoder = OpenVinoDecoder(
        compiled_decoder(converted_decoder(network.decoder, network.levels)), family.conventions
    )
    encoder = TorchGraph(family.network())

    def by_torch(policy: MaskPolicy) -> PromptableSegmenter:
        return PromptableSegmenter(
            "small", family.network(), CPU, policy, prompt_batch=3, checkpoint_sha256=SHA256
        )

    def by_openvino(policy: MaskPolicy) -> OpenVinoSegmenter:
        return OpenVinoSegmenter(
            "small", encoder, decoder, family.conventions, policy, prompt_batch=3, checkpoint_sha256=SHA256
        )

    return Both(by_torch, by_openvino)


@pytest.mark.parametrize("policy", ["best", "single"])
def test_masks_of_every_kind_of_prompt_are_those_of_torch(both: Both, policy: MaskPolicy) -> None:
    by_torch, by_openvino = both.by_torch(policy), both.by_openvino(policy)
    theirs, ours = by_torch.embed(IMAGES), by_openvino.embed(IMAGES)

    for name, prompt in PROMPTS.items():
        for their, our in zip(theirs, ours, strict=True):
            their_logits, their_score = by_torch.low_res_logits(their, prompt)
            our_logits, our_score = by_openvino.low_res_logits(our, prompt)
            assert relative_error(torch.from_numpy(our_logits), their_logits) < 1e-4, name
            assert abs(float(our_score) - float(their_score)) < 1e-5
    work = list(PROMPTS.values())
    for expected, found in zip(
        by_torch.decode([(one, work) for one in theirs]),
        by_openvino.decode([(one, work) for one in ours]),
        strict=True,
    ):
        for [mask], [other] in zip(expected, found, strict=True):
            assert (mask.pixels() != other.pixels()).mean() < 1e-3


@pytest.mark.parametrize("count", [1, 8, 32])
def test_any_number_of_prompts_is_decoded_as_each_of_them_alone(both: Both, count: int) -> None:
    segmenter = both.by_openvino("best")
    [embedding] = segmenter.embed(IMAGES[:1])
    prompts = [Prompt(box=Box(2.0 * n, n, 60 + n, 50 + n)) for n in range(count)]

    [together] = segmenter.decode([(embedding, prompts)])

    for number in {0, count // 2, count - 1}:
        [[[alone]]] = segmenter.decode([(embedding, [prompts[number]])])
        assert together[number][0].score == pytest.approx(alone.score, abs=1e-5)
        assert (together[number][0].pixels() != alone.pixels()).mean() < 1e-3


def test_everything_and_all_candidates_are_those_of_torch(both: Both) -> None:
    by_torch, by_openvino = both.by_torch("best"), both.by_openvino("best")
    [their], [our] = by_torch.embed(IMAGES[:1]), by_openvino.embed(IMAGES[:1])
    point, everything = Prompt(points=(Point(40, 31, 1),)), Everything(2, 0, 0, 0.003, box_nms_thresh=1)

    expected, found = by_torch.candidates(their, point), by_openvino.candidates(our, point)

    for theirs, ours in zip(expected, found, strict=True):
        assert ours.shape == tuple(theirs.shape)
    assert np.allclose(found[1], expected[1], atol=1e-5)
    counts = [
        len(one.decode([(embedding, [Prompt(everything=everything)])])[0][0])
        for one, embedding in ((by_torch, their), (by_openvino, our))
    ]
    assert counts[0] == counts[1] > 0


def test_an_embedding_of_one_engine_serves_the_other(both: Both) -> None:
    by_torch, by_openvino = both.by_torch("best"), both.by_openvino("best")
    [their] = by_torch.embed(IMAGES[:1])

    again = by_openvino.unpacked(by_torch.packed(their))

    assert by_openvino.embedding_key == by_torch.embedding_key
    assert by_openvino.embedding_bytes == by_torch.embedding_bytes
    prompts = [PROMPTS["box"]]
    [[[mask]]], [[[other]]] = by_torch.decode([(their, prompts)]), by_openvino.decode([(again, prompts)])
    assert (mask.pixels() != other.pixels()).mean() < 1e-3
    assert by_openvino.packed(again).keys() == by_torch.packed(their).keys()


class DecodedWrongly(Decoder):
    """Other logits if it is exported than if it is called."""

    def all_masks(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        logits, scores = super().all_masks(*given)  # type: ignore[arg-type]
        factor = 1.01 if is_traced() else 1.0
        return logits * factor, scores


def test_a_decoder_that_is_converted_wrongly_is_refused_and_not_kept(tmp_path: Path) -> None:
    sam = with_positions(tiny_sam())
    network = replace(sam_network(sam), decoder=DecodedWrongly(sam.mask_decoder, sam.prompt_encoder))
    encoder = TorchGraph(sam_network(with_positions(tiny_sam())))

    with pytest.raises(
        ModelUnavailable, match=r"converts this decoder wrongly: .* output 1 of 2 is 1.0% off"
    ):
        decoder_graphs(network, of.SAM, encoder, SHA256, tmp_path)

    assert list(tmp_path.iterdir()) == []


# From a checkpoint to masks

PRECISION: Literal["bf16", "fp32"] = "bf16" if BFLOAT16_FLAGS & cpu_flags() else "fp32"
IMAGE = image_of(40, 57)
ASKED = {
    "points": Prompt(points=(Point(20, 15, 1), Point(3, 3, 0))),
    "box": Prompt(box=Box(5, 4, 30, 22)),
    "mask": Prompt(mask=MASK),
    "refined": Prompt(points=(Point(20, 15, 1),), refine=2),
}


@dataclass(frozen=True)
class TinyModel(SamModel):
    """A factory of the tiny model, whose checkpoints sampoll does not know."""

    def build(self, weights: Mapping[str, torch.Tensor]) -> Network:
        sam = tiny_sam()
        sam.load_state_dict(dict(weights))
        return sam_network(sam)


TINY = TinyModel(Checkpoint("tiny", "tiny.pth", "", None, ""), 32)


class Files(NamedTuple):
    """A checkpoint, and where its conversion is kept."""

    options: ModelSettings
    first: BaseSegmenter
    """The segmenter that was made when it was converted."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    folder = tmp_path_factory.mktemp("tiny")
    torch.save(with_positions(tiny_sam()).state_dict(), folder / "tiny.pth")
    options = ModelSettings(
        checkpoint=folder / "tiny.pth",
        home=folder / "home",
        device="cpu",
        engine="openvino",
        precision=PRECISION,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sampoll.models.shared.factory.check_model", lambda *given: None)
        yield Files(options, TINY(options))


def masks_of(segmenter: BaseSegmenter) -> list[str]:
    """Of ASKED, their digests."""
    [masks] = segmenter.decode([(segmenter.embed([IMAGE])[0], list(ASKED.values()))])
    return [hashlib.sha256(mask.packed.tobytes()).hexdigest() for [mask] in masks]


def test_a_converted_model_keeps_the_limits_of_its_precision(files: Files) -> None:
    _, found = compare(OriginalSam(with_positions(tiny_sam())), {"it": files.first}, [IMAGE])
    # Masks of random weights hang on noise: their limits are for trained ones.
    gate = replace(GATES[PRECISION], iou=0.9, flips=0.1)
    assert found["it"].broken(gate) == []


SECOND_START = """
import hashlib, json, pickle, sys
from sampoll.config.settings.model import ModelSettings
from sampoll.models.checkpoints import Checkpoint
from sampoll.models.sam import SamModel
from sampoll.models.shared import factory

factory.check_model = lambda *given: None
model = SamModel(Checkpoint("tiny", "tiny.pth", "", None, ""), 32)
segmenter = model(ModelSettings.model_validate_json(sys.argv[1]))
with open(sys.argv[2], "rb") as work:
    image, prompts = pickle.load(work)
[masks] = segmenter.decode([(segmenter.embed([image])[0], prompts)])
digests = [hashlib.sha256(mask.packed.tobytes()).hexdigest() for [mask] in masks]
json.dump({"torch": bool({"torch", "segment_anything"} & set(sys.modules)), "masks": digests}, sys.stdout)
"""


def test_a_second_start_gives_the_same_masks_and_imports_no_torch(files: Files, tmp_path: Path) -> None:
    work = tmp_path / "work.pickle"
    work.write_bytes(pickle.dumps((IMAGE, list(ASKED.values()))))
    program = tmp_path / "start.py"
    program.write_text(SECOND_START)
    expected = masks_of(files.first)

    for _ in range(2):  # the first one keeps what it compiles
        done = subprocess.run(
            [sys.executable, program, files.options.model_dump_json(), work],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"torch": False, "masks": expected}
    blobs = blobs_of(files)
    assert len(blobs) == 3  # of the encoder, and of two graphs of the decoder
    assert sum(blob.stat().st_size for blob in blobs) < 10**6


def blobs_of(files: Files) -> list[Path]:
    assert files.options.home is not None
    return list(files.options.home.rglob("*.blob"))


def changed(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def test_a_blob_that_is_damaged_is_made_again(files: Files) -> None:
    expected = masks_of(TINY(files.options))
    damaged = {blob: changed(blob.read_bytes()) for blob in blobs_of(files)}
    for blob, content in damaged.items():
        blob.write_bytes(content)

    assert masks_of(TINY(files.options)) == expected
    assert [blob for blob, content in damaged.items() if blob.read_bytes() == content] == []


@pytest.mark.parametrize("name", ["encoder.bin", "prompts.bin"])
@pytest.mark.parametrize("damage", [changed, truncated])
def test_weights_that_are_damaged_beside_a_blob_are_converted_again(
    files: Files, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[bytes], bytes]
) -> None:
    expected = masks_of(TINY(files.options))
    [weights] = {blob.with_name(name) for blob in blobs_of(files) if blob.with_name(name).exists()}
    weights.write_bytes(damage(weights.read_bytes()))

    assert masks_of(TINY(files.options)) == expected
    assert "is damaged, and is converted again" in caplog.text


def test_a_graph_that_has_a_blob_is_not_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = masks_of(TINY(files.options))
    read: list[str] = []
    read_graph = converted_models.Files.graph

    def recorded(files: converted_models.Files, name: str) -> Any:
        read.append(name)
        return read_graph(files, name)

    monkeypatch.setattr(converted_models.Files, "graph", recorded)

    assert masks_of(TINY(files.options)) == expected
    assert read == [WITH_MASKS]


def test_another_checkpoint_at_the_same_place_is_another_model(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.options.checkpoint or tmp_path
    before = path.read_bytes()
    torch.save(tiny_sam(seed=1).state_dict(), path)
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr("sampoll.models.shared.conversion.convert", raising)
        with pytest.raises(Converting, match=sha256):
            TINY(files.options)
    finally:
        path.write_bytes(before)


class Converting(Exception):
    """What is converted, instead of its conversion."""


def raising(
    network: Network, conventions: Conventions, precision: str, streams: int, sha256: str, cache: Path
) -> None:
    raise Converting(sha256)
