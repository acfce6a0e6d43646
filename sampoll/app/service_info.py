"""What the services of sampoll are, for their monitoring. Imports neither numpy, which the parent of workers
never needs, nor the client of Redis, which most services never need."""

from functools import partial

from sampoll.config.settings import Settings
from sampoll.monitoring.monitor import ServiceInfo
from sampoll.spool.failed import count_reports
from sampoll.spool.layout import Layout
from sampoll.spool.survey import survey


def run_info(settings: Settings, layout: Layout) -> ServiceInfo:
    """Of a run over directories."""
    return ServiceInfo(
        {"service": "run", "input": str(layout.input), "output": str(layout.output)},
        {"input": layout.input, "output": layout.output},
        partial(count_reports, layout),
        settings.spool.rescan_seconds,
        lambda: survey(layout.input, settings.spool, layout.suffixes).leftovers,
    )


def redis_info(service: str, server: str) -> ServiceInfo:
    """Of what answers requests over Redis, or works on its stream; `server` is an address without a login."""
    return ServiceInfo({"service": service, "server": server})


def http_info(settings: Settings) -> ServiceInfo:
    """Of what answers requests over HTTP."""
    return ServiceInfo({"service": "serve http", "server": settings.web.bind})
