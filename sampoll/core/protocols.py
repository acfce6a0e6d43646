"""The seams: what a segmenter, a transport and a format owe. The contract tests check these sentences."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from sampoll.core.errors import JobError
from sampoll.core.jobs import Prompt, RgbImage, Submission
from sampoll.core.results import Artifact, Delivery, Mask, ModelInfo, Segmentation

E = TypeVar("E")

STOP_POLL_SECONDS = 0.2
"""A transport that waits looks at its `stop` this often, at the least."""


class Segmenter(Protocol[E]):
    """Turns images into embeddings once, and embeddings with prompts into masks.

    E is the model's own embedding, opaque to everyone else. Nothing is kept between calls, and the same
    calls give the same masks. A JobError raised here is that job's fault, ModelUnavailable ends the
    process with nothing lost, and any other exception fails the job that it still happens to alone. One
    whose `info.device` is a CUDA device is called by two threads at a time.
    """

    @property
    def info(self) -> ModelInfo: ...

    def embed(self, images: Sequence[RgbImage]) -> list[E]:
        """One embedding an image, in the same order."""

    def decode(self, work: Sequence[tuple[E, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        """Per image, per prompt, its masks, each of the image's size; an empty mask is a valid answer. A
        BadPrompt for a kind of prompt that this model does not know."""


@runtime_checkable
class CacheableSegmenter(Segmenter[E], Protocol[E]):
    """A segmenter whose embeddings cost so much that they are worth keeping."""

    @property
    def embedding_key(self) -> str:
        """What an embedding depends on besides the image: weights, precision, preprocessing. A file name."""

    @property
    def embedding_bytes(self) -> int:
        """What one embedding takes in memory."""

    def image_size(self, embedding: E) -> tuple[int, int]:
        """(H, W) of its image."""

    def packed(self, embedding: E) -> Mapping[str, NDArray[Any]]:
        """All of an embedding as arrays in host memory."""

    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> E:
        """The same embedding again; ValueError or KeyError for arrays that are none."""


class Transport(Protocol):
    """Where submissions come from and results go.

    `submissions` is called once, and runs in one thread; `deliver` and `reject` may be called in another.
    """

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        """Submissions in first-seen order, in groups of what is there; one that must run alone is a group.
        Ends soon after `stop` is set; a one-shot transport also ends when nothing is left that this run could
        still do, retries of what it handed out included."""

    def begin(self, submissions: Sequence[Submission]) -> None:
        """Durably notes that these are about to be tried: called before anything looks at their content."""

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        """The name under which files of these suffixes will be published: the submission's own, or a
        version of it where that is taken. The same submission gets the same name ever after."""

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Publishes the artifacts of each submission, the last one last: once it is there, all of them are.
        Then the submission is done and never comes again."""

    def reject(self, submission: Submission, error: JobError) -> None:
        """Fails the submission for good and tells its sender why; after a TransientJobError it comes
        again later instead, until its attempts are spent."""

    def close(self) -> None:
        """Hands back, uncharged, every submission that was neither delivered nor rejected; where there is no
        place for them, tells their senders."""


class Results(Protocol):
    """Committed results, in the order of their names; they can be gone through several times."""

    @property
    def labels(self) -> Sequence[str]:
        """All labels of their prompts, sorted."""

    def __iter__(self) -> Iterator[Segmentation]: ...


class DatasetFormat(Protocol):
    """Makes files about many results, after the event."""

    @property
    def folder(self) -> str:
        """The folder below the output that is all its own."""

    def write(self, results: Results, directory: Path) -> None:
        """Writes the files of `results` into `directory`, over those of an earlier call; each file is there
        whole, or as it was before."""


class Format(Protocol):
    """Renders a segmentation as files in memory; does no I/O."""

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        """The suffixes of what `render` will return, in order."""

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        """The files of this segmentation, `segmentation.name` being their path without the suffix. `earlier`
        is what the formats before this one rendered."""
