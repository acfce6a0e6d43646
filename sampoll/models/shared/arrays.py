"""The arrays with which a decoder computes: those of numpy, or tensors on a device."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Arrays(Protocol):
    """How arrays come to where a decoder computes, and back. Which class they have there is Any: all other
    code only indexes, compares and reshapes them."""

    def of(self, array: NDArray[Any]) -> Any:
        """The array there."""

    def stacked(self, arrays: Sequence[Any]) -> Any:
        """Arrays of one shape as one."""

    def packed_bits(self, mask: Any) -> Any:
        """(..., W) of bool to (..., W / 8) of uint8: the leftmost pixel in the highest bit."""

    def on_host(self, array: Any) -> Any:
        """The same in the memory of the host."""

    def soon_on_host(self, array: Any) -> Any:
        """The same, which may be complete only after the calls of the device were waited for."""


class NumpyArrays:
    """Arrays that are on the host already."""

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        return array

    def stacked(self, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.stack(arrays)

    def packed_bits(self, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        return np.packbits(mask, axis=-1)

    def on_host(self, array: NDArray[Any]) -> NDArray[Any]:
        return array

    def soon_on_host(self, array: NDArray[Any]) -> NDArray[Any]:
        return array
