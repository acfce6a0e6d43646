"""The real `sampoll serve redis` in the background, its requests and its replies."""

import base64
import io
import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.images import encoded, image_of
from support.process import running_sampoll, until

BOX = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}
IMAGE = encoded(image_of(), "JPEG")


@dataclass
class Service:
    """The process, and what it has logged so far."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def has_logged_or_ended(self, what: str) -> bool:
        return what in self.log or self.process.poll() is not None


@contextmanager
def serving(
    tmp_path: Path, port: int, *flags: object, model: str = "boxes", env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """The service, once it is subscribed."""
    log_file = tmp_path / "serve.log"
    command = ("serve", "redis", "--redis-port", port, "--model", f"support.fakes:{model}", *flags)
    with log_file.open("wb") as log, running_sampoll(*command, log=log, env=env) as process:
        service = Service(process, log_file)
        for line in (": ready", "subscribed to"):
            until(partial(service.has_logged_or_ended, line), f"the service to say {line!r}")
        yield service


def box_mask(prompt: Any = BOX, shape: tuple[int, int] = (24, 32)) -> np.ndarray[Any, Any]:
    mask = np.zeros(shape, np.bool_)
    box = prompt["box"]
    mask[int(box["y0"]) : int(box["y1"]), int(box["x0"]) : int(box["x1"])] = True
    return mask


def mask_in(reply: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(base64.b64decode(reply["mask"]))) as image:
        assert image.mode == "1"
        return np.asarray(image)


def request(**more: object) -> str:
    return json.dumps({"image": base64.b64encode(IMAGE).decode(), "prompt": BOX, **more})
