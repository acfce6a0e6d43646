"""The bodies of requests: bounded in their size and in the time that they take."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from starlette.types import Message, Receive

from sampoll.transports.http.refusals import Refusal, later

PATIENCE_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 64 * 1024
"""What a client has to send on average, once PATIENCE_SECONDS have passed."""


class Gone(Exception):
    """The client has closed its connection."""


class Room:
    """The memory that requests may take from their first byte to their answer, `max_bytes`; one of any size
    is always taken. For one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    @contextmanager
    def held(self, amount_bytes: int) -> Iterator[None]:
        """Holds the memory of a request until the block ends; a Refusal if there is not enough."""
        if self._held_bytes and self._held_bytes + amount_bytes > self._max_bytes:
            raise later(
                f"requests of {self._held_bytes} bytes are in progress (--queue-bytes): send it again later"
            )
        self._held_bytes += amount_bytes
        try:
            yield
        finally:
            self._held_bytes -= amount_bytes


def length_in(headers: Mapping[str, str], max_bytes: int) -> int:
    """The length of the body that the header tells; a Refusal if it is missing, or more than `max_bytes`."""
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdigit()):
        raise Refusal(411, "the request needs a Content-Length")
    if len(text) > 18 or int(text) > max_bytes:
        raise Refusal(413, f"the body has {text[:18]} bytes, more than the {max_bytes} that the limits allow")
    return int(text)


async def body_of(receive: Receive, length_bytes: int) -> bytes:
    """The whole body; a Refusal if it comes too slowly, Gone if the client does not wait for an answer."""
    parts: list[bytes] = []
    received, began = 0, time.monotonic()
    is_whole = False
    while not is_whole:
        allowed_seconds = PATIENCE_SECONDS + received / LEAST_BYTES_PER_SECOND
        message = await _within(began + allowed_seconds - time.monotonic(), receive)
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        received += len(parts[-1])
        is_whole = not message.get("more_body", False)
    if received != length_bytes:
        raise Refusal(400, f"the body has {received} bytes, and Content-Length says {length_bytes}")
    return b"".join(parts)


async def _within(seconds: float, receive: Callable[[], Awaitable[Message]]) -> Message:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            return await receive()
    except TimeoutError:
        raise Refusal(408, "the body came too slowly", headers={"Connection": "close"}) from None
