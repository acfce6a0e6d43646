"""The settings of the section [web]."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import HttpAddress, NamedPath, Names, host_and_port


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not host or "/" in host:
            raise ValueError("must be origins such as https://tool.example, without a path")
    return origins


class WebSettings(Section):
    """Requests over HTTP, and who may send them."""

    bind: HttpAddress = setting(
        "127.0.0.1:8000",
        "bind",
        "Address to listen on; loopback if no host is named.",
        metavar="HOST:PORT",
        is_everyday=True,
    )
    http_token: SecretStr | None = setting(
        None,
        "http-token",
        "Token that requests must bring; not a flag, because flags can be read by everyone.",
        is_flag=False,
    )
    http_token_file: NamedPath | None = setting(
        None, "http-token-file", "File that holds the token.", metavar="FILE", is_everyday=True
    )
    allowed_hosts: Names = setting(
        (),
        "allowed-hosts",
        "Names under which the service may be called; on loopback, these beside its own.",
        metavar="NAME",
    )
    allowed_origins: Annotated[Names, AfterValidator(_origins)] = setting(
        (), "allowed-origins", "Web pages of these origins may send requests.", metavar="ORIGIN"
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `bind`."""
        return host_and_port(self.bind)
