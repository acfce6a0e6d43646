"""Label Studio itself asks for masks: of a user's prompts, and for a batch of tasks."""

import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from benchmarks.annotation_tools.running import (
    TOKEN,
    answers,
    clicks_row,
    free_port,
    image_in,
    installed,
    process,
    service,
    until,
)

KEY = secrets.token_hex(20)
LABELS = '<Label value="cup"/><Label value="spoon"/>'
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="masks" toName="image" smart="false">{LABELS}</BrushLabels>
  <KeyPointLabels name="points" toName="image" smart="true">{LABELS}</KeyPointLabels>
  <RectangleLabels name="boxes" toName="image" smart="true">{LABELS}</RectangleLabels>
</View>"""
BOX = {"x": 12, "y": 2.5, "width": 69.3, "height": 95.5, "rotation": 0, "rectanglelabels": ["cup"]}
POINT = {"x": 47, "y": 50, "width": 0.3, "labels": ["cup"], "keypointlabels": ["cup"]}
COMPARE = """
import json, sys
import numpy as np
from PIL import Image
from label_studio_sdk.converter.brush import decode_rle, mask2rle
rle, path = json.load(sys.stdin), sys.argv[1]
mask = np.asarray(Image.open(path)).astype(np.uint8) * 255
alpha = decode_rle(rle).reshape(*mask.shape, 4)[..., 3]
print("the same pixels" if (alpha == mask).all() else "OTHER PIXELS", end=", ")
own = mask2rle(mask)
print("the same bytes" if own[: len(rle)] == rle and set(own[len(rle) :]) <= {0} else "other bytes")
"""


def run(venvs: Path, flags: list[str], clicks: int) -> None:
    python = installed(venvs / "label-studio", "label-studio")
    with tempfile.TemporaryDirectory() as folder, _label_studio(python, Path(folder)) as studio:
        where = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": KEY}
        with service(flags, Path(folder), **where) as url:
            _ask_all(studio, url, python, Path(folder), clicks)


class _LabelStudio:
    """Its API, for one project."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Token {KEY}"

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self._session.request(method, f"{self.url}/api/{path}", **more)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def _label_studio(python: Path, folder: Path) -> Iterator[_LabelStudio]:
    url = f"http://127.0.0.1:{free_port()}"
    command = ("start", "--no-browser", "--port", url.rpartition(":")[2], "--internal-host", "127.0.0.1")
    user = ("--username", "a@example.org", "--password", secrets.token_hex(8), "--user-token", KEY)
    env = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "studio"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
    }
    with process((python.parent / "label-studio", *command, *user), folder / "studio.log", env):
        until(lambda: answers(f"{url}/health"), "Label Studio")
        yield _LabelStudio(url)


def _ask_all(studio: _LabelStudio, url: str, python: Path, folder: Path, clicks: int) -> None:
    image = image_in(folder)
    version = requests.get(f"{studio.url}/api/version", timeout=30).json()["release"]
    print(f"\nLabel Studio {version}:\n")
    project = studio.ask("POST", "projects/", json={"title": "cups", "label_config": CONFIG})["id"]
    imported = f"projects/{project}/import?return_task_ids=true"
    [task] = studio.ask("POST", imported, files={"image": image.open("rb")})["task_ids"]
    backend = {
        "url": f"{url}/label-studio",
        "project": project,
        "title": "sampoll",
        "is_interactive": True,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "sampoll",
        "basic_auth_pass": TOKEN,
    }
    connected = studio.ask("POST", "ml", json=backend)
    print(f"- connected: {connected['readable_state']}, {connected['model_version']}")

    def drawn(kind: str, value: dict[str, Any], **more: Any) -> Any:
        common = {"original_width": 600, "original_height": 400, "image_rotation": 0, "origin": "manual"}
        control = {"from_name": "boxes", "to_name": "image", "id": "a"}
        region = {"type": kind, "value": value, **common, **control, **more}
        return studio.ask(
            "POST",
            f"ml/{connected['id']}/interactive-annotating",
            json={"task": task, "context": {"result": [region]}},
        )

    [brush] = drawn("rectanglelabels", BOX)["data"]["result"]
    print(f"- a box: a {brush['type']} of {len(brush['value']['rle'])} bytes, score {brush['score']:.3f}")
    mask = _mask_of(url, image, folder)
    compared = subprocess.run(
        [python, "-c", COMPARE, mask],
        input=json.dumps(brush["value"]["rle"]),
        capture_output=True,
        text=True,
        check=True,
    )
    print(f"- its brush beside label_studio_sdk's converter: {compared.stdout.strip()}")
    seconds = []
    for _ in range(clicks):
        began = time.perf_counter()
        assert drawn("keypointlabels", POINT, is_positive=True)["data"]["result"]
        seconds.append(time.perf_counter() - began)
    print(f"- a click, through Label Studio: {clicks_row(seconds)}")
    refused = drawn("rectanglelabels", {**BOX, "rectanglelabels": ["fork"]})
    print(f"- a label that the brush does not have: {refused}")
    detected = {
        "task": task,
        "model_version": "detector",
        "result": [{"type": "rectanglelabels", "value": BOX, "from_name": "boxes", "to_name": "image"}],
    }
    studio.ask("POST", "predictions/", json=detected)
    everything = {"selectedItems": {"all": True, "excluded": []}, "project": str(project)}
    action = f"dm/actions?id=retrieve_tasks_predictions&project={project}"
    said = studio.ask("POST", action, json=everything)["detail"]
    stored = [each["result"][0]["type"] for each in studio.ask("GET", f"predictions/?task={task}")]
    print(f"- a batch: {said}: {', '.join(stored)}")
    studio.ask("POST", f"tasks/{task}/annotations/", json={"result": [brush]})
    kind = f"{studio.url}/api/projects/{project}/export?exportType=BRUSH_TO_PNG"
    exported = requests.get(kind, headers={"Authorization": f"Token {KEY}"}, timeout=60)
    got = f"status {exported.status_code}, {len(exported.content)} bytes"
    print(f"- its export of the annotation as PNG: {got}")


def _mask_of(url: str, image: Path, folder: Path) -> Path:
    """The mask that the service makes of the box by its own route, as a PNG."""
    corners = {"x0": 0.12 * 600, "y0": 0.025 * 400, "x1": 0.813 * 600, "y1": 0.98 * 400}
    answer = requests.post(
        f"{url}/v1/segment",
        files={"image": image.read_bytes()},
        data={"prompt": json.dumps({"box": corners})},
        headers={"Accept": "image/png", "Authorization": f"Bearer {TOKEN}"},
        timeout=60,
    )
    answer.raise_for_status()
    path = folder / "mask.png"
    path.write_bytes(answer.content)
    return path
