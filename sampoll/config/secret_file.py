"""Secrets that a setting has, or a file that a setting names."""

from pathlib import Path

from pydantic import SecretStr

from sampoll.core.errors import ConfigurationError, PermissionRefused


def secret_of(name: str, value: SecretStr | None, file: Path | None) -> str | None:
    """The secret of the settings `name` and `name`-file, of which one may be set; without its line break."""
    if value is None:
        return None if file is None else _read(name, file)
    if file is not None:
        raise ConfigurationError(f"{name} and {name}-file: leave one of them out")
    return value.get_secret_value()


def _read(name: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except PermissionError as error:
        raise PermissionRefused(f"cannot read --{name}-file {file}: {error.strerror}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read --{name}-file {file}: {error}") from error
