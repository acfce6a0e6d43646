"""The names and shapes of the tensors in a file of weights, from its header alone: torch is not needed, the
weights are not read, and nothing that a file holds is run.

.safetensors: https://huggingface.co/docs/safetensors
.pth and .pt: a zip archive with a pickle in it, or, up to torch 1.5, pickles one after the other:
https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypeAlias

from sampoll.core.errors import ModelUnavailable
from sampoll.core.names import printable

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The shape of each tensor, by its name."""

HEADER_BYTES = 2**22
"""The largest header that is read: twenty times that of the largest official checkpoint. Each byte of it can
become an object of 200 bytes."""
WRAPPER = "model"
"""The key under which many authors keep the weights, beside the state of the training."""

_ZIP, _PICKLE, _POINTER = b"PK\x03\x04", b"\x80", b"version https://git-lfs"
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""The first pickle of a file of torch before 1.6; the weights are the fourth."""


@dataclass(frozen=True)
class Header:
    """What a file of weights says about itself; its tensors may be `wrapped`, as {"model": tensors}."""

    kind: Literal["zip", "pickle", "safetensors"]
    shapes: Shapes
    is_wrapped: bool = False


def read_header(path: Path, named: Path | None = None) -> Header:
    """The header of a file; messages call it `named` if it has another name for its user.

    ModelUnavailable if it cannot be read, is no file of weights, is truncated, or holds more than tensors.
    """
    named = named or path
    try:
        with path.open("rb") as file:
            start = file.read(2**10)
            file.seek(0)
            with _damaged(named):
                return _read(file, start, named)
    except OSError as error:
        raise ModelUnavailable(f"{named} cannot be read: {error.strerror or error}") from error


def _read(file: IO[bytes], start: bytes, named: Path) -> Header:
    if not start:
        raise ModelUnavailable(f"{named} is empty: download it again")
    if start.startswith(_ZIP):
        return _of_tensors("zip", _unpickled(io.BytesIO(_pickle_in_zip(file, named)), named), named)
    if start[8:9] == b"{":
        return Header("safetensors", _shapes_of_safetensors(file, named))
    if start.startswith(_PICKLE):
        return _of_tensors("pickle", _fourth_pickle(file, named), named)
    if start.startswith(_POINTER):
        raise ModelUnavailable(f"{named} is a pointer of Git LFS, not the weights: run `git lfs pull` there")
    if start.lstrip()[:1] == b"<":
        raise ModelUnavailable(f"{named} is a web page, not weights: download the file that it links to")
    raise _no_weights(named)


@contextmanager
def _damaged(named: Path) -> Iterator[None]:
    """Whatever a parser says of a damaged file, it is one message."""
    try:
        yield
    except (ModelUnavailable, OSError):
        raise
    except Exception as error:  # pickle, zipfile and json raise anything on content that was made up
        raise _no_weights(named) from error


def _no_weights(named: Path) -> ModelUnavailable:
    return ModelUnavailable(
        f"{named} is no file of weights, or damaged: download it again, as .pth, .pt or .safetensors"
    )


def _truncated(named: Path, wanted: str) -> ModelUnavailable:
    return ModelUnavailable(f"{named} is truncated: {wanted}; download it again")


# .safetensors


def _shapes_of_safetensors(file: IO[bytes], named: Path) -> Shapes:
    length = int.from_bytes(file.read(8), "little")
    if length > HEADER_BYTES:
        raise _no_weights(named)
    entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    expected = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    size = os.fstat(file.fileno()).st_size
    if size < expected:
        raise _truncated(named, f"it has {size} of {expected} bytes")
    return {name: _checked_shape(entry["shape"]) for name, entry in entries.items()}


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError(f"{shape} is no shape")
    return tuple(shape)


# .pth and .pt


def _pickle_in_zip(file: IO[bytes], named: Path) -> bytes:
    """The pickle in an archive of torch; the tensors' content stands beside it."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise _truncated(named, "the end of the archive is missing") from error
    with archive:
        records = {name.partition("/")[2]: name for name in archive.namelist()}
        if "constants.pkl" in records:
            raise ModelUnavailable(
                f"{named} is an exported program (TorchScript), not weights: name the checkpoint itself"
            )
        with archive.open(records["data.pkl"]) as record:
            content = record.read(HEADER_BYTES + 1)
    if len(content) > HEADER_BYTES:
        raise _no_weights(named)
    return content


def _fourth_pickle(file: IO[bytes], named: Path) -> Any:
    content = io.BytesIO(file.read(HEADER_BYTES))
    if _unpickled(content, named) != _MAGIC_NUMBER:
        raise _no_weights(named)
    _unpickled(content, named), _unpickled(content, named)  # the version, and facts about the machine
    return _unpickled(content, named)


def _of_tensors(kind: Literal["zip", "pickle"], content: Any, named: Path) -> Header:
    """The header of an unpickled content; what is beside the wrapped weights does not matter."""
    is_wrapped = isinstance(content, Mapping) and isinstance(content.get(WRAPPER), Mapping)
    tensors = content[WRAPPER] if is_wrapped else content
    if not isinstance(tensors, Mapping):
        raise ModelUnavailable(f"{named} is no checkpoint: it must hold a mapping from names to tensors")
    for name, tensor in tensors.items():
        if not (isinstance(name, str) and isinstance(tensor, _TensorShape)):
            raise ModelUnavailable(
                f"{named} is no checkpoint: {printable(str(name))} in it is no tensor; save the tensors "
                "alone, or as {'model': tensors}"
            )
    return Header(kind, {name: tensor.sides for name, tensor in tensors.items()}, is_wrapped)


@dataclass(frozen=True)
class _TensorShape:
    sides: tuple[int, ...]


class _Inert:
    """Stands for what may be beside tensors, and is nothing."""

    def __init__(self, *_: Any) -> None:
        pass


class _Names(dict[Any, Any]):
    """Stands for an OrderedDict."""


def _tensor(storage: Any, offset: Any, sides: Any, *_: Any) -> _TensorShape:
    return _TensorShape(_checked_shape(sides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_STAND_INS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _Names,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _Inert,
    ("torch", "device"): _Inert,
    ("torch.serialization", "_get_layout"): _Inert,
    ("_codecs", "encode"): _Inert,
}
"""What a pickle of weights names, each with a function or class of ours that is called instead."""
_DTYPES = frozenset(
    {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}
)


class _ShapeUnpickler(pickle._Unpickler):
    """Unpickles shapes. Names resolve to stand-ins: nothing is imported or called that a file names.

    The class of `pickle` that is written in Python: that in C takes memory for as many objects as a file
    pretends to have. Left out is what sets attributes, and what takes memory before it is there.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: act for code, act in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def __init__(self, content: IO[bytes], named: Path) -> None:
        super().__init__(content)
        self._content = content
        self._named = named

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and (name.endswith("Storage") or name in _DTYPES):
            return _Inert
        try:
            return _STAND_INS[module, name]
        except KeyError:
            if not self._content.read(1):
                raise ValueError("the file ends within a name") from None
            raise ModelUnavailable(
                f"{self._named} holds {printable(f'{module}.{name}')}, which is no tensor, so nothing of it "
                "was loaded: save the tensors alone, as torch.save(model.state_dict(), FILE) does"
            ) from None

    def persistent_load(self, pid: Any) -> None:
        """The content of a tensor, which is not needed."""

    def _ignore_state(self: Any) -> None:
        self.stack.pop()

    dispatch[pickle.BUILD[0]] = _ignore_state


def _unpickled(content: IO[bytes], named: Path) -> Any:
    return _ShapeUnpickler(content, named).load()
