"""Every error that sampoll raises on purpose, and the exit code that it carries.

::

    SampollError                   70  a bug in sampoll, unless a class below says otherwise
    ├── UsageError                  2  the command line
    ├── InputUnavailable           66  no input directory
    ├── ModelUnavailable           69  model, checkpoint or device
    │   └── DeviceFailed           71  the device worked before; a new process may use it again
    ├── ServerUnavailable          69  Redis cannot be reached
    ├── SystemUnsupported          69  the operating system lacks what this needs
    ├── OutputUnavailable          73  the output cannot be created, or has gone
    ├── StorageTrouble             74  reading or writing failed: disk full, read-only, I/O error
    ├── Interrupted                   75  stopped before everything was done; run it again
    │   └── Fenced                     another process took over the jobs of this one
    ├── PermissionRefused          77  the operating system denied access
    ├── ConfigurationError         78  settings, or directories that cannot go together
    └── JobError                    1  one job failed; the others continue
        ├── BadRequest
        ├── BadImage
        ├── ImageUnknown
        ├── BadPrompt
        ├── AmbiguousPair
        ├── IncompletePair
        ├── SegmentationFailed
        ├── OutputFailed
        ├── OutputExists
        ├── DraftChanged
        ├── Overloaded
        ├── Stopped
        ├── CrashedRepeatedly
        └── TransientJobError          the job is retried later
            ├── OutOfMemory
            ├── OutputTaken
            ├── UnmovableInput
            └── UnreadableInput

The codes are those of BSD's sysexits.h where it has one. Each message tells the user what to change.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike, fsdecode
from typing import Any, ClassVar, TypeAlias, TypeVar

from sampoll.core.names import printable


class SampollError(Exception):
    """Root of the errors that sampoll raises on purpose; `exit_code` is the process's."""

    exit_code: ClassVar[int] = 70

    def __reduce__(self) -> tuple[Any, ...]:
        """Without its constructor, which may take anything: errors go to other processes."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[SampollError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SampollError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


AnyError = TypeVar("AnyError", bound=SampollError)
Reword: TypeAlias = Callable[[str], str]
"""Puts a message into other words; `str` leaves it as it is."""


def reworded(error: AnyError, reword: Reword) -> AnyError:
    """The same error with its message in other words."""
    # Not copied by its constructor: a class of another package may take other arguments.
    other = type(error).__new__(type(error))
    other.__dict__.update(error.__dict__)
    other.args = (reword(str(error)),)
    return other


class UsageError(SampollError):
    exit_code = 2


class InputUnavailable(SampollError):
    exit_code = 66


class ModelUnavailable(SampollError):
    exit_code = 69


class DeviceFailed(ModelUnavailable):
    """The device has failed while it computed, and this process cannot use it again. A new one may."""

    exit_code = 71


class ServerUnavailable(SampollError):
    exit_code = 69


class SystemUnsupported(SampollError):
    exit_code = 69


class OutputUnavailable(SampollError):
    exit_code = 73


class StorageTrouble(SampollError):
    exit_code = 74


class Interrupted(SampollError):
    exit_code = 75


class Fenced(Interrupted):
    """Another process took over the jobs of this one, because its heartbeats had stopped for too long."""


class PermissionRefused(SampollError):
    exit_code = 77


class ConfigurationError(SampollError):
    exit_code = 78


class JobError(SampollError):
    """One job failed. `code` is the stable name of the error, which NAME.error.json contains.

    `file` is the name of the file that caused it, and `field` the path of the field in that file, if known;
    `reason` is the message without them.
    """

    exit_code = 1
    code: str = "job-failed"

    def __init__(self, message: str, *, file: str | None = None, field: str | None = None) -> None:
        super().__init__(": ".join(part for part in (file and printable(file), field, message) if part))
        self.file = file
        self.field = field
        self.reason = message


def as_value(error: AnyError) -> AnyError:
    """The error, to be kept: without the errors behind it, and the frames in which all of them were raised.
    Those have images and masks, and often the error itself, so that only the garbage collector frees them."""
    errors: list[BaseException] = [error]
    for each in errors:  # which grows meanwhile
        errors += [other for other in (each.__cause__, each.__context__) if other and other not in errors]
        each.__traceback__ = each.__cause__ = each.__context__ = None
    return error


class BadRequest(JobError):
    code = "bad-request"


class BadImage(JobError):
    code = "bad-image"


class ImageUnknown(JobError):
    """Only the digest of an image came, and the service does not have it: it has to be sent."""

    code = "image-unknown"


class BadPrompt(JobError):
    """`advice` is what to write instead; the message ends with it, `reason` does not."""

    code = "bad-prompt"

    def __init__(
        self, message: str, *, file: str | None = None, field: str | None = None, advice: str = ""
    ) -> None:
        ending = f" {advice[:1].upper()}{advice[1:]}" if message.endswith("?") else f": {advice}"
        super().__init__(f"{message}{ending}" if advice else message, file=file, field=field)
        self.reason = message


class AmbiguousPair(JobError):
    code = "ambiguous-pair"


class IncompletePair(JobError):
    code = "incomplete-pair"


class SegmentationFailed(JobError):
    code = "segmentation-failed"


class OutputFailed(JobError):
    code = "output-failed"


class OutputExists(JobError):
    code = "output-exists"


class DraftChanged(JobError):
    """Another window of the annotation page has saved or published the same image meanwhile."""

    code = "draft-changed"


class Overloaded(JobError):
    code = "overloaded"


class Stopped(JobError):
    code = "stopped"


class CrashedRepeatedly(JobError):
    code = "crashed-repeatedly"


class TransientJobError(JobError):
    """A temporary error: the job is retried later, until its attempts are used up."""

    code = "transient"


class OutOfMemory(TransientJobError):
    code = "out-of-memory"


class OutputTaken(TransientJobError):
    """Another program has taken a name of the result since it was reserved: the next try takes another."""

    code = "output-taken"


class UnreadableInput(TransientJobError):
    code = "unreadable-input"


class UnmovableInput(TransientJobError):
    code = "unmovable-input"


_NOT_OF_ONE_PATH = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EFBIG"),  # a disk, or a limit on the process
        *("EMFILE", "ENFILE", "ENOMEM"),  # the process or the machine
        "ENOENT",  # another process was faster, or a mount is gone
    )
    if hasattr(errno, name)
)


_REFUSALS = frozenset(
    getattr(errno, name)
    for name in (
        *("EPERM", "EACCES", "ENAMETOOLONG", "ENOTDIR", "EISDIR", "EEXIST", "ELOOP"),
        *("EXDEV", "EBUSY", "EINVAL", "EILSEQ"),
    )
)


def is_refusal(error: OSError) -> bool:
    """Whether the system refuses what was asked for, and would refuse it again; an I/O error may pass."""
    return error.errno in _REFUSALS


def concerns_one_path(error: OSError) -> bool:
    """Whether an error may concern only the path that an act was about. For some, such as EACCES or EIO, it
    may be the whole storage as well: then a probe of the storage fails too."""
    return error.errno not in _NOT_OF_ONE_PATH


@contextmanager
def translated_os_errors(doing: str, path: str | PathLike[str]) -> Iterator[None]:
    """Raises StorageTrouble or PermissionRefused for any OSError inside; the message contains `doing`, `path`
    and the file that caused the error, if the OSError names it."""
    try:
        yield
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        kind = PermissionRefused if refused else StorageTrouble
        at_fault = "" if error.filename is None else f": {printable(fsdecode(error.filename))}"
        raise kind(
            f"cannot {doing} {printable(fsdecode(path))}{at_fault}: {error.strerror or error}"
        ) from error
