"""The calls of a segmenter on its device: their order, and their errors in sampoll's words."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sampoll.core.errors import DeviceFailed, OutOfMemory
from sampoll.models.shared.streams import ThreadStreams


class DeviceCalls:
    """Runs calls on the CUDA stream of the calling thread; what they return is finished. After an
    OutOfMemory, the next call first frees torch's cached device memory."""

    def __init__(self, device: torch.device) -> None:
        self.streams = ThreadStreams(device)
        self._ran_out_of_memory = False

    @contextmanager
    def one(self) -> Iterator[None]:
        try:
            with torch.inference_mode(), translated_torch_errors(), self.streams.own():
                if self._ran_out_of_memory:
                    torch.cuda.empty_cache()
                    self._ran_out_of_memory = False
                yield
        except OutOfMemory:
            self._ran_out_of_memory = True
            raise

    def wait(self) -> None:
        """Returns when all that this thread has begun on the device is finished."""
        self.streams.wait()


@contextmanager
def translated_torch_errors() -> Iterator[None]:
    """Out of memory fails the job only; after any other CUDA error the process is unusable and must end."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory("not enough device memory for this image; it is tried again later") from error
    except RuntimeError as error:
        # The messages of torch on the CPU, and those of CUDA and its libraries.
        if any(sign in str(error) for sign in ("can't allocate memory", "out of memory", "ALLOC_FAILED")):
            raise OutOfMemory("not enough memory for this image; it is tried again later") from error
        if "CUDA error" in str(error):
            raise DeviceFailed(f"the CUDA device failed: {error}") from error
        raise
