import os
import pwd
import tempfile
from pathlib import Path

import pytest

from sampoll.core.errors import ConfigurationError
from sampoll.files.home import expanded, user_cache_directory, user_config_directory


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This user is a bare number."""

    def unknown(user: object) -> pwd.struct_passwd:
        raise KeyError(user)

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_tilde_is_the_home_directory_only_at_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    assert [expanded(path) for path in ("~", "~/a", "./~/a", "/a/~", "a~")] == [
        "/home/me",
        "/home/me/a",
        "./~/a",
        "/a/~",
        "a~",
    ]
    assert expanded("~root/a") == f"{pwd.getpwnam('root').pw_dir}/a"


@pytest.mark.usefixtures("_homeless")
@pytest.mark.parametrize("path", ["~", "~/a", "~no-such-user/a"])
def test_a_home_directory_that_is_not_known_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"the home directory ~.* is not known"):
        expanded(path)


@pytest.mark.usefixtures("_homeless")
def test_a_user_without_a_home_has_a_cache_of_its_own(tmp_path: Path) -> None:
    cache = user_cache_directory()

    assert cache.parent == tmp_path
    assert cache.stat().st_mode & 0o777 == 0o700
    assert user_cache_directory() == cache
    assert user_config_directory() is None


@pytest.mark.usefixtures("_homeless")
@pytest.mark.parametrize("kind", ["open to all", "a link", "a file"])
def test_a_cache_that_another_user_may_have_prepared_is_refused(tmp_path: Path, kind: str) -> None:
    cache = tmp_path / f"sampoll-cache-{os.geteuid()}"
    match kind:
        case "open to all":
            cache.mkdir()
            cache.chmod(0o777)
        case "a link":
            cache.symlink_to(tmp_path)
        case "a file":
            cache.touch()

    with pytest.raises(ConfigurationError, match="or set SAMPOLL_HOME to a directory of your own"):
        user_cache_directory()
