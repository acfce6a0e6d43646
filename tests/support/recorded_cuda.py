"""CUDA's streams as a recording: what is computed on a CPU counts as queued on the current stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

BLOCKING = ("_local_scalar_dense", "nonzero", "index.Tensor")
"""Operations after which the host knows the result, so the current stream is finished."""


class _Stream:
    def __init__(self, recorded: "RecordedCuda") -> None:
        self._recorded = recorded

    def wait_stream(self, other: object) -> None:
        assert other is self._recorded.default
        self._recorded.waited_for_default += 1

    def synchronize(self) -> None:
        self._recorded.finish(self)


class RecordedCuda(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """In a `with` block, records the operations of one thread, and whether the host reads unfinished ones.

    A copy to the host by Tensor.cpu() waits for the current stream, as on CUDA; one by Tensor.numpy() reads
    what is there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.streams: list[torch.device] = []
        self.waited_for_default = 0
        self.on_other_streams: list[str] = []
        self.read_too_early: list[str] = []
        self.default = self.current = _Stream(self)
        self._queued: dict[_Stream, list[str]] = {}
        self._is_recording = False
        self._in_host_memory: list[Tensor] = []
        monkeypatch.setattr("torch.cuda.Stream", self._new_stream)
        monkeypatch.setattr("torch.cuda.default_stream", lambda device: self.default)
        monkeypatch.setattr("torch.cuda.stream", self._entered)
        copied_to_host, read = Tensor.cpu, Tensor.numpy

        def cpu(tensor: Tensor) -> Tensor:
            self._read_unless_ordered("cpu()")
            copy = self.copied_without_waiting(copied_to_host(tensor))
            self.finish(self.current)
            return copy

        def numpy(tensor: Tensor) -> Any:
            if self._is_recording:
                self.read_too_early += [f"{name} before numpy()" for name in self.unfinished]
            return read(tensor)

        monkeypatch.setattr(Tensor, "cpu", cpu)
        monkeypatch.setattr(Tensor, "numpy", numpy)

    def copied_without_waiting(self, tensor: Tensor) -> Tensor:
        """A copy in host memory; what is done with it there is not queued."""
        copy = tensor.clone()
        self._in_host_memory.append(copy)
        return copy

    @property
    def unfinished(self) -> list[str]:
        return [name for names in self._queued.values() for name in names]

    def finish(self, stream: _Stream) -> None:
        self._queued.pop(stream, None)

    def __enter__(self) -> Any:
        self._is_recording = True
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        self._is_recording = False
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        places = [tensor.data_ptr() for tensor in self._in_host_memory]
        if args and isinstance(args[0], Tensor) and args[0].data_ptr() in places:
            return func(*args, **(kwargs or {}))
        name = str(func).removeprefix("aten.")
        if self.current is self.default:
            self.on_other_streams.append(name)
        self._queued.setdefault(self.current, []).append(name)
        if name.startswith(BLOCKING):
            self.finish(self.current)
        return func(*args, **(kwargs or {}))

    def _read_unless_ordered(self, how: str) -> None:
        if self._is_recording:
            others = (names for stream, names in self._queued.items() if stream is not self.current)
            self.read_too_early += [f"{name} before {how}" for names in others for name in names]

    def _new_stream(self, device: torch.device) -> _Stream:
        self.streams.append(device)
        return _Stream(self)

    @contextmanager
    def _entered(self, stream: _Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before
