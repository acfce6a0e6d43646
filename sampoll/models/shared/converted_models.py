"""Converted models, kept on this machine: for each checkpoint, directories of its encoder (by how the weights
are stored) and of its decoder. Imports no torch: what makes them is in `conversion`."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared.compiled_blob import GraphFiles
from sampoll.models.shared.openvino_decoder import GRAPHS, OF_IMAGE, OF_PROMPTS, WITH_MASKS, DecoderGraphs
from sampoll.models.shared.openvino_decoder import PRECISION as DECODER_PRECISION
from sampoll.models.shared.openvino_graph import CompiledGraph, compiled, core, imported_openvino, version
from sampoll.models.shared.private_copy import PrivateCopy, private_copy

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

Made = TypeVar("Made")

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


class Damaged(Exception):
    """What was kept is not what was written; the message says why."""


@dataclass(frozen=True)
class Files:
    """The files of a Part, as private copies; what is read of them keeps their memory."""

    part: Part
    directory: Path
    copies: Mapping[str, PrivateCopy]
    recorded: Mapping[str, str]
    """The digests of the files when they were written."""

    @property
    def sha256(self) -> str:
        """The digest of all of them."""
        return _joint(self.recorded.values())

    def check(self) -> None:
        """Damaged if the copies are not what was written."""
        if self.recorded != {name: copy.sha256 for name, copy in self.copies.items()}:
            raise Damaged("its files are not those that were written")

    def graph(self, name: str) -> "openvino.Model":
        """A graph, once the files are checked."""
        self.check()
        return core().read_model(self.copies[f"{name}.xml"].path, self.copies[f"{name}.bin"].path)

    def kept(self) -> Kept:
        return Kept({name: self.graph(name) for name in self.part.graphs}, self.sha256)

    def compiled(self, name: str, precision: str, *, streams: int = 1) -> CompiledGraph:
        """A graph, compiled, or imported as it was compiled before: then its files are not checked yet, as
        their digests are computed meanwhile."""
        digests = [self.recorded[file] for file in (f"{name}.xml", f"{name}.bin")]
        weights = self.copies[f"{name}.bin"].path
        files = GraphFiles(partial(self.graph, name), weights, _joint(digests), self.directory)
        return files.compiled(precision, streams=streams)


def _joint(digests: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class Models:
    """The encoder of a checkpoint, the graphs of its decoder, and the digest of an encoder that is not
    computed from the checkpoint alone."""

    encoder: CompiledGraph
    decoder: DecoderGraphs
    encoder_sha256: str | None = None


def kept_models(precision: str, streams: int, checkpoint_sha256: str, cache: Path) -> Models | None:
    """All that is needed to run a checkpoint in a precision, so many images at the same time, if all of it is
    kept. ModelUnavailable if there is no encoder in int8, which is not made on the way."""
    int8 = quantized(checkpoint_sha256, cache) if precision == "int8" else None

    def compiled_encoder(files: Files) -> CompiledGraph:
        return files.compiled(ENCODER, precision, streams=streams)

    core()  # before there are threads that would each make one
    with ThreadPoolExecutor(1, "decoder") as thread:  # OpenVINO reads an encoder in one thread
        decoding = thread.submit(_from_files, DECODER, checkpoint_sha256, cache, _compiled_decoder)
        if int8 is not None:
            encoder: CompiledGraph | None = compiled(int8.graphs[ENCODER], precision, streams=streams)
        else:
            encoder = _from_files(ENCODERS[precision], checkpoint_sha256, cache, compiled_encoder)
        decoder = decoding.result()
    if encoder is None or decoder is None:
        return None
    return Models(encoder, decoder, None if int8 is None else int8.sha256)


def _compiled_decoder(files: Files) -> DecoderGraphs:
    of_image, of_prompts = (files.compiled(name, DECODER_PRECISION) for name in (OF_IMAGE, OF_PROMPTS))
    return DecoderGraphs(of_image, of_prompts, files.graph(WITH_MASKS))


def kept(part: Part, checkpoint_sha256: str, cache: Path) -> Kept | None:
    """What was kept of a checkpoint; None if it was not, or is damaged, which is then removed."""
    return _from_files(part, checkpoint_sha256, cache, Files.kept)


def _from_files(
    part: Part, checkpoint_sha256: str, cache: Path, make: Callable[[Files], Made]
) -> Made | None:
    """What is made of the files that were kept; None as `kept` says. Files that are damaged may show only
    after it was made."""
    directory = place_of(part, checkpoint_sha256, cache)
    if not directory.is_dir():
        return None
    try:
        with _opened(part, directory, checkpoint_sha256) as files:
            made = make(files)
            files.check()
            return made
    except Damaged as error:
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
    except (Damaged, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelUnavailable(f"the int8 encoder in {place} is damaged ({reason}): {advice}") from error


def place_of(part: Part, checkpoint_sha256: str, cache: Path) -> Path:
    """The directory of what is kept of a checkpoint."""
    return cache / f"{checkpoint_sha256[:16]}-{version()}-{CONVERSION}-{part.name}"


@contextmanager
def _opened(part: Part, directory: Path, checkpoint_sha256: str) -> Iterator[Files]:
    """The files in `directory`; Damaged if they were not written for this checkpoint, or cannot be read."""
    recorded = dict(_recorded(directory / DIGESTS_FILE))
    if recorded.pop("checkpoint", None) != checkpoint_sha256 or list(recorded) != _files_of(part):
        raise Damaged("its files are not those that were written")
    with ExitStack() as stack:
        try:
            copies = {name: stack.enter_context(private_copy(directory / name)) for name in recorded}
        except ModelUnavailable as error:
            raise Damaged(str(error)) from error
        yield Files(part, directory, copies, recorded)


def _files_of(part: Part) -> list[str]:
    return [f"{name}.{suffix}" for name in part.graphs for suffix in ("xml", "bin")]


def _recorded(path: Path) -> Mapping[str, str]:
    """The digests that a file holds, and that of the checkpoint."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Damaged(f"{path.name} is no JSON: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(each, str) for each in document.values()):
        raise Damaged(f"{path.name} holds no digests")
    return document


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
