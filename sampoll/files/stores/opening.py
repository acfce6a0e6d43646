"""Opens stores by their addresses: paths of directories, and URIs."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from sampoll.core.addresses import redacted
from sampoll.core.errors import ConfigurationError, UsageError
from sampoll.files.home import expanded
from sampoll.files.stores.directory import DirectoryStore, Durability
from sampoll.files.stores.store import Store

SCHEMES = ("s3", "gs", "az")
"""Object stores: S3, Google Cloud Storage, Azure."""

Address: TypeAlias = Path | str
"""Of a directory, or of an object store."""


def address_of(text: str) -> Address:
    """What a command line names; UsageError if it can be no address."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if match is None:
        try:
            return Path(expanded(text))
        except ValueError as error:
            raise UsageError(str(error)) from error
    scheme = match[1].lower()
    if scheme == "file":
        return Path(unquote(urlsplit(text).path))
    if scheme not in SCHEMES:
        known = ", ".join(f"{each}://" for each in (*SCHEMES, "file"))
        raise UsageError(f"{redacted(text)}: no store of this kind: give a directory, or one of {known}")
    bucket, _, path = text[match.end() :].partition("/")
    if not bucket or "@" in bucket:
        raise UsageError(
            f"{redacted(text)} must name a bucket, without a login: credentials come from the environment"
        )
    return f"{scheme}://{bucket}/{path.strip('/')}".rstrip("/")


def overlap(one: Address, other: Address) -> bool:
    """Whether they are equal, or one is inside the other."""
    if isinstance(one, Path) and isinstance(other, Path):
        one, other = one.resolve(), other.resolve()
        return one.is_relative_to(other) or other.is_relative_to(one)
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
    return False


def opened(
    address: Address, *, transfers: int, retry_seconds: float, durability: Durability = "batch"
) -> Store:
    """The store at an address; a directory must exist. ConfigurationError without the package that an object
    store needs."""
    if isinstance(address, Path):
        return DirectoryStore(address.absolute(), durability)
    if find_spec("obstore") is None:
        raise ConfigurationError(f"{address} needs the package obstore: pip install 'sampoll[stores]'")
    from sampoll.files.stores.objects import ObjectStore

    return ObjectStore(address, transfers=transfers, retry_seconds=retry_seconds)


def folder_of_address(address: Address) -> Address:
    """The address of the folder that something is in."""
    return address.parent if isinstance(address, Path) else address.rpartition("/")[0]
