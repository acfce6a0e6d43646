"""What a model makes of words, made once for each text of a run."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

KEPT_TEXTS = 1024
"""Each takes some tens of kilobytes; a run has few."""


class KeptWords(Generic[T]):
    """The encodings of the last KEPT_TEXTS texts. Threads may ask at the same time: what they get is finished
    on `device`."""

    def __init__(self, device: torch.device, at_most: int = KEPT_TEXTS) -> None:
        self._device = device
        self._at_most = at_most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def of(self, key: Hashable, encode: Callable[[], T]) -> T:
        """The encoding that `key` stands for: made by `encode`, if it is not known."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = encode()
                if self._device.type == "cuda":
                    torch.cuda.current_stream(self._device).synchronize()
            self._kept.move_to_end(key)
            if len(self._kept) > self._at_most:
                self._kept.popitem(last=False)
            return self._kept[key]
