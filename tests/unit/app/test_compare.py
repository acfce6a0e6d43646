"""Which variants of a model are compared."""

import pytest

from sampoll.app import compare as comparison
from sampoll.config.settings.model import ModelSettings


@pytest.mark.parametrize(
    ("engine", "precision", "expected"),
    [
        ("auto", "auto", [("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16")]),
        ("openvino", "auto", [("openvino", "fp32"), ("openvino", "bf16")]),
        ("auto", "bf16", [("torch", "bf16"), ("openvino", "bf16")]),
        ("auto", "int8", [("openvino", "int8")]),
        ("auto", "fp16", [("torch", "fp16")]),
        ("torch", "bf16", [("torch", "bf16")]),
    ],
)
def test_the_requested_variants_or_all_that_suit_the_device_are_compared(
    monkeypatch: pytest.MonkeyPatch, engine: str, precision: str, expected: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr("sampoll.models.shared.device.cpu_flags", lambda: frozenset({"avx512_bf16"}))
    options = {"device": "cpu", "engine": engine, "precision": precision}
    assert comparison._chosen(ModelSettings.model_validate(options)) == expected
