"""The order of computations on a device that several threads use, and of copies to the host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ThreadStreams:
    """On a CUDA device, each thread has a stream of its own: while one batch waits for the host, the next one
    computes. Other devices finish a computation before the call returns, and need no order."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._of_thread = threading.local()

    @contextmanager
    def own(self) -> Iterator[None]:
        """What is computed in the block is computed in order, after all that was ready on the device before
        the thread's first block; and it is finished at the end, for the host and for every other stream."""
        if self._device.type != "cuda":
            yield
            return
        with torch.cuda.stream(self._own()):
            yield
            self.wait()

    def wait(self) -> None:
        """Returns when all that this thread has begun on the device is finished, also copies to the host."""
        if self._device.type == "cuda":
            self._own().synchronize()

    def _own(self) -> torch.cuda.Stream:
        if not hasattr(self._of_thread, "stream"):
            stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.default_stream(self._device))  # the weights are there
            self._of_thread.stream = stream
        own: torch.cuda.Stream = self._of_thread.stream
        return own
