"""`sampoll serve stream` by several processes."""

from collections.abc import Sequence

from sampoll.app.service_info import redis_info
from sampoll.app.workers.shares import worker_settings
from sampoll.app.workers.team import Team, orders_of
from sampoll.config.settings import Settings
from sampoll.core.events import Listener
from sampoll.core.summary import CommandSummary
from sampoll.monitoring.monitor import monitored_workers
from sampoll.monitoring.tally import Tally
from sampoll.transports.redis.server import server_of


def serve_stream_in_workers(settings: Settings, listeners: Sequence[Listener]) -> CommandSummary:
    """Works on the jobs of a stream by several processes, each of which is a worker of its group."""
    tally, shares = Tally(), worker_settings(settings)
    info = redis_info("serve stream", str(server_of(settings.redis)))
    with monitored_workers(settings.monitoring, info, list(shares)) as monitor:
        orders = orders_of("serve stream", shares, monitor.health.id)
        Team(orders, monitor, [*listeners, tally]).work()
    return tally.summary()
