"""The types of the values of settings, and the checks that several sections share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, Secret, SecretStr

from sampoll.config.quantities import SIZE_PATTERN, TIME_PATTERN, bytes_of, seconds_of
from sampoll.core.addresses import is_address, redacted
from sampoll.core.names import printable
from sampoll.files.files import file_in_the_way
from sampoll.files.home import expanded

_TimeText = Annotated[str, Field(pattern=f"^{TIME_PATTERN}$")]
_SizeText = Annotated[str, Field(pattern=f"^{SIZE_PATTERN}$")]
_AS_TIME = BeforeValidator(seconds_of, json_schema_input_type=float | _TimeText)
_AS_SIZE = BeforeValidator(bytes_of, json_schema_input_type=int | _SizeText)
Seconds = Annotated[FiniteFloat, _AS_TIME, Field(ge=0)]
PositiveSeconds = Annotated[FiniteFloat, _AS_TIME, Field(gt=0)]
WholeSeconds = Annotated[int, _AS_TIME, Field(ge=1)]
ByteCount = Annotated[int, _AS_SIZE, Field(ge=0)]
PositiveByteCount = Annotated[int, _AS_SIZE, Field(ge=1)]


LOOPBACK = "127.0.0.1"


class SecretAddress(Secret[str]):
    """An address that may have a login, which is hidden wherever the setting is shown."""

    def _display(self) -> str:
        return redacted(self.get_secret_value())


def _named(value: Any) -> Any:
    """A path, in which a leading ~ or ~USER is replaced by the home directory."""
    if value == "":
        raise ValueError("must not be empty")
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    return expanded(value)  # before it is a Path, which makes ~ of ./~


def _address_with(*schemes: str, query: bool) -> Callable[[SecretAddress], SecretAddress]:
    """A check for an address with one of `schemes`; with what follows a question mark only if `query`."""

    def check(address: SecretAddress) -> SecretAddress:
        text = address.get_secret_value()
        if not text.startswith(schemes) or not is_address(text) or not (query or {"?", "#"}.isdisjoint(text)):
            raise ValueError(
                f"must begin with {' or '.join(schemes)} and have a host, with / ? # [ ] and spaces of a "
                "password written as %2F %3F %23 %5B %5D %20; its value is not shown"
            )
        return address

    return check


def _host_and_port(text: str) -> str:
    """The address as HOST:PORT; HOST is loopback if it is not given."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise ValueError("must be HOST:PORT, or a port alone, which is then on loopback")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must have brackets around an IPv6 address, as in [::1]:8080")
    return f"{host or LOOPBACK}:{port}"


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of an HttpAddress."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def listed(value: Any) -> Any:
    """Splits names at commas, given in one string or in a list of them, and removes duplicates."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        return value
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


class FileInTheWay(ValueError):
    """A file was given for a directory, or is a part of its path."""


def no_file(path: Path) -> Path:
    """`path`, which may be a directory or nothing yet; FileInTheWay if it is a file, or below one."""
    if (file := file_in_the_way(path)) is not None:
        raise FileInTheWay(f"must be a directory, but {printable(str(file))} is a file")
    return path


DefaultPrompt = Annotated[str, BeforeValidator(_named)]
"""A prompt file, or what is no file: everything, or text: and words."""
NamedPath = Annotated[Path, BeforeValidator(_named)]
NamedDirectory = Annotated[Path, BeforeValidator(_named), AfterValidator(no_file)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
RedisAddress = Annotated[
    SecretAddress, AfterValidator(_address_with("redis://", "rediss://", "unix://", query=True))
]
FolderAddress = Annotated[SecretAddress, AfterValidator(_address_with("http://", "https://", query=False))]
HttpAddress = Annotated[str, AfterValidator(_host_and_port)]
SECRETS = (SecretStr, RedisAddress, FolderAddress)
"""The types of settings whose values are hidden, completely or in part: they are never shown as given."""
OnBadPrompt: TypeAlias = Literal["fail", "skip"]
"""Whether a bad prompt fails its pair, or is left out and the others of its file are segmented."""
