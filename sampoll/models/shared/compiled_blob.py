"""What OpenVINO makes of a graph when it compiles it, kept in a file: reading it takes half as long. It
refers to the weights of the graph, and has none itself."""

import hashlib
import logging
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampoll.files.atomic import replace_file
from sampoll.models.shared.device import cpu_flags
from sampoll.models.shared.openvino_graph import CompiledGraph, compile_options, core, imported_openvino

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

DIGEST_BYTES = 32


@dataclass(frozen=True)
class Blob:
    """The blob of a graph with this digest, in `directory`. It is used only if it is what was written there
    by this version of OpenVINO with these options, for weights of this size and a processor like this one."""

    directory: Path
    graph_sha256: str
    weights_bytes: int
    options: str

    def read(self) -> bytes | None:
        """The blob, if it is there and whole."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        digest, blob = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        return blob if digest == self._digest(blob) else None

    def write(self, blob: bytes) -> None:
        """Keeps the blob, if that is possible."""
        try:
            replace_file(self._path, self._digest(blob) + blob)
        except OSError as error:
            log.debug("cannot keep what was compiled in %s: %s", self.directory, error)

    @property
    def _path(self) -> Path:
        return self.directory / f"{hashlib.sha256(self._key).hexdigest()[:16]}.blob"

    @property
    def _key(self) -> bytes:
        graph = [self.graph_sha256, str(self.weights_bytes), self.options]
        machine = [imported_openvino().__version__, platform.machine(), *sorted(cpu_flags())]
        return "\n".join([*graph, *machine]).encode()

    def _digest(self, blob: bytes) -> bytes:
        return hashlib.sha256(self._key + blob).digest()


@dataclass(frozen=True)
class GraphFiles:
    """A graph in files: how it is read, its weights, the digest of both, and the directory for its blobs."""

    read: Callable[[], "openvino.Model"]
    weights: Path
    sha256: str
    directory: Path

    def compiled(self, precision: str, *, streams: int = 1) -> CompiledGraph:
        """The graph, as `openvino_graph.compiled`. It is read only if there is no blob of it, which is then
        kept: numbers in the weights may be wrong until then, their size may not."""
        options = compile_options(precision, streams)
        return CompiledGraph(self._compiled(options), precision, streams)

    def _compiled(self, options: dict[str, Any]) -> "openvino.CompiledModel":
        blob = Blob(self.directory, self.sha256, self.weights.stat().st_size, str(options))
        with_blob = {**options, "CACHE_MODE": "OPTIMIZE_SIZE"}
        try:
            if (content := blob.read()) is not None:
                return core().import_model(
                    content, "CPU", {**with_blob, "WEIGHTS_PATH": os.fspath(self.weights)}
                )
            compiled = core().compile_model(self.read(), "CPU", with_blob)
            blob.write(compiled.export_model().getvalue())
        except RuntimeError as error:
            log.debug("compiled as a whole: %s", error)
            return core().compile_model(self.read(), "CPU", options)
        return compiled
