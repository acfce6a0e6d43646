"""Known clients, written from descriptions of how they read replies."""

import base64
import io
import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis
from PIL import Image

WAIT_SECONDS = 60.0


def classic_request(image: bytes, prompt: object) -> str:
    """A request as the oldest clients send it: base64 in lines, and nothing but the two keys."""
    return json.dumps({"image": base64.encodebytes(image).decode("ascii"), "prompt": prompt})


@dataclass
class Annotator:
    """The Java annotation tool: it subscribes, asks, and takes the first message on the channel as its reply.

    It draws nothing if one contour of the reply has no width or height. Its numbers are
    doubles.
    """

    client: "redis.Redis"
    replies: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, image: bytes, prompt: object) -> list[np.ndarray[Any, Any]]:
        """The outlines that it draws."""
        with self.client.pubsub() as pubsub:
            pubsub.subscribe("sam_out")
            message = pubsub.get_message(timeout=WAIT_SECONDS)
            assert message is not None
            self.client.publish("sam_in", classic_request(image, _doubles(prompt)))
            reply = next_reply(pubsub)
        self.replies.append(reply)
        outlines = [np.array(contour, dtype=np.int64).reshape(-1, 2) for contour in reply["contours"]]
        if any(len(outline) < 3 or np.ptp(outline, axis=0).min() == 0 for outline in outlines):
            return []
        return outlines


@dataclass
class LateSubscriber:
    """The Python tool: it asks first and subscribes then, and waits for ever. It reads the mask."""

    client: "redis.Redis"

    def ask(self, image: bytes, prompt: object) -> np.ndarray[Any, Any]:
        self.client.publish("sam_in", classic_request(image, prompt))
        time.sleep(0.05)
        with self.client.pubsub() as pubsub:
            pubsub.subscribe("sam_out")
            reply = next_reply(pubsub)
        with Image.open(io.BytesIO(base64.b64decode(reply["mask"]))) as mask:
            assert mask.mode == "1"
            return np.asarray(mask)


def next_reply(pubsub: Any, wait_seconds: float = WAIT_SECONDS) -> dict[str, Any]:
    """The next message of a subscription, as JSON."""
    deadline = time.monotonic() + wait_seconds
    while (left := deadline - time.monotonic()) > 0:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=left)
        if message is not None:
            reply: dict[str, Any] = json.loads(message["data"])
            return reply
    raise AssertionError("no reply came")


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    return float(value) if isinstance(value, int) else value
