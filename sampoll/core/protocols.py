"""Protocols: what each segmenter, transport and format must guarantee. The contract tests check it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from numpy.typing import NDArray

from sampoll.core.errors import JobError
from sampoll.core.jobs import Prompt, RgbImage, Submission
from sampoll.core.memory import StageMemory
from sampoll.core.results import Artifact, Delivery, Mask, ModelInfo, Segmentation
from sampoll.core.stopping import STOP_POLL_SECONDS as STOP_POLL_SECONDS

E = TypeVar("E")


class Segmenter(Protocol[E]):
    """Turns images into embeddings once, and embeddings with prompts into masks.

    E is the type of the model's embeddings, opaque to all other code. A segmenter keeps no state between
    calls, and the same calls give the same masks. A JobError means that a job caused it, ModelUnavailable
    ends the process without losing jobs, and any other exception fails each job that still raises it when
    run alone. If `info.device` is a CUDA device, two threads call the segmenter at the same time, and each
    may use what a call in the other one returned: its computation on the device is finished.
    """

    @property
    def info(self) -> ModelInfo: ...

    def embed(self, images: Sequence[RgbImage]) -> list[E]:
        """One embedding per image, in the same order."""

    def decode(self, work: Sequence[tuple[E, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        """The masks of each prompt of each image, all of the image's size; an empty mask is valid, and so are
        no masks for "everything" and for words. Raises BadPrompt for a prompt that this model cannot use,
        such as words beyond its limit; kinds that its factory does not name in `prompts` are refused before.

        Many prompts come in several calls, so that their masks do not fill the memory: no mask may depend on
        other prompts than its own."""


TakeMasks: TypeAlias = Callable[[int, int, Sequence[Mask]], None]
"""Takes further masks of a prompt: the index of its image, its own among the prompts of that image, and the
masks. May raise; the error must reach the caller of `decode_into`."""


@runtime_checkable
class StreamingSegmenter(Segmenter[E], Protocol[E]):
    """A segmenter that hands on masks as it makes them, and so gets all prompts at once."""

    def decode_into(self, work: Sequence[tuple[E, Sequence[Prompt]]], take: TakeMasks) -> None:
        """Hands the masks that `decode` would return to `take`, in any order, at least once for each prompt.

        Each call shows that the work goes on, even one without masks: there must be one every few seconds."""


@runtime_checkable
class CacheableSegmenter(Segmenter[E], Protocol[E]):
    """A segmenter whose embeddings are expensive enough to be cached.

    On a CPU too, two threads may call it at the same time: `sampoll annotate` decodes prompts for one image
    while the next one is embedded."""

    @property
    def embedding_key(self) -> str:
        """A file name that identifies everything that the embedding of given pixels depends on: the weights,
        by a digest of all that were loaded, the precision and the preprocessing."""

    @property
    def embedding_bytes(self) -> int:
        """The memory that one embedding takes."""

    def image_size(self, embedding: E) -> tuple[int, int]:
        """(H, W) of the image of `embedding`."""

    def packed(self, embedding: E) -> Mapping[str, NDArray[Any]]:
        """The complete embedding as arrays in host memory."""

    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> E:
        """The inverse of `packed`; ValueError or KeyError if the arrays are not an embedding."""


class Transport(Protocol):
    """Where submissions come from and results go.

    `submissions` is called once, and runs in one thread; `deliver` and `reject` may be called in another.
    """

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        """Yields submissions in first-seen order, in groups of those available; one that must run alone is
        its own group. Ends soon after `stop` is set; a one-shot transport also ends when this run has nothing
        left to do, including retries of the submissions that it yielded."""

    def begin(self, submissions: Sequence[Submission]) -> None:
        """Durably records that these are about to be tried; called before their content is decoded."""

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        """The name under which files of these suffixes will be published: the submission's own, or a
        version of it if that is taken. Later calls for the same submission return the same name."""

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Publishes the artifacts of each submission, and the last artifact after all others: if it exists,
        all of them do. The submission is then done and is never yielded again."""

    def reject(self, submission: Submission, error: JobError) -> None:
        """Fails the submission permanently and reports the error to its sender; after a TransientJobError
        it is retried later instead, until its attempts are used up."""

    def close(self) -> None:
        """Returns every submission that was neither delivered nor rejected to its source, without counting an
        attempt; where that is impossible, informs the senders instead."""


@runtime_checkable
class BudgetedTransport(Transport, Protocol):
    """A transport that says how much memory it takes itself."""

    @property
    def held_memory(self) -> StageMemory:
        """The most that it holds of what it has received and not handed out, or not sent yet."""


@runtime_checkable
class BoundedTransport(Transport, Protocol):
    """A transport that takes no more than the service has room for, and leaves the rest to other services."""

    def bound_groups(self, room: Callable[[], int]) -> None:
        """Called before `submissions`: a group that is begun now has at most as many submissions as `room`
        says, which is at least 1."""


class Results(Protocol):
    """Committed results, sorted by name; they can be iterated several times."""

    @property
    def labels(self) -> Sequence[str]:
        """All labels in the results' prompts, sorted."""

    def __iter__(self) -> Iterator[Segmentation]: ...


class DatasetFormat(Protocol):
    """Writes files about many results, after these are committed."""

    @property
    def folder(self) -> str:
        """The folder below the output that only this format uses."""

    def write(self, results: Results, directory: Path) -> None:
        """Writes the files of `results` into `directory`, and replaces those of an earlier call; each file
        is replaced atomically."""


class Format(Protocol):
    """Renders a segmentation as files in memory; does no I/O."""

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        """The suffixes of what `render` will return, in order."""

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        """The files of this segmentation; `segmentation.name` is their path without the suffix. `earlier`
        holds the files that the formats before this one rendered."""
