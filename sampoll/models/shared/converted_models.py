"""Converted models, kept on this machine: for each checkpoint, directories of its encoder (by how the weights
are stored) and of its decoder. Imports no torch: what makes them is in `conversion`."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared.compiled_blob import Blob
from sampoll.models.shared.openvino_decoder import GRAPHS
from sampoll.models.shared.openvino_graph import (
    CompiledGraph,
    compile_options,
    core,
    imported_openvino,
    version,
)
from sampoll.models.shared.private_copy import PrivateCopy, private_copy

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

CONVERSION = 3
"""Version of the conversion: increased when the same checkpoint is converted to different graphs, or other
files are kept of it."""
DIGESTS_FILE = "sha256.json"


@dataclass(frozen=True)
class Part:
    """What is kept together, of an encoder or of a decoder: graphs by these names, with weights in float16
    or as they are."""

    name: str
    what: str
    graphs: Sequence[str]
    in_float16: bool = False


ENCODER = "encoder"
DECODER = Part("decoder", "decoder", GRAPHS)
INT8 = Part("int8", ENCODER, (ENCODER,))
ENCODERS = {
    "fp32": Part("fp32", ENCODER, (ENCODER,)),
    "bf16": Part("fp16", ENCODER, (ENCODER,), in_float16=True),
}
"""By the precision in which they compute. bfloat16 keeps fewer digits of a weight than float16 does."""


@dataclass(frozen=True)
class Kept:
    """The graphs of a Part, by their names, and the SHA-256 of their files."""

    graphs: Mapping[str, "openvino.Model"]
    sha256: str


@dataclass(frozen=True)
class Files:
    """The files of a Part, as private copies; what is read of them keeps their memory."""

    part: Part
    copies: Mapping[str, PrivateCopy]

    @property
    def sha256(self) -> str:
        """The digest of all of them."""
        digests = " ".join(copy.sha256 for copy in self.copies.values())
        return hashlib.sha256(digests.encode()).hexdigest()

    def graph(self, name: str) -> "openvino.Model":
        return core().read_model(self.copies[f"{name}.xml"].path, self.copies[f"{name}.bin"].path)

    def kept(self) -> Kept:
        return Kept({name: self.graph(name) for name in self.part.graphs}, self.sha256)


@dataclass(frozen=True)
class Models:
    """The encoder of a checkpoint, the graphs of its decoder, and the digest of an encoder that is not
    computed from the checkpoint alone."""

    encoder: CompiledGraph
    decoder: Mapping[str, "openvino.Model"]
    encoder_sha256: str | None = None


def kept_models(precision: str, streams: int, checkpoint_sha256: str, cache: Path) -> Models | None:
    """All that is needed to run a checkpoint in a precision, so many images at the same time, if all of it is
    kept. ModelUnavailable if there is no encoder in int8, which is not made on the way."""
    int8 = quantized(checkpoint_sha256, cache) if precision == "int8" else None
    if (decoder := kept(DECODER, checkpoint_sha256, cache)) is None:
        return None
    if int8 is not None:
        encoder = CompiledGraph(int8.graphs[ENCODER], precision, streams=streams)
        return Models(encoder, decoder.graphs, int8.sha256)
    part = ENCODERS[precision]
    with ExitStack() as copies:
        if (files := _whole(part, checkpoint_sha256, cache, copies)) is None:
            return None
        directory, weights = place_of(part, checkpoint_sha256, cache), files.copies[f"{ENCODER}.bin"].path
        options = str(compile_options(precision, streams))
        blob = Blob(directory, files.sha256, options, imported_openvino().__version__, weights)
        encoder = CompiledGraph(files.graph(ENCODER), precision, blob, streams=streams)
        return Models(encoder, decoder.graphs)


def kept(part: Part, checkpoint_sha256: str, cache: Path) -> Kept | None:
    """What was kept of a checkpoint; None if it was not, or is damaged, which is then removed."""
    with ExitStack() as copies:
        files = _whole(part, checkpoint_sha256, cache, copies)
        return None if files is None else files.kept()


def _whole(part: Part, checkpoint_sha256: str, cache: Path, copies: ExitStack) -> Files | None:
    """The files that were kept, until `copies` is closed; None as `kept` says."""
    directory = place_of(part, checkpoint_sha256, cache)
    if not directory.is_dir():
        return None
    try:
        return copies.enter_context(_opened(part, directory, checkpoint_sha256))
    except (ModelUnavailable, ValueError) as error:
        log.warning("%s is damaged, and is converted again (%s)", directory, str(error).splitlines()[0])
        shutil.rmtree(directory, ignore_errors=True)
        return None


def quantized(checkpoint_sha256: str, cache: Path) -> Kept:
    """The int8 encoder of a checkpoint; ModelUnavailable if it was not made here, or is damaged."""
    place = place_of(INT8, checkpoint_sha256, cache)
    advice = "make one with `sampoll models quantize --checkpoint FILE IMAGES`, or use --precision bf16"
    if not place.is_dir():
        raise ModelUnavailable(f"no int8 encoder of this checkpoint in {place}: {advice}")
    try:
        with _opened(INT8, place, checkpoint_sha256) as files:
            return files.kept()
    except (ModelUnavailable, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelUnavailable(f"the int8 encoder in {place} is damaged ({reason}): {advice}") from error


def place_of(part: Part, checkpoint_sha256: str, cache: Path) -> Path:
    """The directory of what is kept of a checkpoint."""
    return cache / f"{checkpoint_sha256[:16]}-{version()}-{CONVERSION}-{part.name}"


@contextmanager
def _opened(part: Part, directory: Path, checkpoint_sha256: str) -> Iterator[Files]:
    """The files in `directory`; ValueError if they are not those that were written for this checkpoint."""
    with ExitStack() as stack:
        copies = {name: stack.enter_context(private_copy(directory / name)) for name in _files_of(part)}
        digests = {name: copy.sha256 for name, copy in copies.items()}
        if _recorded(directory / DIGESTS_FILE) != {"checkpoint": checkpoint_sha256, **digests}:
            raise ValueError("its files are not those that were written")
        yield Files(part, copies)


def _files_of(part: Part) -> list[str]:
    return [f"{name}.{suffix}" for name in part.graphs for suffix in ("xml", "bin")]


def _recorded(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error


def keep(
    part: Part,
    graphs: Mapping[str, "openvino.Model"],
    checkpoint_sha256: str,
    cache: Path,
    *,
    check: Callable[[Kept], None] = lambda kept: None,
    replaces: bool = False,
) -> Kept:
    """Writes graphs of a checkpoint as a whole or not at all, also while other processes write the same ones,
    and returns what was written. What is there already stays, unless this `replaces` it.

    Nothing is kept if `check`, which gets what was written, raises.
    """
    directory = place_of(part, checkpoint_sha256, cache)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".") as temporary:
        new = Path(temporary, "model")
        for name, graph in graphs.items():
            imported_openvino().save_model(graph, new / f"{name}.xml", compress_to_fp16=part.in_float16)
        digests = {name: sha256_of(new / name) for name in _files_of(part)}
        document = {"checkpoint": checkpoint_sha256, **digests}
        (new / DIGESTS_FILE).write_text(json.dumps(document, indent=2) + "\n")
        with _opened(part, new, checkpoint_sha256) as files:
            written = files.kept()
        check(written)
        if replaces and directory.is_dir():
            directory.rename(Path(temporary, "replaced"))
        try:
            new.rename(directory)
        except OSError:
            if not directory.is_dir():  # otherwise another process was faster
                raise
        return written
