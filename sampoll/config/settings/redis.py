"""The settings of the section [redis]."""

from typing import Annotated

from pydantic import Field, SecretStr

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import NamedPath, RedisAddress


class RedisSettings(Section):
    """Which Redis, as whom, and on which channels."""

    redis_url: RedisAddress | None = setting(
        None,
        "redis-url",
        "redis://, rediss:// or unix:// URL of the server, instead of host, port and db.",
        metavar="URL",
        is_everyday=True,
    )
    redis_host: str = setting(
        "localhost", "redis-host", "Host of the server.", metavar="HOST", is_everyday=True
    )
    redis_port: Annotated[int, Field(ge=1, le=65535)] = setting(
        6379, "redis-port", "Port of the server.", metavar="PORT", is_everyday=True
    )
    redis_db: Annotated[int, Field(ge=0)] = setting(0, "redis-db", "Database of the server.", metavar="N")
    redis_username: str | None = setting(
        None, "redis-username", "Name of the user, where the server has users.", metavar="NAME"
    )
    redis_password: SecretStr | None = setting(
        None, "redis-password", "Password; not a flag, because flags can be read by everyone.", is_flag=False
    )
    redis_password_file: NamedPath | None = setting(
        None, "redis-password-file", "File that holds the password.", metavar="FILE"
    )
    redis_in: Annotated[str, Field(min_length=1)] = setting(
        "sam_in",
        "redis-in",
        "Channel for requests; to serve, a pattern with * ? [].",
        metavar="CHANNEL",
        is_everyday=True,
    )
    redis_out: Annotated[str, Field(min_length=1)] = setting(
        "sam_out", "redis-out", "Channel for replies.", metavar="CHANNEL", is_everyday=True
    )
