"""The server flags of the two testing commands."""

from argparse import ArgumentParser, Namespace

from sampoll.transports.redis.connection import RedisServer


def add_server_flags(parser: ArgumentParser, channel: str) -> None:
    parser.add_argument("-H", "--host", metavar="HOST", default="localhost", help="Host of the server.")
    parser.add_argument("-p", "--port", metavar="PORT", default=6379, type=int, help="Port of the server.")
    parser.add_argument("-d", "--database", metavar="DB", default=0, type=int, help="Database of the server.")
    parser.add_argument("-c", "--channel", metavar="CHANNEL", required=True, help=channel)


def server_of(arguments: Namespace) -> RedisServer:
    return RedisServer(host=arguments.host, port=arguments.port, db=arguments.database)
