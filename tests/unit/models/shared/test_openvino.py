"""The encoder by OpenVINO against the one in torch."""

import copy
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.images import image_of
from support.process import TESTS
from support.tiny import relative_error, tiny_sam, with_positions

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Box, Prompt
from sampoll.models.sam.network import sam_network
from sampoll.models.shared import device, openvino_graph
from sampoll.models.shared.conversion import encoder_graph
from sampoll.models.shared.converted_models import ENCODER, INT8, keep, place_of
from sampoll.models.shared.converted_models import quantized as kept_in_int8
from sampoll.models.shared.device import BFLOAT16_FLAGS, chosen_engine, chosen_precision
from sampoll.models.shared.network import TorchEncoder
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.quantize import quantized, quantized_encoder
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.vit import Encoder, exportable

CPU = torch.device("cpu")
SHA256 = "ab" * 32


def int8_encoder(cache: Path) -> OpenVinoEncoder:
    kept = kept_in_int8(SHA256, cache)
    return OpenVinoEncoder(kept.graphs[ENCODER], 64, "int8", kept.sha256)


@pytest.fixture(scope="module")
def model() -> Any:
    return converted(exportable(with_positions(tiny_sam()).image_encoder))


@pytest.mark.parametrize(("precision", "largest_error"), [("fp32", 1e-5), ("bf16", 2e-2)])
@torch.inference_mode()
def test_embeddings_are_those_of_the_original(model: Any, precision: str, largest_error: float) -> None:
    batch = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    expected = with_positions(tiny_sam()).image_encoder(batch)

    encoder = OpenVinoEncoder(model, 64, precision)
    [embeddings] = encoder(batch)

    assert embeddings.shape == (3, 32, 4, 4)
    assert embeddings.dtype == torch.float32
    assert relative_error(embeddings, expected) < largest_error
    first = embeddings.clone()
    encoder(torch.zeros(1, 3, 64, 64))
    assert torch.equal(embeddings, first)  # not a place that the next call writes to


@torch.inference_mode()
def test_images_that_are_computed_at_the_same_time_have_the_embeddings_of_each_alone(model: Any) -> None:
    batch = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(2))

    [together] = OpenVinoEncoder(model, 64, "fp32", streams=2)(batch)

    [one_by_one] = OpenVinoEncoder(model, 64, "fp32")(batch)
    assert relative_error(together, one_by_one) < 1e-5


class Request:
    """A request of OpenVINO's, which fails for an image of zeros."""

    def __init__(self) -> None:
        self.is_busy = False

    def start_async(self, inputs: Sequence[Any], *, share_inputs: bool) -> None:
        assert not self.is_busy
        self.is_busy, self.results = True, {0: inputs[0]}

    def wait(self) -> None:
        self.is_busy = False
        if not self.results[0].any():
            raise RuntimeError("out of memory")


def test_after_an_image_that_fails_the_next_ones_are_computed(model: Any) -> None:
    encoder = OpenVinoEncoder(model, 64, "fp32", streams=2)
    encoder._graph._requests = [Request(), Request()]
    images = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])

    with pytest.raises(RuntimeError):
        encoder(images)

    assert torch.equal(encoder(images[1:])[0], images[1:])


def threads_of(streams: int) -> dict[str, Any]:
    options = openvino_graph.compile_options("fp32", streams)
    return {name: value for name, value in options.items() if name != "INFERENCE_PRECISION_HINT"}


