"""The old predicting commands with a real checkpoint, against what they computed: the first of SamPredictor's
masks, in single precision."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from segment_anything import SamPredictor, sam_model_registry
from support.folders import names_in, read_opex
from support.images import encoded, read_mask
from support.process import environment, until
from support.redis_clients import LateSubscriber
from support.redis_servers import running_server

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
AS_EVER = {"SAMPOLL_MASK_POLICY": "first", "SAMPOLL_PRECISION": "fp32", "SAMPOLL_ENGINE": "torch"}
PROMPT = {"points": [{"x": 200, "y": 90, "label": 1}, {"x": 20, "y": 20, "label": 0}]}
WIDTH, HEIGHT = 451, 300
PROMPTS: dict[str, Any] = {
    "cat": PROMPT,
    "edge": {"points": [{"x": WIDTH, "y": HEIGHT, "label": 1}]},
    "beyond": {"points": [{"x": -20, "y": 500.5, "label": True}, {"x": "200", "y": "90", "label": 1}]},
    "part": {"box": {"x0": 300, "y0": -40, "x1": 600, "y1": 200}},
    "outside": {"box": {"x0": 500, "y0": 10, "x1": 600, "y1": 200}},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The official vit_b, randomly initialised."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "sam_vit_b_01ec64.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def photograph() -> bytes:
    return encoded(skimage.data.chelsea(), "JPEG", quality=95)


@pytest.fixture(scope="module")
def predicted(checkpoint: Path, photograph: bytes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Computes the mask of the old command for an old prompt."""
    path = tmp_path_factory.mktemp("photo") / "cat.jpg"
    path.write_bytes(photograph)
    predictor = SamPredictor(sam_model_registry["vit_b"](checkpoint=str(checkpoint)))
    predictor.set_image(np.array(Image.open(path).convert("RGB")))

    def predict(prompt: Any) -> Any:
        if "points" in prompt:
            points = prompt["points"]
            masks, _, _ = predictor.predict(
                point_coords=np.array([[point["x"], point["y"]] for point in points]),
                point_labels=np.array([point["label"] for point in points]),
            )
        else:
            masks, _, _ = predictor.predict(
                box=np.array([prompt["box"][key] for key in ("x0", "y0", "x1", "y1")])
            )
        return masks[0]

    return predict


def flags(checkpoint: Path) -> list[str]:
    return ["--model", str(checkpoint), "--model_type", "vit_b"]


@pytest.mark.campaign
def test_sam_predict_poll_writes_the_masks_of_the_old_command(
    tmp_path: Path, checkpoint: Path, photograph: bytes, predicted: Any
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    for name, prompt in PROMPTS.items():
        (source / f"{name}.jpg").write_bytes(photograph)
        (source / f"{name}.prompt").write_text(json.dumps(prompt))

    run = subprocess.run(
        [BIN / "sam_predict_poll", *flags(checkpoint), "--prediction_i", source, "--prediction_o", target],
        env=environment(AS_EVER),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert names_in(target) == sorted(
        f"{name}{suffix}" for name in PROMPTS for suffix in (".jpg", ".json", ".png", ".prompt")
    )
    assert f"Start processing: {source / 'cat.jpg'}\n" in run.stdout
    for name, prompt in PROMPTS.items():
        assert (read_mask(target / f"{name}.png") == predicted(prompt)).mean() > 0.999, name
    segmenter = json.loads(read_opex(target / "cat.json").meta["segmenter"])
    assert segmenter == {"type": "sam", "model_type": "vit_b", "model_file": str(checkpoint)}


def test_sam_predict_redis_replies_with_the_masks_of_the_old_command(
    tmp_path: Path, checkpoint: Path, photograph: bytes, predicted: Any
) -> None:
    log = tmp_path / "log"
    with running_server() as server, server.client() as client, log.open("wb") as output:
        command = [BIN / "sam_predict_redis", *flags(checkpoint), "--redis_port", server.port, "--verbose"]
        process = subprocess.Popen(
            [*map(str, command), "--redis_in", "sam_in", "--redis_out", "sam_out"],
            env=environment(AS_EVER),
            stdout=output,
            stderr=output,
        )
        try:
            until(lambda: client.pubsub_numpat() == 1, "the service")
            # Scripts find it by its name, to end it.
            assert b"sam_predict_redis" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            masks = [
                LateSubscriber(client).ask(
                    photograph, {**PROMPT, "more": "is ignored", "label": True, "id": 17}
                )
                for _ in range(2)
            ]
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()

    for mask in masks:
        assert (mask == predicted(PROMPT)).mean() > 0.999
    lines = log.read_text().splitlines()
    assert lines[0] == f"Loading model/type: {checkpoint}/vit_b"
    said = [line.partition(" -  ")[2] for line in lines if " -  process_images" in line]
    assert said[:2] == [
        "process_images - start processing image",
        "process_images - predictions string published: sam_out",
    ]
    assert said[2].startswith("process_images - finished processing image: ")
