"""A model that works in threads of this process, for callers that have their jobs at hand."""

import os
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Event, Thread

from sampoll.app.assembly import batch_size_of, decoding_options, load_model, named, service_of
from sampoll.config.settings import Settings
from sampoll.core.errors import ModelUnavailable
from sampoll.core.events import Listener, ModelLoaded, ignore_events
from sampoll.core.jobs import Submission
from sampoll.core.protocols import Format
from sampoll.core.results import Artifact, Delivery, Segmentation
from sampoll.engine.pipeline import Queues, Service
from sampoll.engine.progress import unwatched
from sampoll.transports.memory import MemoryTransport

FORKED = "this process was forked from the one that has loaded the model: load the model after the fork"


class InProcess:
    """The model of `settings`, loaded, and its service, until it is closed. Threads may share it.

    All results are rendered in `formats`, and each in those that its submission asks for. `ended` is done
    when the service has ended, and has what has ended it as its exception. Raises SampollError if the model
    cannot be loaded.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        emit: Listener = ignore_events,
        formats: Sequence[Format] = (),
        queues: Queues | None = None,
        answers_while_embedding: bool = False,
    ) -> None:
        """`answers_while_embedding`: an image that is being embedded keeps no other submission waiting."""
        self.settings = named(settings)
        self.decoding = decoding_options(self.settings)
        model = load_model(self.settings.model)
        self.model = model.segmenter.info
        self._embeddings = model.embeddings
        self.batch_size = batch_size_of(self.settings.model, self.model)
        self.transport = MemoryTransport(
            emit, group_size=self.batch_size, max_bytes=settings.requests.queue_bytes
        )
        self._process = os.getpid()
        self.ended: Future[None] = Future()
        self._formats = tuple(formats)
        self._stop = Event()
        service = service_of(
            self.settings,
            self.transport,
            model,
            model.decode_with(self.decoding),
            self._formats_of,
            emit=emit,
            queues=queues,
            executors=2 if answers_while_embedding and self.keeps_embeddings else None,
        )
        emit(ModelLoaded(self.model))
        # A daemon, as are the threads that it starts: a process that forgets to close it can end.
        self._thread = Thread(target=self._run, args=(service,), name="sampoll", daemon=True)
        self._thread.start()

    def submit(
        self, submission: Submission, formats: Sequence[Format] = (), *, waits: bool = True
    ) -> Future[Delivery]:
        """The future of a submission, as of `MemoryTransport.submit`."""
        if self._is_forked:
            raise ModelUnavailable(FORKED)
        return self.transport.submit(submission, formats, waits=waits)

    @property
    def keeps_embeddings(self) -> bool:
        """Whether the model has embeddings that are worth keeping."""
        return self._embeddings is not None

    def knows(self, image_sha256: str) -> bool:
        """Whether the embedding of that image is cached: a submission then needs the digest only."""
        return self._embeddings is not None and self._embeddings.get(image_sha256) is not None

    def stop(self, *, now: bool = False) -> None:
        """Lets what was begun end, and fails the rest as Stopped; `now`, no more than the batch that is
        running ends. Does not wait. Does nothing in a forked process."""
        if self._is_forked:
            return
        self.transport.stop()
        if now:
            self._stop.set()

    def close(self, timeout_seconds: float | None = None) -> None:
        """Stops the service, and waits until it has ended."""
        self.stop()
        self._thread.join(timeout_seconds)

    @property
    def _is_forked(self) -> bool:
        """Whether this is a fork of the process in which the threads of the service are."""
        return os.getpid() != self._process

    def _formats_of(self, submission: Submission) -> Sequence[Format]:
        return (*self._formats, *self.transport.formats_of(submission))

    def _run(self, service: Service) -> None:
        try:
            service.run(self._stop)
        except BaseException as error:  # noqa: BLE001  raised to all who wait for a result
            self.transport.close(error)
            self.ended.set_exception(error)
        else:
            self.transport.close()
            self.ended.set_result(None)


class Kept:
    """A format that writes no files, and keeps what it is given: the segmentation, its masks cleaned. For one
    submission."""

    def __init__(self) -> None:
        self.segmentation: Segmentation | None = None

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return []

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        self.segmentation = unwatched(segmentation)
        return []
