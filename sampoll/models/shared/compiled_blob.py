"""What OpenVINO makes of a graph when it compiles it, kept in a file: reading it takes half as long. It
refers to the weights of the graph, and has none itself."""

import hashlib
import logging
import platform
from dataclasses import dataclass
from pathlib import Path

from sampoll.files.atomic import replace_file
from sampoll.models.shared.device import cpu_flags

log = logging.getLogger(__name__)

DIGEST_BYTES = 32


@dataclass(frozen=True)
class Blob:
    """The blob of a graph with these digest and weights, in `directory`. It is used only if it is what was
    written there by this version of OpenVINO with these options, for a processor like this one."""

    directory: Path
    graph_sha256: str
    options: str
    version: str
    weights: Path

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
        facts = [self.graph_sha256, self.options, self.version, platform.machine(), *sorted(cpu_flags())]
        return "\n".join(facts).encode()

    def _digest(self, blob: bytes) -> bytes:
        return hashlib.sha256(self._key + blob).digest()
