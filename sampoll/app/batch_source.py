"""What `sampoll batch` takes images from: a tree of them, or a manifest that names some of a tree."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sampoll.core.errors import InputUnavailable, UsageError
from sampoll.core.names import base_name, printable
from sampoll.files.stores.opening import Address, address_of, folder_of_address
from sampoll.files.stores.store import Store
from sampoll.inputs.manifest import is_manifest


@dataclass(frozen=True)
class BatchSource:
    """The tree of the images, and the manifest, None if all images of the tree are meant."""

    images: Address
    manifest: Address | None = None

    def __str__(self) -> str:
        return str(self.manifest or self.images)

    @contextmanager
    def local_manifest(self, opened: Callable[[Address], Store]) -> Iterator[Path]:
        """The manifest as a file of this machine; InputUnavailable if it is not there."""
        manifest = self.manifest
        if isinstance(manifest, Path):
            yield manifest
            return
        assert manifest is not None
        name = base_name(manifest)
        with closing(opened(folder_of_address(manifest))) as store:
            try:
                content = store.read(name)
            except OSError as error:
                raise InputUnavailable(f"{printable(manifest)} cannot be read: {error.strerror}") from error
        with tempfile.TemporaryDirectory(prefix="sampoll-") as directory:
            path = Path(directory) / name
            path.write_bytes(content)
            yield path


def batch_source(source: str, images: str | None) -> BatchSource:
    """What a command line names; UsageError if it cannot be meant."""
    address = address_of(source)
    if not is_manifest(source) or (isinstance(address, Path) and address.is_dir()):
        if images is not None:
            raise UsageError("--images is for a manifest: SOURCE itself has the images")
        return BatchSource(address)
    if isinstance(address, Path) and not address.exists():
        raise InputUnavailable(f"no manifest {address}: correct SOURCE")
    return BatchSource(folder_of_address(address) if images is None else address_of(images), address)
