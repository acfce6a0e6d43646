"""Which Redis server the settings mean."""

from sampoll.config.secret_file import secret_of
from sampoll.config.settings.redis import RedisSettings
from sampoll.core.errors import ConfigurationError
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
        secret_of("redis-password", settings.redis_password, settings.redis_password_file),
    )
