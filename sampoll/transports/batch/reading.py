"""Reads the files of work ahead, several at the same time."""

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeAlias

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, BadPrompt, JobError
from sampoll.core.jobs import Exif, Submission
from sampoll.core.names import base_name, kept_image
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.files.stores.store import Store
from sampoll.inputs.common_prompt import CommonPrompt
from sampoll.inputs.importers.write_pairs import check_size
from sampoll.inputs.reading import read_part
from sampoll.transports.batch.identity import job_id_of
from sampoll.transports.batch.work import Work

READ_AHEAD_BYTES = 64 * 2**20
"""What is read ahead at most, and is not taken yet; one image of any size is always read."""
UNKNOWN_BYTES = 8 * 2**20
"""What an image of unknown size counts."""
READS_PER_THREAD = 4
"""How many files are known to be read next, for each thread."""
GROUP_SIZE = 16
"""How many are taken together, so that they are also written together."""

Read: TypeAlias = Callable[[Work], Submission]
Taken: TypeAlias = tuple[Work, Submission | JobError]


class ReadAhead:
    """Reads work in `threads` threads, in its order."""

    def __init__(self, read: Read, threads: int) -> None:
        self._read = read
        self._most = READS_PER_THREAD * threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._reading: deque[tuple[Work, Future[Submission]]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._reading)

    @property
    def has_room(self) -> bool:
        return not self._reading or (self._bytes < READ_AHEAD_BYTES and len(self._reading) < self._most)

    def add(self, work: Work) -> None:
        self._reading.append((work, self._pool.submit(self._read, work)))
        self._bytes += _bytes_of(work)

    def take(self, stop: Event) -> list[Taken]:
        """The next one, once it is read, and those after it that are read by then; none after `stop`. Raises
        what concerns all, such as StorageTrouble."""
        first = self._reading[0][1]
        while not stop.is_set() and not first.done():
            wait([first], timeout=STOP_POLL_SECONDS)
        taken: list[Taken] = []
        while self._reading and not stop.is_set() and len(taken) < GROUP_SIZE and self._reading[0][1].done():
            work, future = self._reading.popleft()
            self._bytes -= _bytes_of(work)
            try:
                taken.append((work, future.result()))
            except JobError as error:
                taken.append((work, error))
        return taken

    def close(self) -> None:
        """Reads nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _bytes_of(work: Work) -> int:
    return UNKNOWN_BYTES if work.image_bytes is None else work.image_bytes


def read_submission(
    store: Store, work: Work, limits: LimitSettings, common: CommonPrompt | None, exif: Exif = "apply"
) -> Submission:
    """Makes a submission of the files of `work`; a JobError if they are no valid pair, or cannot be read."""
    if work.error is not None:
        raise work.error
    prompt = _prompt_of(store, work, limits, common)
    image_file = base_name(work.image)
    image = _content(store, work.image, limits.max_image_bytes, "--max-image-bytes", BadImage)
    check_size(image, work.stated_size, image_file, exif)
    image_sha256 = hashlib.sha256(image).hexdigest()
    return Submission(
        id=job_id_of(work.name, image_sha256, hashlib.sha256(prompt.content).hexdigest()),
        name=work.name,
        image_name=image_file,
        prompt_name=prompt.name,
        image=image,
        prompt=prompt.content,
        image_sha256=image_sha256,
        image_file=image_file,
        image_path="" if kept_image(work.name, image_file) == work.image else work.image,
    )


def _prompt_of(store: Store, work: Work, limits: LimitSettings, common: CommonPrompt | None) -> CommonPrompt:
    if work.prompts is not None:
        if len(work.prompts) > limits.max_prompt_bytes:
            raise BadPrompt(
                f"its prompts take more than {limits.max_prompt_bytes} bytes (--max-prompt-bytes)",
                file=base_name(work.image),
            )
        return CommonPrompt(work.prompts_from, work.prompts)
    if work.prompt is None:
        assert common is not None
        return common
    content = _content(store, work.prompt, limits.max_prompt_bytes, "--max-prompt-bytes", BadPrompt)
    return CommonPrompt(base_name(work.prompt), content)


def _content(
    store: Store, path: str, at_most: int, flag: str, refusal: type[BadImage] | type[BadPrompt]
) -> bytes:
    def read() -> bytes:
        try:
            return store.read(path, at_most)
        except FileNotFoundError as error:
            raise refusal("is not there", file=path) from error

    return read_part(read, base_name(path), flag, refusal)
