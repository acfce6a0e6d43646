"""The server flags of the two testing commands."""

from argparse import ArgumentParser, Namespace

from sampoll.cli.sam_image.advice import Advice
from sampoll.transports.redis.connection import RedisServer

ADVICE = Advice(
    {
        "redis-url": "--redis-url of `sampoll send` and `sampoll recv`",
        "redis-username": "--redis-username of `sampoll send` and `sampoll recv`",
    }
)
"""These commands never had a login."""


def add_server_flags(parser: ArgumentParser, channel: str) -> None:
    parser.add_argument("-H", "--host", metavar="HOST", default="localhost", help="Host of the server.")
    parser.add_argument("-p", "--port", metavar="PORT", default=6379, type=int, help="Port of the server.")
    parser.add_argument("-d", "--database", metavar="DB", default=0, type=int, help="Database of the server.")
    parser.add_argument("-c", "--channel", metavar="CHANNEL", required=True, help=channel)


def server_of(arguments: Namespace) -> RedisServer:
    return RedisServer(host=arguments.host, port=arguments.port, db=arguments.database)
