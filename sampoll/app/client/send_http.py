"""`sampoll send --http`: sends pairs to a service over HTTP, and writes the results."""

import hashlib
import io
import itertools
import logging
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any

import orjson
import requests
from requests.adapters import HTTPAdapter

from sampoll.app.client.content import content_of
from sampoll.app.client.outcome import outcome
from sampoll.app.client.reply_files import log_skipped_prompts, write_files
from sampoll.app.client.reply_record import files_of
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.core.addresses import is_address, redacted, without_logins
from sampoll.core.errors import (
    JobError,
    PermissionRefused,
    SampollError,
    ServerUnavailable,
    UsageError,
    translated_os_errors,
)
from sampoll.core.filenames import versioned
from sampoll.core.names import RECORD_SUFFIX, printable
from sampoll.core.summary import CommandSummary
from sampoll.files.files import read_if_regular
from sampoll.inputs.discovery import Pair
from sampoll.monitoring.progress_bar import Progress, progress
from sampoll.transports.http.answer import ZIP
from sampoll.transports.http.refusals import REQUEST_ID, RETRY_SECONDS, UNAVAILABLE
from sampoll.transports.redis.replies import NoReply, Reply

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 2**30
PATIENCE_SECONDS = 5.0
"""How long to wait for a service that cannot be reached."""
SENT = "sent_sha256"
"""The entry of a record that says what was sent for it."""
REFUSED = (401, 403)


@dataclass(frozen=True)
class HttpOptions:
    """Where to send, and how: results are written into `output`, if it is set. At most `in_flight` requests
    are without an answer at a time; each is given up after `timeout_seconds`. What the output has already is
    sent only with `again`."""

    url: str
    token: str | None = field(repr=False)
    output: Path | None
    in_flight: int
    timeout_seconds: float
    again: bool = False


def url_of(text: str) -> str:
    """The address of a service; UsageError if it is none."""
    if not text.startswith(("http://", "https://")) or not is_address(text):
        raise UsageError(f"--http {redacted(text)}: must be an address such as http://gpu1:8000")
    return text


def send_over_http(
    pairs: Iterable[Pair | JobError], sending: HttpOptions, *, show_progress: bool
) -> tuple[int, CommandSummary]:
    """Sends every pair; returns the exit code and a summary."""
    stop = Event()
    with (
        stopping_on_signals(stop.set),
        progress("pair", is_shown=show_progress) as bar,
        _session(sending) as session,
    ):
        sender = _Sender(session, sending, bar, stop)
        outside_the_main_thread(partial(sender.run, iter(pairs)))
    counts = {"done": sender.done, "failed": sender.failed}
    if sender.known:
        counts["known"] = sender.known
    return outcome(counts, skipped_prompts=sender.skipped_prompts, is_stopped=stop.is_set())


def _session(sending: HttpOptions) -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=sending.in_flight))
    session.headers["Accept"] = ZIP
    if sending.token is not None:
        session.headers["Authorization"] = f"Bearer {sending.token}"
    return session


