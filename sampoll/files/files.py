"""File operations, atomic unless stated otherwise, that never act on the target of a link."""

import ctypes
import errno
import hashlib
import os
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from io import FileIO
from operator import or_
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias

from sampoll.core.turns import apart

StrPath: TypeAlias = str | PathLike[str]
"""A path; as text where thousands are used a second, because Path takes longer to join two parts than the
system to open the file."""

# Linux only; None elsewhere.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_LIBC_RENAMEAT2 = getattr(_LIBC, "renameat2", None)
_LIBC_SYNCFS = getattr(_LIBC, "syncfs", None)


def identity_of(directory: Path) -> tuple[int, int] | None:
    """The device and inode numbers, which identify a directory; None if it cannot be accessed."""
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _ignore_error(folder: str, error: OSError) -> None:
    pass


def walk(
    directory: Path,
    *,
    enters: Callable[[str], bool] = lambda folder: True,
    on_error: Callable[[str, OSError], None] = _ignore_error,
) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
    """Yields `directory`, and the folders below it for which `enters` is true: the path relative to
    `directory` ("" for itself), and all entries except folders. Folders are sorted by name; links to folders
    are not followed.

    A folder that cannot be read is skipped, after a call of `on_error` with its path, unless it was deleted
    meanwhile.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        files, below = [], []
        try:
            with os.scandir(directory / folder) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        files.append(entry)
                    elif enters(path := f"{folder}/{entry.name}" if folder else entry.name):
                        below.append(path)
        except OSError as error:
            if not folder or not isinstance(error, FileNotFoundError):
                on_error(folder, error)
            continue
        pending += sorted(below, reverse=True)
        yield folder, files


def files_below(directory: Path, *, enters: Callable[[str], bool] = lambda folder: True) -> Iterator[Path]:
    """The files in a directory, sorted by name, then those in each folder below for which `enters` is true;
    unreadable folders are skipped."""
    for folder, entries in walk(directory, enters=enters):
        for name in sorted(entry.name for entry in entries if entry.is_file()):
            yield directory / folder / name


def subdirectories(directory: Path) -> list[Path]:
    """The directories directly inside, sorted by name; none if `directory` does not exist."""
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _flags(*names: str) -> int:
    """These flags of os.open, as far as this system has them."""
    return reduce(or_, (getattr(os, name, 0) for name in names))


_OPEN_FLAGS = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "a": os.O_WRONLY | os.O_APPEND | os.O_CREAT,
}
# Without O_NONBLOCK, opening a pipe would wait for its other end.
_AT_ONCE = _flags("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
_ONLY_AS_IT_IS = _AT_ONCE | _flags("O_NOFOLLOW")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flags("O_CLOEXEC", "O_BINARY")
_DIRECTORY = _flags("O_RDONLY", "O_DIRECTORY", "O_CLOEXEC")
NO_FILE_OF_OURS = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,  # a link
        errno.EINVAL,  # a pipe, a directory or a device: raised by `opened_regular`
        errno.EISDIR,
        errno.ENXIO,  # a socket, or a pipe that is not read
        errno.EFBIG,
        errno.EACCES,
        errno.EPERM,
    }
)
"""The errors of opening what is not there, or what sampoll did not write."""


def opened_regular(path: StrPath, mode: Literal["r", "r+", "a"] = "r") -> FileIO:
    """A regular file, open in `mode`; OSError for a link (ELOOP) or anything else (EINVAL). "a" creates a
    missing file."""
    descriptor, _ = _open_regular(path, _OPEN_FLAGS[mode])
    return FileIO(descriptor, mode)


def _open_regular(path: StrPath, flags: int, *, how: int = _ONLY_AS_IT_IS) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file, and its status."""
    descriptor = os.open(path, flags | how, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
    return descriptor, status


def read_regular(path: StrPath, *, at_most: int | None = None, follows_links: bool = False) -> bytes:
    """The content of a regular file; OSError for a link (ELOOP) unless `follows_links`, for anything else
    (EINVAL), and for more than `at_most` bytes (EFBIG)."""
    descriptor, status = _open_regular(path, os.O_RDONLY, how=_AT_ONCE if follows_links else _ONLY_AS_IT_IS)
    try:
        if at_most is not None and status.st_size > at_most:
            raise OSError(errno.EFBIG, f"has {status.st_size} bytes, more than {at_most}", os.fspath(path))
        # One byte more, so that the end of most files is seen with the first read.
        content = os.read(descriptor, status.st_size + 1)
        if len(content) == status.st_size:
            return content
        with FileIO(descriptor, closefd=False) as file:
            return content + file.readall()
    finally:
        os.close(descriptor)


def read_if_regular(path: StrPath, *, at_most: int | None = None) -> bytes | None:
    """As `read_regular`, but None if `path` is missing, or is anything that sampoll does not write there: no
    regular file, one that is too large, or one that this user may not read."""
    try:
        return read_regular(path, at_most=at_most)
    except OSError as error:
        if error.errno not in NO_FILE_OF_OURS:
            raise
        return None


def is_accessible(path: Path, mode: int) -> bool:
    """Whether this process may use `path` in this mode of os.access. Its capabilities count too."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file; a link to it is followed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_file(path: StrPath, content: bytes, *, sync: bool) -> None:
    """Creates `path`; syncs its content to disk if `sync`. After a failure an incomplete file may exist."""
    descriptor = os.open(path, _NEW_FILE, 0o666)
    try:
        write_all(descriptor, content)
        if sync:
            sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def create_anew(path: StrPath, content: bytes, *, sync: bool) -> None:
    """Creates `path`, and replaces a file that a process killed at this point may have left."""
    try:
        create_file(path, content, sync=sync)
    except FileExistsError:
        os.unlink(path)
        create_file(path, content, sync=sync)


def append_line(path: Path, line: bytes, *, sync: bool) -> None:
    """Appends a line to a file, which is created if it is missing.

    With `sync`, the line and the file's name are then on disk. A process killed during the call may leave an
    incomplete line; the next call still begins a new line. OSError if `path` is not a regular file.
    """
    descriptor, _ = _open_regular(path, _OPEN_FLAGS["a"])
    try:
        write_all(descriptor, b"\n" + line)
        if sync:
            sync_descriptor(descriptor)
    finally:
        os.close(descriptor)
    if sync:
        sync_directory(path.parent)


def sync_descriptor(descriptor: int) -> None:
    """Syncs an open file or directory to disk."""
    with apart():
        os.fsync(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes all of `content`; after an error, a part of it may be written."""
    unwritten = memoryview(content)
    while unwritten:
        unwritten = unwritten[os.write(descriptor, unwritten) :]


def file_in_the_way(directory: Path) -> Path | None:
    """The part of a directory's path that exists and is no directory; None if we see none."""
    for part in (directory, *directory.parents):
        if os.path.exists(part):  # False where we may not look
            return None if os.path.isdir(part) else part
    return None


def ensure_directory(directory: Path) -> None:
    """Creates a directory and its parents if they are missing; the names of new ones are then on disk."""
    if not directory.is_dir():
        ensure_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def ensure_below(root: Path, directory: Path) -> None:
    """Creates a directory and its parents below `root` if they are missing; the names of new ones are then on
    disk. NotADirectoryError for a file among them, and for a link, which could lead out of `root`."""
    path = root
    for part in directory.relative_to(root).parts:
        path /= part
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            path.mkdir(exist_ok=True)
            sync_directory(path.parent)
        else:
            if not stat.S_ISDIR(mode):
                raise NotADirectoryError(
                    errno.ENOTDIR, "is a link or a file, and no directory", os.fspath(path)
                )


def sync_directory(directory: Path) -> None:
    """Syncs the names in `directory` to disk, where the system can open directories."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with opened_directory(directory) as descriptor:
        sync_descriptor(descriptor)


def sync_filesystems(*directories: Path) -> None:
    """Syncs the filesystems of these directories as `sync_filesystem`, one that several share only once."""
    for directory in {directory.stat().st_dev: directory for directory in directories}.values():
        sync_filesystem(directory)


def sync_filesystem(directory: Path) -> None:
    """Syncs the whole filesystem of `directory` to disk, including files of other programs."""
    if _LIBC_SYNCFS is None:
        with apart():
            os.sync()
        return
    with opened_directory(directory) as descriptor:
        with apart():
            has_failed = _LIBC_SYNCFS(descriptor) != 0
        if has_failed:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(directory))


@contextmanager
def opened_directory(directory: Path) -> Iterator[int]:
    """A descriptor of a directory."""
    descriptor = os.open(directory, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def move_unless_taken(source: StrPath, target: StrPath) -> bool:
    """Moves a file in one step; if `target` exists, changes nothing and returns False.

    Across filesystems, the source is removed once a complete copy is in place.
    """
    match _rename_unless_taken(source, target):
        case 0:
            return True
        case errno.EEXIST:
            return False
        case errno.EXDEV:
            return _move_a_copy(Path(source), Path(target))
        case errno.EINVAL | errno.ENOSYS | errno.EOPNOTSUPP:  # not on this filesystem, or not on this system
            return _link_and_unlink(Path(source), Path(target))
        case number:
            raise OSError(number, os.strerror(number), os.fspath(source), None, os.fspath(target))


def move_all_unless_taken(moves: Sequence[tuple[StrPath, StrPath]]) -> bool:
    """Moves all files to their targets, in order; if a target exists, moves those before it back and returns
    False."""
    for index, (source, target) in enumerate(moves):
        if not move_unless_taken(source, target):
            for origin, moved in reversed(moves[:index]):
                move_unless_taken(moved, origin)
            return False
    return True


def move_replacing(source: Path, target: Path) -> None:
    """Moves a file, and replaces `target` if it exists.

    Across filesystems, the source is removed once a complete copy is in place.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with _copied_beside(source, target) as copy:
            copy.rename(target)
            sync_directory(target.parent)
        source.unlink()


def _rename_unless_taken(source: StrPath, target: StrPath) -> int:
    """renameat2(2) with RENAME_NOREPLACE; returns its errno, 0 for success."""
    if _LIBC_RENAMEAT2 is None:
        return errno.ENOSYS
    here = -100  # AT_FDCWD
    if _LIBC_RENAMEAT2(here, os.fsencode(source), here, os.fsencode(target), 1) == 0:
        return 0
    return ctypes.get_errno()


def link_unless_taken(source: Path, target: Path) -> bool:
    """Hard-links `source` as `target`, or copies it if that is impossible; False if `target` exists."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        copy = source.with_name(f"{source.name}.copy")
        create_anew(copy, source.read_bytes(), sync=False)
        if not move_unless_taken(copy, target):
            copy.unlink()
            return False
    return True


def _link_and_unlink(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not target.samefile(source):  # otherwise an earlier call was interrupted after the link
            return False
    source.unlink()
    return True


def _move_a_copy(source: Path, target: Path) -> bool:
    with _copied_beside(source, target) as copy:
        if not move_unless_taken(copy, target):
            return False
        sync_directory(target.parent)
    source.unlink()
    return True


@contextmanager
def _copied_beside(source: Path, target: Path) -> Iterator[Path]:
    """Yields a complete copy in the directory of `target`; removes it at the end if it still exists."""
    copy = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        shutil.copy2(source, copy, follow_symlinks=False)
        if not copy.is_symlink():
            with copy.open("rb") as file:
                sync_descriptor(file.fileno())
        yield copy
    finally:
        copy.unlink(missing_ok=True)
