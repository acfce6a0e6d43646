"""Which Redis server the settings mean."""

from pathlib import Path

from sampoll.config.settings.redis import RedisSettings
from sampoll.core.errors import ConfigurationError, PermissionRefused
from sampoll.transports.redis.connection import RedisServer


def server_of(settings: RedisSettings) -> RedisServer:
    """The server that the settings describe. ConfigurationError if they contradict each other."""
    defaults = RedisSettings()
    places = ("redis_host", "redis_port", "redis_db")
    given = [name for name in places if getattr(settings, name) != getattr(defaults, name)]
    if settings.redis_url is not None and given:
        names = ", ".join(name.replace("_", "-") for name in given)
        raise ConfigurationError(f"redis-url says where Redis is, and {names} too: leave one of them out")
    return RedisServer(
        None if settings.redis_url is None else settings.redis_url.get_secret_value(),
        settings.redis_host,
        settings.redis_port,
        settings.redis_db,
        settings.redis_username,
        _password(settings),
    )


def _password(settings: RedisSettings) -> str | None:
    file = settings.redis_password_file
    if settings.redis_password is not None:
        if file is not None:
            raise ConfigurationError("redis-password and redis-password-file: leave one of them out")
        return settings.redis_password.get_secret_value()
    return None if file is None else _read_password(file)


def _read_password(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except PermissionError as error:
        raise PermissionRefused(f"cannot read --redis-password-file {file}: {error.strerror}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read --redis-password-file {file}: {error}") from error
