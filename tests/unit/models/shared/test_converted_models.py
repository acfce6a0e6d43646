"""Encoders are converted once for a checkpoint, are right, and are kept whole."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny import tiny_sam, with_positions

from sampoll.core.errors import ModelUnavailable
from sampoll.inputs.photograph import photograph
from sampoll.models.sam.network import sam_network
from sampoll.models.shared import conversion
from sampoll.models.shared.conversion import encoder_graph, prepared_photograph
from sampoll.models.shared.converted_models import ENCODER, ENCODERS, keep
from sampoll.models.shared.network import Network
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.vit import Encoder

SHA256 = "ab" * 32


def test_a_checkpoint_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, cache = sam_network(with_positions(tiny_sam())), tmp_path / "a" / "openvino"
    batch = torch.randn(1, 3, 64, 64)
    with caplog.at_level(logging.INFO, logger="sampoll"):
        [first] = OpenVinoEncoder(encoder_graph(network, "fp32", SHA256, cache), 64, "fp32")(batch)
        assert [record.message.split(" ")[0] for record in caplog.records] == ["converting", "converted"]

        monkeypatch.setattr(conversion, "converted", None)
        [again] = OpenVinoEncoder(encoder_graph(network, "fp32", SHA256, cache), 64, "fp32")(batch)

    assert torch.equal(first, again)
    assert len(caplog.records) == 2
    assert [path.name[:16] for path in cache.iterdir()] == [SHA256[:16]]


def test_each_checkpoint_has_its_own_folder(tmp_path: Path) -> None:
    encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, tmp_path)
    encoder_graph(sam_network(tiny_sam()), "fp32", "cd" * 32, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def truncated(content: bytes) -> bytes:
    return content[:100]


def numbers_for_digests(content: bytes) -> bytes:
    return json.dumps(dict.fromkeys(json.loads(content), 1) | {"checkpoint": SHA256}).encode()


def a_list(content: bytes) -> bytes:
    return b"[]"


def changed_at_equal_size(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("encoder.bin", truncated),
        ("encoder.bin", changed_at_equal_size),
        ("encoder.xml", changed_at_equal_size),
        ("encoder.xml", None),
        ("sha256.json", truncated),
        ("sha256.json", numbers_for_digests),
        ("sha256.json", a_list),
    ],
)
def test_a_damaged_conversion_is_made_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[bytes], bytes] | None,
) -> None:
    encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, tmp_path)
    [path] = tmp_path.glob(f"*/{name}")
    whole = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(whole))

    OpenVinoEncoder(encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, tmp_path), 64, "fp32")

    assert "is damaged, and is converted again" in caplog.text
    caplog.clear()
    encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, tmp_path)
    assert caplog.text == ""


def test_a_conversion_of_another_checkpoint_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = SHA256[:16] + "cd" * 24  # with the same beginning, which names the directory
    encoder_graph(sam_network(tiny_sam(seed=1)), "fp32", theirs, tmp_path)

    encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, tmp_path)

    assert "is damaged, and is converted again" in caplog.text


def test_a_conversion_that_is_changed_after_it_was_read_changes_nothing(tmp_path: Path) -> None:
    network = sam_network(with_positions(tiny_sam()))
    batch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    [expected] = OpenVinoEncoder(encoder_graph(network, "fp32", SHA256, tmp_path), 64, "fp32")(batch)
    model = encoder_graph(network, "fp32", SHA256, tmp_path)
    [weights] = tmp_path.glob("*/encoder.bin")

    with weights.open("r+b") as file:
        file.write(bytes(weights.stat().st_size))
        file.truncate(10)

    assert torch.equal(OpenVinoEncoder(model, 64, "fp32")(batch)[0], expected)


def test_a_model_is_converted_even_if_the_cache_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")

    OpenVinoEncoder(
        encoder_graph(sam_network(tiny_sam()), "fp32", SHA256, tmp_path / "file" / "x"),
        64,
        "fp32",
    )

    assert "cannot keep the converted encoder" in caplog.text


def test_a_second_conversion_keeps_the_files_of_the_first(tmp_path: Path) -> None:
    model = converted(sam_network(tiny_sam()).encoder(torch.float32))
    keep(ENCODERS["fp32"], {ENCODER: model}, SHA256, tmp_path)
    [weights] = tmp_path.glob("*/encoder.bin")
    before = weights.stat()
    keep(ENCODERS["fp32"], {ENCODER: model}, SHA256, tmp_path)
    assert weights.stat() == before
    assert len(list(tmp_path.iterdir())) == 1


class ConvertedWrongly(Encoder):
    """Another function if it is exported than if it is called: as OpenVINO makes of some forms of attention,
    without any error."""

    factor = 1.01

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        [level] = super().forward(images)
        return (level * self.factor if torch.compiler.is_compiling() else level,)


class ConvertedToNoNumbers(ConvertedWrongly):
    factor = float("nan")


def with_encoder(kind: type[Encoder]) -> Network:
    sam = with_positions(tiny_sam())
    return replace(sam_network(sam), encoder=lambda dtype: kind(sam.image_encoder, dtype))


@pytest.mark.parametrize(("kind", "error"), [(ConvertedWrongly, "1.0%"), (ConvertedToNoNumbers, "nan%")])
def test_a_graph_that_computes_something_else_than_torch_is_refused_and_not_kept(
    tmp_path: Path, kind: type[Encoder], error: str
) -> None:
    with pytest.raises(
        ModelUnavailable,
        match=rf"converts this encoder wrongly: .* output 1 of 1 is {error} off .* use --engine torch",
    ):
        encoder_graph(with_encoder(kind), "fp32", SHA256, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_it_is_compared_on_the_photograph_as_the_family_prepares_it() -> None:
    rules = sam_network(tiny_sam()).rules
    prepared = prepared_photograph(rules)
    pixels = photograph().pixels()
    assert torch.equal(prepared[0], rules.prepared(pixels, torch.device("cpu"), exact=True))
    assert prepared.std() > 0.1
