"""The bodies of requests and answers: bounded in their size and in the time that they take."""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Send

from sampoll.transports.http.refusals import Refusal, later

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 64 * 1024
"""What a client has to send, or to read, on average, once PATIENCE_SECONDS have passed."""
PIECE_BYTES = 64 * 1024
"""How much of an answer is given to the server at a time; it keeps few of them."""


class Gone(Exception):
    """The client has closed its connection, or does not read its answer."""


class Room:
    """The memory that requests may take from their first byte until their answers are read, `max_bytes`; one
    of any size is always taken. For one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """The memory of one request, which is free again when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.keep(0)


class Share:
    """The memory that one request takes of a Room; nothing at first."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0

    def take(self, amount_bytes: int) -> None:
        """Takes memory for the body of the request; a Refusal if there is not enough."""
        others = self._room.held_bytes - self._bytes
        if others and others + amount_bytes > self._room.max_bytes:
            raise later(f"requests of {others} bytes are in progress (--queue-bytes): send it again later")
        self.keep(amount_bytes)

    def take_more(self, amount_bytes: int) -> None:
        """As `take`, beside what it has."""
        self.take(self._bytes + amount_bytes)

    def give_back(self, amount_bytes: int) -> None:
        """Takes so much less."""
        self.keep(self._bytes - amount_bytes)

    def keep(self, amount_bytes: int) -> None:
        """Takes so much instead, for an answer that is made already."""
        self._room.held_bytes += amount_bytes - self._bytes
        self._bytes = amount_bytes


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
        try:
            message = await _in_time(receive(), began, received)
        except TimeoutError:
            raise Refusal(408, "the body came too slowly", headers={"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        received += len(parts[-1])
        is_whole = not message.get("more_body", False)
    if received != length_bytes:
        raise Refusal(400, f"the body has {received} bytes, and Content-Length says {length_bytes}")
    return b"".join(parts)


async def send_paced(response: Response, send: Send) -> None:
    """Sends an answer piece by piece; Gone if the client does not read it in time."""
    status, whole, began = response.status_code, response.body, time.monotonic()
    await send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
    for start in range(0, max(1, len(whole)), PIECE_BYTES):
        end = start + PIECE_BYTES
        piece = bytes(whole[start:end])
        message = {"type": "http.response.body", "body": piece, "more_body": end < len(whole)}
        try:
            await _in_time(send(message), began, start)
        except TimeoutError:
            raise Gone from None


async def _in_time(transfer: Awaitable[T], began: float, transferred_bytes: int) -> T:
    """The outcome of the next part of a transfer; TimeoutError if the whole is too slow with it."""
    allowed_seconds = PATIENCE_SECONDS + transferred_bytes / LEAST_BYTES_PER_SECOND
    async with asyncio.timeout(max(0.0, began + allowed_seconds - time.monotonic())):
        return await transfer