def test_openvino_takes_the_usable_cores_and_pins_no_thread_if_their_time_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino_graph, "allowed_cores", lambda: 16)
    monkeypatch.setattr(openvino_graph, "usable_cores", lambda: 16)
    assert threads_of(1) == {"INFERENCE_NUM_THREADS": 16}
    in_streams = {"INFERENCE_NUM_THREADS": 16, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": 2}
    assert threads_of(2) == in_streams

    monkeypatch.setattr(openvino_graph, "usable_cores", lambda: 4)
    limited = {"INFERENCE_NUM_THREADS": 4, "ENABLE_CPU_PINNING": False}
    assert threads_of(1) == limited


class Levels(TorchEncoder):
    """Three levels of different shapes; the second one is the input of the others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.img_size = 64
        self.patches = torch.nn.Conv2d(3, 8, 8, 8)
        self.finer, self.coarser = torch.nn.ConvTranspose2d(8, 4, 2, 2), torch.nn.Conv2d(8, 16, 2, 2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        middle = self.patches(images)
        return self.finer(middle), middle, self.coarser(middle)


@torch.inference_mode()
def test_all_levels_of_an_encoder_come_in_its_order() -> None:
    encoder = Levels().eval()
    graph, batch = converted(encoder), torch.randn(2, 3, 64, 64)

    levels = OpenVinoEncoder(graph, 64, "fp32")(batch)

    assert [tuple(level.shape) for level in levels] == [(2, 4, 16, 16), (2, 8, 8, 8), (2, 16, 4, 4)]
    for ours, theirs in zip(levels, encoder(batch), strict=True):
        assert relative_error(ours, theirs) < 1e-5


def test_a_segmenter_can_use_the_openvino_encoder(model: Any) -> None:
    sam, image, prompt = with_positions(tiny_sam()), image_of(40, 57), Prompt(box=Box(5, 4, 30, 22))
    by_torch = PromptableSegmenter("sam", sam_network(copy.deepcopy(sam)), CPU)
    by_openvino = PromptableSegmenter(
        "sam", sam_network(sam), CPU, encoder=OpenVinoEncoder(model, 64, "fp32")
    )

    ours, theirs = (s.decode([(s.embed([image])[0], [prompt])])[0][0][0] for s in (by_openvino, by_torch))

    assert (ours.pixels() != theirs.pixels()).mean() < 1e-3
    assert (by_torch.info.engine, by_openvino.info.engine) == ("torch", "openvino")
    with pytest.raises(ModelUnavailable, match="--compile is for CUDA devices"):
        by_openvino.compile_for(1)


def test_the_error_of_a_model_that_cannot_be_converted_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(Encoder, "forward", fail)
    with pytest.raises(ModelUnavailable, match=r"use --engine torch .*no such operation"):
        converted(exportable(tiny_sam().image_encoder))


CONVERT = """
import sys
from support.tiny import tiny_sam
from sampoll.models.shared.vit import exportable
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
OpenVinoEncoder(converted(exportable(tiny_sam().image_encoder)), 64, "fp32")
assert "openvino" in sys.modules
"""


@pytest.mark.slow
def test_a_conversion_opens_no_network_connection(tmp_path: Path, strace: str) -> None:
    trace = ("-f", "-qq", "-e", "trace=socket,connect", "-o", os.fspath(tmp_path / "trace"))
    subprocess.run(
        [strace, *trace, sys.executable, "-c", CONVERT],
        env={**os.environ, "PYTHONPATH": os.fspath(TESTS), "HOME": os.fspath(tmp_path / "home")},
        check=True,
    )
    calls = (tmp_path / "trace").read_text()
    assert "AF_INET" not in calls
    assert not (tmp_path / "home").exists()  # where an identity would be kept


ENDED = """
import signal
from support.tiny import tiny_sam
from sampoll.models.shared.vit import exportable
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
graph = converted(exportable(tiny_sam().image_encoder))
first, second = (OpenVinoEncoder(graph, 64, "bf16") for _ in range(2))
del first
del second
signal.signal(signal.SIGHUP, lambda *_: print("handled"))
signal.raise_signal(signal.SIGHUP)
"""


@pytest.mark.skipif(not BFLOAT16_FLAGS & device.cpu_flags(), reason="needs a processor with bfloat16")
def test_a_signal_is_handled_after_encoders_have_ended_in_the_order_of_their_beginning() -> None:
    environment = {**os.environ, "PYTHONPATH": os.fspath(TESTS)}

    ended = subprocess.run([sys.executable, "-c", ENDED], env=environment, capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended.stderr


# Which engine


@pytest.mark.parametrize(
    ("name", "where", "precision", "flags", "engine"),
    [
        ("auto", "cpu", "bf16", {"avx512_bf16"}, "openvino"),
        ("auto", "cpu", "bf16", {"amx_bf16"}, "openvino"),
        ("auto", "cpu", "bf16", {"avx2"}, "torch"),
        ("auto", "cpu", "fp32", set(), "openvino"),
        ("auto", "cpu", "fp16", {"avx512_bf16"}, "torch"),
        ("auto", "cuda:0", "bf16", {"avx512_bf16"}, "torch"),
        ("auto", "cpu", "int8", set(), "openvino"),
        ("openvino", "cpu", "int8", set(), "openvino"),
        ("torch", "cpu", "fp32", set(), "torch"),
        ("openvino", "cpu", "fp32", set(), "openvino"),
    ],
)
def test_device_and_precision_decide_the_engine(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    where: str,
    precision: str,
    flags: set[str],
    engine: str,
) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset(flags))
    assert chosen_engine(name, where, precision) == engine


def test_auto_is_torch_where_openvino_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    assert chosen_engine("auto", "cpu", "fp32") == "torch"

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelUnavailable, match=r"pip install 'sampoll\[openvino\]', or use --engine torch"):
        encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, Path("nowhere"))


@pytest.mark.parametrize(
    ("where", "precision", "message"),
    [
        ("cuda:0", "bf16", "--engine openvino is for CPUs, and the device is cuda:0: use --device cpu"),
        ("cpu", "fp16", "--engine openvino has no fp16: use --precision fp32, bf16 or int8"),
    ],
)
def test_what_openvino_cannot_do_is_one_clear_error(where: str, precision: str, message: str) -> None:
    with pytest.raises(ModelUnavailable, match=message):
        chosen_engine("openvino", where, precision)


def test_a_processor_without_the_precision_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = SimpleNamespace(get_property=lambda _: SimpleNamespace(to_string=lambda: "f32"))
    core = SimpleNamespace(compile_model=lambda *_: compiled)
    monkeypatch.setattr(openvino_graph, "core", lambda: core)
    with pytest.raises(ModelUnavailable, match="OpenVINO does not compute in bf16 on this processor"):
        OpenVinoEncoder(None, 64, "bf16")


# int8


def truncated(content: bytes) -> bytes:
    return content[:100]


def changed_at_equal_size(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def test_int8_is_for_openvino_on_a_cpu() -> None:
    for name, where in (("torch", "cpu"), ("auto", "cuda:0")):
        with pytest.raises(ModelUnavailable, match="--precision int8 is for CPUs with OpenVINO"):
            chosen_engine(name, where, "int8")
    assert chosen_precision("int8", "cpu") == "int8"


def test_an_encoder_in_int8_is_close_and_the_info_names_the_precision(model: Any, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    batches = [torch.randn(1, 3, 64, 64, generator=generator) for _ in range(3)]

    in_int8 = quantized(model, batches, lambda batch: batch.numpy())
    keep(INT8, {ENCODER: in_int8}, SHA256, tmp_path)
    encoder = int8_encoder(tmp_path)

    expected = with_positions(tiny_sam()).image_encoder(batches[0])
    assert 1e-3 < relative_error(encoder(batches[0])[0], expected) < 0.2
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU, precision="int8", encoder=encoder)
    assert (segmenter.info.precision, segmenter.info.engine) == ("int8", "openvino")


def test_int8_says_how_far_it_is_off_and_is_refused_if_it_gives_no_numbers(
    model: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, images = sam_network(tiny_sam()).rules, [image_of(40, 57), image_of(64, 64, seed=1)]
    with caplog.at_level(logging.INFO, logger="sampoll"):
        quantized_encoder(model, rules, images, lambda image: image)
    [error] = [each.__dict__["relative_error"] for each in caplog.records if hasattr(each, "relative_error")]
    assert 0.001 < error < 0.5

    monkeypatch.setattr(
        OpenVinoEncoder, "__call__", lambda encoder, images: (torch.full((1, 2, 2), float("inf")),)
    )
    with pytest.raises(ModelUnavailable, match="cannot be computed in int8: use --precision bf16 or fp32"):
        quantized_encoder(model, rules, images, lambda image: image)


@pytest.mark.parametrize("damage", [truncated, changed_at_equal_size])
def test_a_damaged_int8_encoder_is_one_clear_error(
    model: Any, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    keep(INT8, {ENCODER: model}, SHA256, tmp_path)
    weights = place_of(INT8, SHA256, tmp_path) / "encoder.bin"
    weights.write_bytes(damage(weights.read_bytes()))

    with pytest.raises(ModelUnavailable, match=r"is damaged \(.*\): make one with `sampoll models quantize"):
        kept_in_int8(SHA256, tmp_path)


def test_an_int8_encoder_that_is_made_again_is_another_model(model: Any, tmp_path: Path) -> None:
    infos, keys, place = [], [], place_of(INT8, SHA256, tmp_path)
    other = converted(exportable(with_positions(tiny_sam(seed=1)).image_encoder))
    for graph in (model, other, model):
        keep(INT8, {ENCODER: graph}, SHA256, tmp_path, replaces=True)
        segmenter = PromptableSegmenter(
            "sam",
            sam_network(tiny_sam()),
            CPU,
            precision="int8",
            encoder=int8_encoder(tmp_path),
            checkpoint_sha256=SHA256,
        )
        infos.append(segmenter.info)
        keys.append(segmenter.embedding_key)

    assert keys[0] == keys[2] != keys[1]
    assert infos[0] == infos[2] != infos[1]
    assert infos[0].encoder_sha256 != infos[1].encoder_sha256
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_engines_of_one_precision_share_their_embeddings(model: Any) -> None:
    by_torch = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU, checkpoint_sha256=SHA256)
    encoder = OpenVinoEncoder(model, 64, "fp32")
    by_openvino = PromptableSegmenter(
        "sam", sam_network(tiny_sam()), CPU, encoder=encoder, checkpoint_sha256=SHA256
    )
    in_bf16 = PromptableSegmenter(
        "sam", sam_network(tiny_sam()), CPU, precision="bf16", checkpoint_sha256=SHA256
    )

    assert by_torch.embedding_key == by_openvino.embedding_key != in_bf16.embedding_key


def test_int8_is_made_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="make one with `sampoll models quantize --checkpoint FILE"):
        kept_in_int8(SHA256, tmp_path)


def test_quantizing_without_nncf_says_what_to_install(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModelUnavailable, match=r"int8 needs NNCF: pip install 'sampoll\[int8\]'"):
        quantized(model, [], lambda batch: batch)
