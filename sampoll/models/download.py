"""Downloads large files over HTTP: resumed after an interruption, verified, and put in place atomically."""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import IO

import requests
from requests.auth import HTTPBasicAuth

from sampoll.core.errors import Interrupted, ModelUnavailable, StorageTrouble, translated_os_errors
from sampoll.core.names import printable
from sampoll.files.files import (
    keep_readers_from_locking,
    move_unless_taken,
    opened_regular,
    sha256_of,
)

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**16
"""If a connection breaks, the incomplete last chunk is lost."""
STALLED_SECONDS = 30.0
"""After so long without a byte, a connection is given up and another one made."""
TRIES = 5
"""Tries in a row without a new byte, after which the download fails."""
MAX_PAUSE_SECONDS = 8.0
BAR_SECONDS, LOG_SECONDS = 0.2, 10.0
"""How often the progress of a download is noted for a progress bar, and how often in the log."""
PART = ".part"


@dataclass(frozen=True)
class Download:
    """What a URL must give: `size` bytes with this digest. `login`, a user name and a password, is not part
    of the URL, so that no message of a library contains it."""

    url: str
    size: int
    sha256: str
    login: tuple[str, str] | None = field(default=None, repr=False)


def download(wanted: Download, path: Path, *, stalled_seconds: float = STALLED_SECONDS) -> None:
    """Downloads the file to `path`, resuming an earlier incomplete download.

    ModelUnavailable if the server lacks the file or has another one; StorageTrouble if the disk is too full.
    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY).
    """
    with translated_os_errors("download to", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive_lock(path) as part:
            if path.is_file():  # another process was faster
                return
            if os.path.lexists(path):
                raise StorageTrouble(f"{path} exists and is not a file: remove it")
            _check_room(wanted, part)
            fields = _fields(wanted, part, _size_of(part))
            log.info("downloading %s, %d bytes", wanted.url, wanted.size, extra=fields)
            _fetch(wanted, part, stalled_seconds)
            if sha256_of(part) != wanted.sha256:
                part.unlink()
                raise ModelUnavailable(
                    f"{wanted.url} sent a file of the right size with another sha256: it was deleted. "
                    "Try again, or another --mirror"
                )
            with part.open("rb") as file:
                os.fsync(file.fileno())
            if not move_unless_taken(part, path):
                raise StorageTrouble(f"{path} was created during the download: remove it")


def announced_size(url: str, login: tuple[str, str] | None) -> int:
    """The bytes that a server says a file has; ModelUnavailable if it lacks the file or does not say."""
    with _requesting(url, login) as session:
        try:
            response = session.head(
                url,
                headers={"Accept-Encoding": "identity"},
                allow_redirects=True,
                timeout=STALLED_SECONDS,
            )
            response.raise_for_status()
        except ValueError:  # the URL's, which `_requesting` reports
            raise
        except requests.RequestException as error:
            raise ModelUnavailable(f"{url}: {error}: try again, or correct --mirror") from error
    size = response.headers.get("Content-Length", "")
    if not (size.isascii() and size.isdigit()):
        raise ModelUnavailable(f"{url}: the server does not say how large the file is: use another --mirror")
    return int(size)


@contextmanager
def _requesting(url: str, login: tuple[str, str] | None) -> Iterator[requests.Session]:
    """A session with the login; ModelUnavailable if the URL, a proxy's or a redirection's is invalid."""
    with requests.Session() as session:
        if login is not None:
            user, password = login
            session.auth = HTTPBasicAuth(user.encode(), password.encode())
        try:
            yield session
        except ValueError as error:  # of requests and of urllib3; it may hold a part of the proxy's login
            raise ModelUnavailable(
                f"{url} cannot be requested: the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY "
                "names, or the place where the server redirects to, is not a valid URL"
            ) from error


@contextmanager
def _exclusive_lock(path: Path) -> Iterator[Path]:
    """The unfinished file, under an exclusive lock; Interrupted if another process has the lock."""
    with opened_regular(path.with_name(f".{path.name}.lock"), "a") as lock:
        keep_readers_from_locking(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Interrupted(f"another process downloads {path.name} just now: wait for it") from error
        yield path.with_name(path.name + PART)


def _check_room(wanted: Download, part: Path) -> None:
    missing = wanted.size - _size_of(part)
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise StorageTrouble(
            f"{part.parent} has {free} bytes free, and {missing} are missing: make room, or set another "
            "--home"
        )


def _fields(wanted: Download, part: Path, size: int) -> dict[str, str | int]:
    """What a progress bar shows, as fields of a log line."""
    name = part.name.removesuffix(PART)
    return {"event": "downloading", "file": printable(name), "bytes": size, "total_bytes": wanted.size}


def _fetch(wanted: Download, part: Path, stalled_seconds: float) -> None:
    """Requests what is missing until all of it is there; ModelUnavailable if nothing more comes."""
    failures = 0
    with _requesting(wanted.url, wanted.login) as session:
        while (size := _size_of(part)) < wanted.size:
            try:
                _append(session, wanted, part, stalled_seconds)
                trouble = "the connection ended too early"
            except ValueError:  # the URL's, which `_requesting` reports
                raise
            except requests.RequestException as error:
                trouble = str(error)
            if (now := _size_of(part)) >= wanted.size:
                return
            failures = 0 if now > size else failures + 1
            if failures >= TRIES:
                raise ModelUnavailable(
                    f"{wanted.url}: {trouble}; {now} of {wanted.size} bytes are kept, and the next try "
                    "goes on from there"
                )
            log.info("%s after %d of %d bytes; trying again", trouble, now, wanted.size)
            time.sleep(min(2.0**failures / 4, MAX_PAUSE_SECONDS))


def _append(session: requests.Session, wanted: Download, part: Path, stalled_seconds: float) -> None:
    start = _size_of(part)
    with session.get(
        wanted.url,
        # Not compressed: byte positions are those of the file.
        headers={"Range": f"bytes={start}-", "Accept-Encoding": "identity"},
        stream=True,
        timeout=stalled_seconds,
    ) as response:
        _check(response, wanted, start)
        if response.status_code == requests.codes.ok:  # it knows no ranges
            start = 0
        with opened_regular(part, "a") as unbuffered, BufferedWriter(unbuffered) as file:
            if not start:
                file.truncate(0)
            _copy(response, wanted, file, part, start)


def _check(response: requests.Response, wanted: Download, start: int) -> None:
    """ModelUnavailable for an answer that another try would not change."""
    status = response.status_code
    if status >= requests.codes.server_error or status == requests.codes.too_many_requests:
        response.raise_for_status()
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise ModelUnavailable(f"{wanted.url} answers {status} {response.reason}: correct --mirror")
    if status == requests.codes.partial_content:
        expected = f"bytes {start}-{wanted.size - 1}/{wanted.size}"
        got = response.headers.get("Content-Range", "")
        if got != expected:
            raise ModelUnavailable(f"{wanted.url} has another file: it offers {got!r}, and not {expected!r}")
    elif response.headers.get("Content-Length", str(wanted.size)) != str(wanted.size):
        raise ModelUnavailable(
            f"{wanted.url} has another file: {response.headers['Content-Length']} bytes, not {wanted.size}"
        )


def _copy(response: requests.Response, wanted: Download, file: IO[bytes], part: Path, start: int) -> None:
    size, noted, logged = start, 0.0, time.monotonic()
    for chunk in response.iter_content(CHUNK_BYTES):
        size += len(chunk)
        if size > wanted.size:
            file.truncate(0)
            raise ModelUnavailable(f"{wanted.url} has another file: more than {wanted.size} bytes")
        file.write(chunk)
        now = time.monotonic()
        if size == wanted.size or now - noted > BAR_SECONDS:
            noted, is_due = now, now - logged > LOG_SECONDS
            logged = now if is_due else logged
            fields = _fields(wanted, part, size)
            level = logging.INFO if is_due else logging.DEBUG
            log.log(level, "%s: %d of %d bytes", fields["file"], size, wanted.size, extra=fields)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
