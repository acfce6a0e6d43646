"""Who may send requests: those with the token, and pages of other sites only if they are allowed."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from starlette.datastructures import Headers

from sampoll.config.secret_file import secret_of
from sampoll.config.settings.web import WebSettings
from sampoll.core.base64_text import decoded
from sampoll.core.errors import ConfigurationError
from sampoll.transports.http.refusals import Refusal

OWN_NAMES = ("localhost", "127.0.0.1", "::1")
MIN_TOKEN_CHARACTERS = 16
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d*)?", re.ASCII)


@dataclass(frozen=True)
class Access:
    """`token` is None if none is needed. On loopback, only `hosts` and the machine's own names may be called,
    so that no page can do so under a name of its own (DNS rebinding); elsewhere only `hosts`, if any."""

    is_loopback: bool
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def check_caller(self, headers: Headers) -> None:
        """A Refusal if the request was sent to a name that is not ours, or by a page that is not allowed."""
        called = ",".join(headers.getlist("host"))
        if (self.is_loopback or self.hosts) and _name_in(called) not in self._names:
            raise Refusal(403, "this service is not called so: see --allowed-hosts", code="forbidden")
        if not (self.is_loopback or self.origins):
            return
        for origin in headers.getlist("origin"):
            if origin not in self.origins and origin.partition("://")[2] != called:
                raise Refusal(
                    403, "pages of this origin may not send requests: see --allowed-origins", code="forbidden"
                )

    def check_token(self, headers: Mapping[str, str]) -> None:
        """A Refusal if the request does not bring the token."""
        scheme, given = _authorization_in(headers)
        self.check(
            given if scheme == "bearer" else "",
            "the request needs the token of this service: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    def check_basic(self, headers: Mapping[str, str]) -> None:
        """A Refusal if the request does not bring the token as its password, with any name of a user."""
        scheme, given = _authorization_in(headers)
        self.check(
            _password_in(given) if scheme == "basic" else "",
            "the request needs the token of this service as its password (Basic Authentication)",
            {"WWW-Authenticate": 'Basic realm="sampoll"'},
        )

    def check(self, given: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """A Refusal with this message if a token is needed and `given` is not it."""
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Refusal(401, message, code="unauthorized", headers=headers)

    @property
    def _names(self) -> frozenset[str]:
        own = OWN_NAMES if self.is_loopback else ()
        return frozenset((*own, *(host.lower() for host in self.hosts)))


def access_of(settings: WebSettings) -> Access:
    """Who may send requests, as the settings say. ConfigurationError if others than this machine could do so
    without a token."""
    token = secret_of("http-token", settings.http_token, settings.http_token_file)
    on_loopback = is_loopback(settings.address[0])
    if token is None and not on_loopback:
        raise ConfigurationError(
            f"--bind {settings.bind} can be reached from other machines: set SAMPOLL_HTTP_TOKEN, or give "
            "--http-token-file FILE"
        )
    if token is not None and not (
        len(token) >= MIN_TOKEN_CHARACTERS and token.isascii() and token.isprintable()
    ):
        raise ConfigurationError(
            f"http-token: must have at least {MIN_TOKEN_CHARACTERS} characters, letters, digits and signs of "
            "ASCII; its value is not shown"
        )
    return Access(on_loopback, token, settings.allowed_hosts, settings.allowed_origins)


def _authorization_in(headers: Mapping[str, str]) -> tuple[str, str]:
    """The scheme of the credentials, and the rest of them."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower(), given.strip()


def _password_in(credentials: str) -> str:
    try:
        return decoded(credentials).decode().partition(":")[2]
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _name_in(host_header: str) -> str:
    """The name in a Host header, without its port; "" if it is not one name."""
    found = _HOST.fullmatch(host_header.lower())
    return "" if found is None else found[1].strip("[]")
