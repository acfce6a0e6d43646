"""Acts on files that either happen or do not, and never on what a link points to."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sampoll.spool.scan import Signature


def signature_of(status: os.stat_result) -> Signature:
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino)


def listing(directory: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Signature]]:
    """The regular files of `directory` with a wanted name; links, pipes and devices are passed over."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if not wanted(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield entry.name, signature_of(status)


def subdirectories(directory: Path) -> list[Path]:
    """The directories directly inside, by name; none if `directory` is gone."""
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def read_regular(path: Path) -> bytes:
    """The content of a regular file; OSError for a link (ELOOP) or anything else (EINVAL)."""
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
        return file.read()


def write_synced(path: Path, content: bytes) -> None:
    """Creates `path` with `content` on the disk. After a failure the file may exist, incomplete."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes, *, synced: bool) -> None:
    """`path` holds `content`, or what it held before: never something between."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    if synced:
        write_synced(new, content)
    else:
        new.write_bytes(content)
    new.rename(path)
    if synced:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """The names in `directory` are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_unless_taken(source: Path, target: Path) -> bool:
    """Moves a file; False, with nothing changed, if `target` exists. Works across filesystems."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        return _copy_over(source, target)
    source.unlink()
    return True


def _copy_over(source: Path, target: Path) -> bool:
    """`move_unless_taken` where no hard link can be made: the source goes only once the copy is synced."""
    if target.exists():
        return False
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    copy = target.with_name(f".{digest}.part")
    shutil.copy2(source, copy, follow_symlinks=False)
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    copy.rename(target)
    sync_directory(target.parent)
    source.unlink()
    return True


def remove_tree(directory: Path) -> None:
    """Removes what can be removed of a directory of our own; what stays is found again later."""
    shutil.rmtree(directory, ignore_errors=True)
