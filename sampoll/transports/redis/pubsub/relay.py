"""Takes the bytes of a server at once, and keeps them until a busy subscriber reads them.

A program that needs only the standard library: `python relay.py MEMORY_BYTES DISK_BYTES`, with a socket to
the server as its standard input and one to the subscriber as its standard output. It passes bytes on in both
directions, and does not look into them: commands, TLS and messages are the subscriber's business. It ends
when the subscriber closes its socket, or, after the server has closed its own, when all bytes are passed on.
"""

import os
import select
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from socket import SO_RCVLOWAT, SOL_SOCKET, socket
from typing import IO

READ_BYTES = 8 * 2**20
PIECE_BYTES = 2**20
COMMAND_BYTES = 2**16
WINDOW_BYTES = 32 * 2**20
"""What the system may receive while this process waits for its turn; systems allow less, 3 MiB by default."""
FLOOD_BYTES, CALM_BYTES_PER_SECOND = 8 * 2**20, 100 * 2**20
"""A leaky bucket: it drains at CALM_BYTES_PER_SECOND, and a level above FLOOD_BYTES is a flood."""
MAX_FLOOD_SECONDS = 1.0
SILENCE_SECONDS = 0.002
"""A server that sends nothing for so long has sent all of a flood."""


class Flood:
    """Detects that bytes come so fast that nothing else should be done than to read them: whatever else runs
    takes the processor from that, and a server disconnects subscribers that leave some megabytes unread.
    After MAX_FLOOD_SECONDS, it counts as calm until it ends."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._monotonic, self._sleep = monotonic, sleep
        self._level = 0.0
        self._measured_at = monotonic()
        self._calm_at = self._measured_at

    def add(self, size: int) -> None:
        if self._drained() <= FLOOD_BYTES:
            self._calm_at = self._measured_at
        self._level += size

    def is_on(self) -> bool:
        """Whether bytes come so fast, and have done so for less than MAX_FLOOD_SECONDS."""
        return self._drained() > FLOOD_BYTES and self._measured_at < self._calm_at + MAX_FLOOD_SECONDS

    def wait_for_calm(self) -> None:
        while self.is_on():
            self._sleep(0.005)

    def end(self) -> None:
        """Notes that nothing more comes."""
        self._level = 0.0

    def _drained(self) -> float:
        now = self._monotonic()
        self._level = max(0.0, self._level - CALM_BYTES_PER_SECOND * (now - self._measured_at))
        self._measured_at = now
        return self._level


class Spill:
    """Bytes in a file without a name, in their order, at most `capacity` of them: its end is followed by its
    beginning."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._file: IO[bytes] | None = None
        self._begin = self._end = 0  # in all bytes since the file was last empty

    def __len__(self) -> int:
        return self._end - self._begin

    def add(self, piece: bytes | bytearray) -> bool:
        """Whether there is room for the piece, here and on the disk."""
        if len(self) + len(piece) > self._capacity:
            return False
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  as long as the process
            written = 0
            with memoryview(piece) as content:
                while written < len(content):
                    place, size = self._span(self._end + written, len(content) - written)
                    written += os.pwrite(self._file.fileno(), content[written : written + size], place)
        except OSError:
            return False
        self._end += written
        return True

    def take(self, at_most: int) -> bytes:
        """Removes the next bytes."""
        assert self._file is not None
        place, size = self._span(self._begin, min(at_most, len(self)))
        taken = os.pread(self._file.fileno(), size, place)
        self._begin += len(taken)
        if not len(self):
            self._begin = self._end = 0
            self._file.truncate(0)
        return taken

    def _span(self, position: int, size: int) -> tuple[int, int]:
        """Where in the file these bytes are, and how many of them are there without a break."""
        place = position % self._capacity
        return place, min(size, self._capacity - place)


