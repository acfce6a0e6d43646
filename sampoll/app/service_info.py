"""What the services of sampoll are, for their monitoring. Needs no numpy, as a parent of workers does."""

from functools import partial

from sampoll.config.settings import Settings
from sampoll.monitoring.monitor import ServiceInfo
from sampoll.spool.failed import count_reports
from sampoll.spool.layout import Layout
from sampoll.spool.survey import survey
from sampoll.transports.redis.server import server_of


def run_info(settings: Settings, layout: Layout) -> ServiceInfo:
    """Of a run over directories."""
    return ServiceInfo(
        {"service": "run", "input": str(layout.input), "output": str(layout.output)},
        {"input": layout.input, "output": layout.output},
        partial(count_reports, layout),
        settings.spool.rescan_seconds,
        lambda: survey(layout.input, settings.spool, layout.suffixes).leftovers,
    )


def stream_info(settings: Settings) -> ServiceInfo:
    """Of a worker of a stream."""
    return ServiceInfo({"service": "serve stream", "server": str(server_of(settings.redis))})


def http_info(settings: Settings) -> ServiceInfo:
    """Of what answers requests over HTTP."""
    return ServiceInfo({"service": "serve http", "server": settings.web.bind})