@dataclass
class _Sender:
    """Some threads, each of which sends one pair after the other."""

    session: requests.Session
    sending: HttpOptions
    bar: Progress
    stop: Event
    done: int = 0
    failed: int = 0
    known: int = 0
    skipped_prompts: int = 0
    _pairs: Lock = field(default_factory=Lock)
    _counts: Lock = field(default_factory=Lock)
    _is_over: Event = field(default_factory=Event)

    def run(self, pairs: Iterator[Pair | JobError]) -> None:
        """Raises what makes it useless to go on, such as a service that is away."""
        with ThreadPoolExecutor(self.sending.in_flight, "send") as pool:
            for worker in [pool.submit(self._send_all, pairs) for _ in range(self.sending.in_flight)]:
                worker.result()

    def _send_all(self, pairs: Iterator[Pair | JobError]) -> None:
        try:
            while not (self.stop.is_set() or self._is_over.is_set()):
                with self._pairs:
                    pair = next(pairs, None)
                if pair is None:
                    return
                self._send(pair)
        except BaseException:
            self._is_over.set()
            raise

    def _send(self, pair: Pair | JobError) -> None:
        try:
            if isinstance(pair, JobError):
                raise pair
            image, prompt = content_of(pair, MAX_FILE_BYTES)
            digest = hashlib.sha256(hashlib.sha256(image).digest() + prompt).hexdigest()
            if not self.sending.again and self._has(pair.name, digest):
                log.info("%s: was done before", printable(pair.name))
                self._count(known=1)
                self.bar.advance()
                return
            self._write(pair, digest, self._answer(pair, image, prompt))
        except JobError as error:
            named = "" if isinstance(pair, JobError) or error.file else f"{printable(pair.name)}: "
            log.error("%s%s", named, error)
            self._count(failed=1)
            self.bar.fail()

    def _has(self, name: str, digest: str) -> bool:
        """Whether the output has the whole result of what would be sent, as `name` or a version of it."""
        output = self.sending.output
        if output is None:
            return False
        for version in itertools.count(1):
            record = read_if_regular(output / f"{versioned(name, version)}{RECORD_SUFFIX}")
            if record is None or _is_whole(output, record, digest):
                break
        return record is not None

    def _answer(self, pair: Pair, image: bytes, prompt: bytes) -> requests.Response:
        """The answer with the result. Asks again if the service is busy, or the connection breaks: that costs
        at most one more computation."""
        deadline = time.monotonic() + self.sending.timeout_seconds
        reached_at = time.monotonic()
        while True:
            try:
                answer = self._ask(pair, image, prompt, deadline - time.monotonic())
            except requests.Timeout:
                raise JobError(f"no answer came within {self.sending.timeout_seconds:g} s") from None
            except requests.RequestException as error:
                if time.monotonic() - reached_at > PATIENCE_SECONDS:
                    raise self._unreachable(error) from error
            else:
                if answer.status_code != UNAVAILABLE or time.monotonic() > deadline:
                    return answer
                reached_at = time.monotonic()
            if self.stop.wait(RETRY_SECONDS):
                raise JobError("was not answered before the stop")

    def _unreachable(self, error: Exception) -> ServerUnavailable:
        return ServerUnavailable(
            f"{redacted(self.sending.url)} cannot be reached: start `sampoll serve http` there, or correct "
            f"--http: {without_logins(str(error))}"
        )

    def _ask(self, pair: Pair, image: bytes, prompt: bytes, seconds: float) -> requests.Response:
        files: Mapping[str, Any] = {"image": (pair.image.name, image)}
        if prompt:
            files = {**files, "prompt": (None, prompt)}
        return self.session.post(
            f"{self.sending.url.rstrip('/')}/v1/segment",
            files=files,
            headers={REQUEST_ID: uuid.uuid4().hex},
            timeout=max(0.1, seconds),
            allow_redirects=False,
        )

    def _write(self, pair: Pair, digest: str, answer: requests.Response) -> None:
        if answer.status_code != requests.codes.ok:
            raise _error_in(answer)
        stem = pair.name
        reply = _reply_in(answer)
        if self.sending.output is not None:
            try:
                files = files_of(reply).of_image(pair.image_path).with_meta({SENT: digest})
            except NoReply as error:
                raise JobError(str(error)) from error
            with translated_os_errors("write into", self.sending.output):
                stem = write_files(self.sending.output, pair.name, files)
        log.info(
            "%s: %s", printable(pair.name), "done" if stem == pair.name else f"done as {printable(stem)}"
        )
        self._count(done=1, skipped_prompts=log_skipped_prompts(pair.name, reply))
        self.bar.advance()

    def _count(self, **counts: int) -> None:
        with self._counts:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)


def _is_whole(output: Path, record: bytes, digest: str) -> bool:
    """Whether a record is of what has this digest, and its files exist."""
    try:
        meta = orjson.loads(record)["meta"]
        files = orjson.loads(meta["files"])
        return meta.get(SENT) == digest and all((output / file).is_file() for file in files)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # another program's file


def _error_in(answer: requests.Response) -> SampollError:
    """The error that an answer reports."""
    try:
        message = str(orjson.loads(answer.content)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = f"the service answers with status {answer.status_code}"
    if answer.status_code in REFUSED:
        return PermissionRefused(
            f"{printable(message)}; SAMPOLL_HTTP_TOKEN, or --http-token-file, has the token"
        )
    return JobError(printable(message))


def _reply_in(answer: requests.Response) -> Reply:
    """The files of an archive, by their suffixes; JobError if the answer is none of a service of ours."""
    name = answer.headers.get(REQUEST_ID, "")
    try:
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            files = {each.removeprefix(name): archive.read(each) for each in archive.namelist()}
        skipped = orjson.loads(orjson.loads(files[RECORD_SUFFIX])["meta"]["skipped"])
    except (zipfile.BadZipFile, KeyError, TypeError, orjson.JSONDecodeError, zlib.error) as error:
        raise JobError(f"the answer is not that of a service of sampoll: {error}") from error
    return Reply(None, [], b"", None, files, {"skipped_prompts": skipped})
