"""What each actor gets from the driver, and how it makes sure that the two are at one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from sampoll.config.settings import Settings
from sampoll.core.errors import ConfigurationError
from sampoll.core.names import printable
from sampoll.files.stores.opening import Address, opened
from sampoll.files.stores.store import Store
from sampoll.formats.options import FormatOptions
from sampoll.transports.batch.ledger import OWN_FOLDER, needed_in
from sampoll.transports.batch.transport import BatchOptions


@dataclass(frozen=True)
class Order:
    """What an actor does, and what it must find: `version` of sampoll, `sign`, a file in `output`, and
    `first_image` in `images`. `asked` is what the results are made with."""

    settings: Settings
    images: Address
    output: Address
    options: BatchOptions
    formats: FormatOptions
    asked: Mapping[str, Any]
    sign: str
    first_image: str
    version: str = field(default_factory=lambda: version("sampoll"))

    def opened(self, address: Address) -> Store:
        """The store at an address, as the settings have it."""
        return opened(
            address,
            transfers=self.settings.batch.transfers,
            retry_seconds=self.settings.batch.store_timeout_seconds,
            durability=self.settings.spool.durability,
        )


def portable(settings: Settings) -> Settings:
    """The settings with absolute paths: actors have another working directory."""
    model = settings.model
    paths = {name: each.absolute() for name, each in model if isinstance(each, Path)}
    return settings.model_copy(update={"model": model.model_copy(update=paths)})


def absolute(address: Address) -> Address:
    return address.absolute() if isinstance(address, Path) else address


@contextmanager
def sign_in(results: Store) -> Iterator[str]:
    """The path of a file in the output that is there for as long as the run."""
    path = f"{OWN_FOLDER}/run-{uuid4().hex}"
    with needed_in(results):
        results.replace(path, b"", durable=False)
    try:
        yield path
    finally:
        with needed_in(results):
            results.delete(path)


def check_version(order: Order, host: str) -> None:
    """ConfigurationError if sampoll is another one here than on the driver."""
    if order.version != (here := version("sampoll")):
        raise ConfigurationError(
            f"{host} has sampoll {here}, and the driver {order.version}: install the same"
        )


def check_stores(order: Order, files: Store, results: Store, host: str) -> None:
    """ConfigurationError if SOURCE or DEST are not seen here as on the driver."""
    for store, path, kind in ((files, order.first_image, "SOURCE"), (results, order.sign, "--output")):
        try:
            store.read(path, at_most=0)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{host} does not see {printable(path)} in {printable(store.address)}, as the driver does: "
                f"mount {kind} there at the same path"
            ) from error
        except OSError:
            continue  # it is there, and larger than nothing
