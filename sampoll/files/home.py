"""Directories of this user: paths below its home directory, also if it has none, and private directories."""

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from sampoll.core.errors import ConfigurationError, translated_os_errors

try:
    import pwd
except ImportError:  # Windows, for example
    HAS_USER_NUMBERS = False
else:
    HAS_USER_NUMBERS = True

NAME = "sampoll"


def this_user() -> int:
    """The number of this user; 0 on a system that has no such numbers."""
    return os.geteuid() if HAS_USER_NUMBERS else 0


def user_name() -> str:
    """The name of this user; its number if it has no name, or the system does not say."""
    try:
        return pwd.getpwuid(this_user()).pw_name if HAS_USER_NUMBERS else str(this_user())
    except KeyError:
        return str(this_user())


def expanded(path: str) -> str:
    """`path`, in which a leading ~ or ~USER is replaced by the home directory of this or that user.
    ValueError if that directory is not known."""
    user, slash, rest = path.partition("/")
    if not user.startswith("~"):
        return path
    home = _home_of(user.removeprefix("~"))
    if home is None:
        raise ValueError(f"the home directory {user} is not known: write the path without ~")
    return home.rstrip("/") + slash + rest if rest else home


def user_config_directory() -> Path | None:
    """Where this user keeps settings of sampoll; None for a user without a home directory."""
    return _unless_homeless(platformdirs.user_config_path)


def user_cache_directory() -> Path:
    """Where this user keeps files that can be downloaded or made again.

    For a user without a home directory, such as a bare number in a container, this is a private directory
    below the one for temporary files. ConfigurationError if other users can use that.
    """
    path = _unless_homeless(platformdirs.user_cache_path)
    return _private_directory(f"{NAME}-cache-{this_user()}") if path is None else path


def user_state_directory() -> Path:
    """Where this user's programs keep what must not be lost, and is no setting. As `user_cache_directory` for
    a user without a home directory."""
    path = _unless_homeless(platformdirs.user_state_path)
    return _private_directory(f"{NAME}-state-{this_user()}") if path is None else path


class NotPrivateError(PermissionError):
    """Other users may have written into a directory, or may read it."""


def check_private(path: Path) -> None:
    """NotPrivateError if `path` is not a directory of this user alone, as far as the system has numbers of
    users; FileNotFoundError if it is missing."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotPrivateError(f"{path} is not a directory: remove it")
    if not HAS_USER_NUMBERS:
        return
    if status.st_uid != this_user():
        raise NotPrivateError(f"{path} belongs to user {status.st_uid}, not to user {this_user()}: remove it")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise NotPrivateError(f"{path} is open to other users: chmod 700 {path}")


def _unless_homeless(find: Callable[[str], Path]) -> Path | None:
    try:
        path = find(NAME)
    except RuntimeError:  # of some versions of platformdirs; others return a path with a literal ~
        return None
    return path if path.is_absolute() else None


def _home_of(user: str) -> str | None:
    """The home directory of the named user, or, without a name, of this user; None if there is none."""
    if not HAS_USER_NUMBERS:
        home = os.path.expanduser(f"~{user}")  # it leaves a name that it does not know
        return None if home.startswith("~") else home
    try:
        if user:
            return pwd.getpwnam(user).pw_dir
        return os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None


def _private_directory(name: str) -> Path:
    path = Path(tempfile.gettempdir()) / name
    with translated_os_errors("create", path):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        try:
            check_private(path)
        except NotPrivateError as error:
            raise ConfigurationError(f"{error}, or set SAMPOLL_HOME to a directory of your own") from error
    return path
