"""A service that is simulated by its events, as it is seen over HTTP."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from sampoll.core.channel import Channel
from sampoll.core.events import Event, JobStarted
from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import Mask, ModelInfo, Segmentation
from sampoll.monitoring.health import ALONE, Health
from sampoll.monitoring.history import History
from sampoll.monitoring.metrics import Metrics
from sampoll.monitoring.page.left import RecentLeftovers
from sampoll.monitoring.page.pages import Pages
from sampoll.monitoring.pictures import Pictures
from sampoll.monitoring.server import Message
from sampoll.monitoring.thumbnails import Thumbnails
from sampoll.monitoring.web import Application
from sampoll.spool.unpaired import NOTHING_LEFT, Leftovers
from sampoll.transports.memory import submission
from support.images import encoded, image_of

MODEL = ModelInfo("vit_b", "cuda:0", precision="bf16", engine="torch")
ODD = "<script>alert(1)</script>"
FAILED_PAIRS = 7


class Outside:
    """The listeners of a service. Without `has_input`, its jobs come over a network."""

    def __init__(
        self, directory: Path, *, with_thumbnails: bool = False, has_input: bool = True, place: str = ODD
    ) -> None:
        about = (
            {"service": "run", "input": place} if has_input else {"service": "serve redis", "server": place}
        )
        self.health = Health(about, stall_seconds=60.0, looks_around=has_input)
        self.queues: dict[str, Channel[Any]] = {}
        roots = {"input": directory, "output": directory / "gone"}
        self.metrics = Metrics(self.health, {ALONE: self.queues}, roots, lambda: FAILED_PAIRS)
        self.history = History()
        pictures = Pictures() if with_thumbnails else None
        self.thumbnails = None if pictures is None else Thumbnails(pictures.keep)
        self.leftovers: Leftovers | Exception = NOTHING_LEFT
        looks = RecentLeftovers(self._find_leftovers) if has_input else None
        pages = Pages(self.health, self.history, lambda: FAILED_PAIRS, pictures, looks)
        self.application = Application(self.health, self.metrics, pages, pictures)

    def _find_leftovers(self) -> Leftovers:
        if isinstance(self.leftovers, Exception):
            raise self.leftovers
        return self.leftovers

    def happens(self, *events: Event) -> None:
        for event in events:
            for listener in (self.health, self.metrics, self.history):
                listener(event)

    def draws(self, *names: str) -> None:
        """Shows results, if there are thumbnails."""
        assert self.thumbnails is not None
        for name in names:
            self.thumbnails.render(segmentation(name), ())

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer."""
        answer: list[Any] = []

        async def send(message: Message) -> None:
            answer.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": method, "path": path, "headers": []}
        asyncio.run(self.application(scope, receive, send))
        start, body = answer
        headers = {name.decode().title(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, body["body"]

    def page(self, path: str = "/") -> str:
        return self.get(path)[2].decode()

    def values(self) -> dict[str, float]:
        """Of every metric, by its name and labels."""
        families = text_string_to_metric_families(self.metrics.text().decode())
        samples = [sample for family in families for sample in family.samples]
        return {f"{s.name}{json.dumps(s.labels) if s.labels else ''}": s.value for s in samples}


def started(*names: str) -> Sequence[JobStarted]:
    """Events of jobs whose ids are their names."""
    return [JobStarted(replace(submission(name, b"", b"{}"), id=name)) for name in names]


def segmentation(name: str = "a", label: str = "object") -> Segmentation:
    pixels = np.zeros((24, 32), np.bool_)
    pixels[4:16, 4:20] = True
    mask = Mask.from_array(pixels, 0.5)
    prompts = (Prompt(box=Box(4, 4, 20, 16), label=label),)
    image = encoded(image_of(), "JPEG")
    return Segmentation(
        "id", name, prompts, ((mask,),), MODEL, (24, 32), "0" * 64, {}, image_file="a.jpg", image=image
    )
