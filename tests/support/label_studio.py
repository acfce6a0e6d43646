"""A Label Studio as our service sees it: it serves images to those who bring its token."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

KEY = "0123456789abcdef0123456789abcdef01234567"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog"/></BrushLabels>
  <KeyPointLabels name="points" toName="image" smart="true"><Label value="cat"/></KeyPointLabels>
  <RectangleLabels name="boxes" toName="image" smart="true"><Label value="cat"/></RectangleLabels>
</View>"""
POLYGONS = CONFIG.replace("BrushLabels", "PolygonLabels")


@dataclass
class FakeLabelStudio:
    """`files` are by their address, path and query; `asked` are the addresses of requests."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    access: str = "access-1"
    """The token that is made of JWT."""


class _Handler(BaseHTTPRequestHandler):
    studio: ClassVar[FakeLabelStudio]

    def do_GET(self) -> None:
        self.studio.asked.append(self.path)
        if self.path == "/slow":
            time.sleep(4)
        if self.path == "/moved":
            self._answer(303, b"", Location=f"{self.studio.url}/data/upload/1/cat.jpg")
        elif self.headers.get("Authorization") not in (f"Token {KEY}", f"Bearer {self.studio.access}"):
            self._answer(401, b"")
        elif self.path in self.studio.files:
            self._answer(200, self.studio.files[self.path])
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        self.studio.asked.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (self.path, body) == ("/api/token/refresh/", {"refresh": JWT}):
            self._answer(200, json.dumps({"access": self.studio.access}).encode())
        else:
            self._answer(401, b"{}")

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


@contextmanager
def label_studio(**files: bytes) -> Iterator[FakeLabelStudio]:
    """A Label Studio with these uploads, in /data/upload/1/."""
    studio = FakeLabelStudio(files={f"/data/upload/1/{name}": each for name, each in files.items()})
    handler = type("Handler", (_Handler,), {"studio": studio})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        studio.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield studio
        finally:
            server.shutdown()


def region(kind: str, value: dict[str, Any], size: tuple[int, int], **more: Any) -> dict[str, Any]:
    """A region of an image of this (H, W), with the label `cat`, as the editor serializes it."""
    control = "points" if kind == "keypointlabels" else "boxes"
    return {
        "id": "fbXq2c",
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "origin": "manual",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": {kind: ["cat"], **value},
        **more,
    }


def predict_body(tasks: list[dict[str, Any]], drawn: Any = None, config: str = CONFIG) -> dict[str, Any]:
    """What Label Studio sends to /predict: for regions that a user has `drawn`, or for a batch of tasks."""
    context = None if drawn is None else {"result": drawn}
    return {
        "tasks": tasks,
        "project": "1.1764425334",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }


def task(number: int, image: str = "/data/upload/1/cat.jpg", **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "annotations": [], "predictions": [], **more}


def alpha_of(rle: list[int], size: tuple[int, int]) -> list[list[int]]:
    """The rows of alpha values in a brush's encoding, decoded as Label Studio's editor does it:
    https://github.com/thi-ng/umbrella/blob/develop/packages/rle-pack/src/index.ts"""
    bits = "".join(f"{byte:08b}" for byte in rle)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run, length = read(1), 1 + read(sizes[read(2)])
        values += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    height, width = size
    assert len(values) == count == height * width * 4
    return [values[row * width * 4 + 3 : (row + 1) * width * 4 : 4] for row in range(height)]
