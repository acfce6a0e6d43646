"""Addresses of servers as they may be shown: without logins and tokens, whatever is wrong with them."""

import re
from urllib.parse import unquote, urlsplit

HIDDEN = "***"

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_ADDRESS = re.compile(
    rf"(?P<scheme>{_SCHEME})"
    r"(?P<login>[^/?#\s]*@)?"
    r"(?P<server>(?:[^/?#@:\s\[\]]+|\[[^/?#@\s\[\]]+\])(?::\d+)?|)"
    r"(?P<path>(?:/[^?#@\s]*)?)"
    # A ? or # that is not percent-encoded may be part of a password: the @ of the login comes after it then.
    r"(?:[?#][^@\s]*)?"
)
_WITH_LOGIN = re.compile(rf"{_SCHEME}[^\s\"'<>\\]*@[^\s\"'<>\\]*")


def is_address(text: str) -> bool:
    """Whether it is clear which part of `text` is the login, if it has one, and which the server."""
    if _ADDRESS.fullmatch(text) is None:
        return False
    try:
        return (urlsplit(text).port or 0) >= 0
    except ValueError:
        return False


def redacted(address: str) -> str:
    """The address without its login, and without anything after a question mark; if it is not clear where the
    login ends, nothing but the scheme."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        scheme = re.match(_SCHEME, address)
        return f"{scheme[0] if scheme else ''}{HIDDEN}"
    login = f"{HIDDEN}@" if match["login"] else ""
    return match["scheme"] + login + match["server"] + match["path"]


def without_logins(text: str) -> str:
    """`text` with every address in it that has a login redacted."""
    return _WITH_LOGIN.sub(lambda match: redacted(match[0]), text)


def split_login(address: str) -> tuple[str, tuple[str, str] | None]:
    """The address without its login, and the user name and password, if it has a login."""
    parts = urlsplit(address)
    login, at, server = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return parts._replace(netloc=server).geturl(), (unquote(user), unquote(password)) if at else None
