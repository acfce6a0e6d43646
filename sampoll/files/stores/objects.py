"""A part of a bucket as a store, by the package obstore: S3, Google Cloud Storage, Azure."""

import errno
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from sampoll.core.errors import PermissionRefused, StorageTrouble
from sampoll.core.names import base_name, printable
from sampoll.files.stores.store import Listing, NamedContent

T = TypeVar("T")

PAUSES_SECONDS = (0.1, 0.5, 2.0, 5.0)
"""Before a request is repeated here: the first times, and each time after these."""
MAX_REASON_CHARACTERS = 300
NO_BUCKET = "404 Not Found"
"""What the error of a list has in it if there is no such bucket."""


class ObjectStore:
    """The objects below an address such as s3://bucket/folder. `transfers` are written at the same time; a
    request is repeated for at most `retry_seconds`. Credentials, region and endpoint come from the variables
    of the environment that obstore knows, or from the machine."""

    def __init__(self, address: str, *, transfers: int, retry_seconds: float) -> None:
        import obstore  # here, because only those who use it need it
        from obstore.store import from_url

        self._obstore: Any = obstore
        self._address = address
        self._retry_seconds = retry_seconds
        self._pool = ThreadPoolExecutor(transfers, thread_name_prefix="transfer")
        with self._translated("open"):
            self._store: Any = from_url(
                address,
                retry_config={
                    "max_retries": 1000,  # the time decides
                    "retry_timeout": timedelta(seconds=retry_seconds),
                },
            )

    @property
    def address(self) -> str:
        return self._address

    def listing(self, folder: str) -> Listing:
        def listed() -> Any:
            return self._obstore.list_with_delimiter(self._store, prefix=folder or None)

        found = self._done("list", folder, listed)
        # An object that has the name of the folder itself is what some tools make instead of a folder.
        objects = (each for each in found["objects"] if each["path"] != folder)
        files = {base_name(each["path"]): each["size"] for each in objects}
        return Listing(files, [base_name(path) for path in found["common_prefixes"]])

    def read(self, path: str, at_most: int | None = None) -> bytes:
        def read() -> bytes:
            found = self._obstore.get(self._store, path)
            if at_most is not None and (size := found.meta["size"]) > at_most:
                raise OSError(errno.EFBIG, f"has {size} bytes, more than {at_most}", path)
            return bytes(found.bytes())

        return self._done("read", path, read)

    def create_all(self, files: Sequence[NamedContent]) -> list[bool]:
        return list(self._pool.map(self._is_created, files))

    def replace(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._done("write", path, partial(self._put, path, content, "overwrite"))

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._done("delete", path, partial(self._obstore.delete, self._store, path))

    def publish(self, results: Sequence[Sequence[NamedContent]]) -> list[OSError | None]:
        errors: list[OSError | None] = [None] * len(results)
        first = [(number, file) for number, files in enumerate(results) for file in files[:-1]]
        for number, error in self._errors(self.replace, first):
            errors[number] = errors[number] or error
        last = [(number, files[-1]) for number, files in enumerate(results) if errors[number] is None]
        for number, error in self._errors(self._create, last):
            errors[number] = error
        return errors

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _errors(
        self, write: Callable[[str, bytes], None], files: Sequence[tuple[int, NamedContent]]
    ) -> Iterator[tuple[int, OSError | None]]:
        """Writes files, several at the same time; yields what has kept each from being written, after its
        number."""

        def error_of(numbered: tuple[int, NamedContent]) -> OSError | None:
            try:
                write(*numbered[1])
            except OSError as error:
                return error
            return None

        return zip((number for number, _ in files), self._pool.map(error_of, files), strict=True)

    def _is_created(self, file: NamedContent) -> bool:
        try:
            self._create(*file)
        except FileExistsError:
            return False
        return True

    def _create(self, path: str, content: bytes) -> None:
        """FileExistsError if the file is there."""
        try:
            self._done("write", path, partial(self._put, path, content, "create"))
        except FileExistsError:
            # A request whose answer was lost is repeated, and then finds what it has made itself.
            if self.read(path) != content:
                raise

    def _put(self, path: str, content: bytes, mode: str) -> None:
        try:
            self._obstore.put(self._store, path, content, mode=mode, use_multipart=False)
        except FileNotFoundError as error:
            raise StorageTrouble(f"cannot write to {self._address}: {_reason(error)}") from error

    def _done(self, doing: str, path: str, request: Callable[[], T]) -> T:
        """What a request returns. obstore repeats those that the store refuses; a lost connection, or an
        answer that ends too early, is not repeated there if the request may have been done."""
        deadline = time.monotonic() + self._retry_seconds
        for pause_seconds in itertools.chain(PAUSES_SECONDS, itertools.repeat(PAUSES_SECONDS[-1])):
            try:
                with self._translated(doing, path):
                    return request()
            except StorageTrouble:
                if time.monotonic() + pause_seconds > deadline:
                    raise
            time.sleep(pause_seconds)
        raise AssertionError("repeated for ever")

    @contextmanager
    def _translated(self, doing: str, path: str = "") -> Iterator[None]:
        """The errors of obstore as those of a store."""
        from obstore import exceptions

        place = printable(f"{self._address.rstrip('/')}/{path}")
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, _reason(error), path) from error
        except exceptions.AlreadyExistsError as error:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
        except (exceptions.InvalidPathError, ValueError) as error:
            raise OSError(errno.EINVAL, _reason(error), path) from error
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            if doing == "read" and self._can_be_listed():
                raise PermissionError(errno.EACCES, _reason(error), path) from error
            raise PermissionRefused(f"cannot {doing} {place}: {_reason(error)}") from error
        except exceptions.BaseError as error:
            if doing == "list" and NO_BUCKET in str(error):
                raise FileNotFoundError(errno.ENOENT, _reason(error), path) from error
            raise StorageTrouble(f"cannot {doing} {place}: {_reason(error)}") from error

    def _can_be_listed(self) -> bool:
        """Whether the credentials are good for anything: if not, no single object is at fault."""
        try:
            next(iter(self._obstore.list(self._store, chunk_size=1)), None)
        except Exception:  # noqa: BLE001  whatever it is, no single object is at fault
            return False
        return True


def _reason(error: Exception) -> str:
    """What a store says in its answer, or the first line of the error, without the queries of URLs, which may
    be signatures."""
    text = str(error)
    code, message = (re.search(rf"<{part}>([^<]*)</{part}>", text) for part in ("Code", "Message"))
    if code is not None:
        said = f"{code[1]}: {message[1]}" if message is not None and message[1] else code[1]
    else:
        said = re.sub(r"\?[^\s\")]*", "?***", text.partition("\n")[0].strip())
    return printable(said[:MAX_REASON_CHARACTERS])
