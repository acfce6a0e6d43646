"""Real photographs through the real command, against outlines drawn by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data
from support.folders import Folders, drop_pair, read_opex
from support.images import encoded, image_of, iou, read_mask
from support.process import sampoll

from sampoll.core.results import BoolMask

ASTRONAUT_HEAD = [
    (180, 30), (200, 20), (225, 16), (255, 20), (280, 32), (296, 50), (300, 75), (294, 100), (282, 118),
    (276, 140), (268, 160), (256, 178), (240, 189), (214, 188), (190, 170), (178, 150), (168, 118), (156, 95),
    (153, 72), (160, 50),
]  # fmt: skip
COIN = [(24, 54), (30, 42), (40, 35), (50, 34), (60, 40), (66, 52), (64, 62), (56, 70), (44, 73), (32, 69)]
ROCKET = [(321, 150), (327, 163), (328, 200), (330, 290), (334, 405), (310, 405), (313, 290), (314, 170)]

CASES = {
    "astronaut": (ASTRONAUT_HEAD, {"points": [{"x": 220, "y": 110, "label": 1}]}, 0.85),
    "coins": (COIN, {"box": {"x0": 18, "y0": 26, "x1": 74, "y1": 82}}, 0.85),
    "rocket": (ROCKET, {"box": {"x0": 300, "y0": 140, "x1": 345, "y1": 415}}, 0.75),
}


def photograph(name: str) -> np.ndarray:
    image = getattr(data, name)()
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def outlined(points: list[tuple[int, int]], shape: tuple[int, int]) -> BoolMask:
    canvas = np.zeros(shape, np.uint8)
    return cv2.fillPoly(canvas, [np.array(points, np.int32)], 1).astype(np.bool_)


def test_grabcut_finds_what_a_person_would_outline(folders: Folders) -> None:
    for name, (_, prompt, _) in CASES.items():
        drop_pair(folders.input, name, prompt, image=photograph(name))

    assert sampoll("run", *folders.flags, "--model", "grabcut").returncode == 0

    for name, (outline, _, at_least) in CASES.items():
        mask = read_mask(folders.output / f"{name}.png")
        assert iou(mask, outlined(outline, mask.shape)) > at_least, name


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the official one, of a randomly initialised vit_b."""
    import torch
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "sam_vit_b_01ec64.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    return path


@pytest.mark.campaign
def test_sam_runs_from_a_checkpoint_file_to_masks(folders: Folders, checkpoint: Path) -> None:
    prompt = {
        "prompts": [
            {"box": {"x0": 4, "y0": 4, "x1": 60, "y1": 50}},
            {"points": [{"x": 9, "y": 9, "label": 1}]},
        ]
    }
    drop_pair(folders.input, "a", prompt, image=image_of(64, 80))

    run = sampoll("run", *folders.flags, "--checkpoint", checkpoint, "--device", "cpu", "--engine", "torch")

    assert run.returncode == 0, run.stderr
    assert folders.results == ["a.0.png", "a.1.png", "a.json"]
    meta = read_opex(folders.output / "a.json").meta
    assert (meta["model"], meta["device"], len(meta["checkpoint_sha256"])) == ("vit_b", "cpu", 64)
    assert json.loads(meta["seconds"])["embedding"] > 0


def test_a_checkpoint_of_another_model_is_exit_code_69_and_names_the_right_one(
    folders: Folders, checkpoint: Path
) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, "--model", "vit_l", "--checkpoint", checkpoint)

    assert run.returncode == 69
    assert "holds vit_b, not vit_l: use --model vit_b" in run.stderr
    assert folders.waiting == ["a.jpg", "a.json"]


@pytest.mark.campaign
def test_an_engine_is_compared_with_the_original(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photograph("coffee")[::4, ::4]))

    run = sampoll(
        *("models", "compare", tmp_path / "a.png", "--checkpoint", checkpoint, "--device", "cpu"),
        *("--engine", "torch", "--precision", "fp32", "--json", tmp_path / "figures.json"),
    )

    assert run.returncode == 0, run.stderr
    assert "| segment_anything, fp32 | " in run.stdout
    assert "| torch, fp32 | " in run.stdout
    found = json.loads((tmp_path / "figures.json").read_text())["variants"]["torch, fp32"]
    assert found["logits_error"] < 1e-4
    assert found["mean_iou"] > 0.9999
    assert len(found["seconds"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "grabcut"), 2, "--model grabcut is none of edgetam, mobile_sam, "),
        (("--model", "vit_x"), 2, "--model vit_x is none of edgetam, mobile_sam, "),
        ((), 69, "vit_b needs its weights: run `sampoll models pull vit_b`"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(image_of()))
    run = sampoll("models", "compare", tmp_path / "a.png", *arguments)
    assert run.returncode == code
    assert message in run.stderr