class Backlog:
    """Bytes in their order: the latest, up to `memory_bytes`, in memory, those before them in a file of up to
    `disk_bytes`."""

    def __init__(self, memory_bytes: int, disk_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._first = memoryview(b"")
        self._spill = Spill(disk_bytes)
        self._latest: deque[bytearray] = deque()
        self._latest_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._first or self._spill or self._latest)

    def has_room(self) -> bool:
        """Whether one more read may be added."""
        while self._latest_bytes >= self._memory_bytes and self._spill.add(self._latest[0]):
            self._latest_bytes -= len(self._latest.popleft())
        return self._latest_bytes < self._memory_bytes

    def add(self, content: memoryview) -> None:
        if self._latest and len(self._latest[-1]) < PIECE_BYTES:
            self._latest[-1] += content
        else:
            self._latest.append(bytearray(content))
        self._latest_bytes += len(content)

    def first(self) -> memoryview:
        """The next bytes, as many as are at hand; they remain."""
        if not self._first and self._spill:
            self._first = memoryview(self._spill.take(PIECE_BYTES))
        elif not self._first and self._latest:
            self._first = memoryview(self._latest.popleft())
            self._latest_bytes -= len(self._first)
        return self._first

    def remove(self, count: int) -> None:
        """Removes the first bytes, of those that `first` returned."""
        self._first = self._first[count:]


class Relay:
    """Passes bytes on between two sockets."""

    def __init__(self, server: socket, subscriber: socket, backlog: Backlog) -> None:
        self._server, self._subscriber = server, subscriber
        self._backlog = backlog
        self._commands = b""
        self._flood = Flood()
        # Always the same memory: while the system finds pages for a new one, nothing can arrive.
        self._buffer = memoryview(bytearray(READ_BYTES))
        for end in (server, subscriber):
            end.setblocking(False)

    def run(self) -> None:
        """Returns when the subscriber is gone, or when the server is and nothing is left."""
        is_open = True
        while is_open or self._backlog:
            self._wait(is_open)
            is_open = is_open and self._read()
            if is_open and self._flood.is_on() and self._has_more():
                continue  # the subscriber would use the processor to work on what it gets
            if not (self._pass_on() and self._take_commands()):
                return
            if is_open:
                self._send_commands()

    def _wait(self, is_open: bool) -> None:
        """Until something can be done; a socket that is closed can always be read."""
        poll = select.poll()
        poll.register(self._subscriber, select.POLLIN | (select.POLLOUT if self._backlog else 0))
        wanted = select.POLLIN if self._backlog.has_room() else 0
        wanted |= select.POLLOUT if self._commands else 0
        if is_open and wanted:
            poll.register(self._server, wanted)
        poll.poll()

    def _read(self) -> bool:
        """Whether more may come from the server."""
        if not self._backlog.has_room():
            return True
        try:
            count = self._server.recv_into(self._buffer)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if count:
            self._backlog.add(self._buffer[:count])
            self._flood.add(count)
        return count > 0

    def _has_more(self) -> bool:
        """Whether the server goes on sending, and there is room for it."""
        if not self._backlog.has_room():
            return False
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        has_more = bool(poll.poll(1000 * SILENCE_SECONDS))
        if not has_more:
            self._flood.end()
        return has_more

    def _pass_on(self) -> bool:
        """Whether the subscriber is still there."""
        try:
            if self._backlog:
                self._backlog.remove(self._subscriber.send(self._backlog.first()))
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _take_commands(self) -> bool:
        """Whether the subscriber is still there."""
        try:
            received = self._subscriber.recv(COMMAND_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._commands += received
        return bool(received)

    def _send_commands(self) -> None:
        try:
            self._commands = self._commands[self._server.send(self._commands) :]
        except BlockingIOError:
            pass
        except OSError:
            self._commands = b""  # the server is gone, but what it has sent can still be read


def widen_window(server: socket) -> None:
    """Lets the system receive more. A window grows by itself while it is read, which is too late for a flood,
    and SO_RCVBUF would end that: at most systems with a smaller window than it had."""
    with suppress(OSError):
        server.setsockopt(SOL_SOCKET, SO_RCVLOWAT, WINDOW_BYTES)  # makes room for so much, and stays so
        server.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)


def main() -> None:
    memory_bytes, disk_bytes = map(int, sys.argv[1:])
    with socket(fileno=0) as server, socket(fileno=1) as subscriber:
        widen_window(server)
        Relay(server, subscriber, Backlog(memory_bytes, disk_bytes)).run()


if __name__ == "__main__":
    main()
