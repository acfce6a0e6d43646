"""The settings of the section [monitoring]."""

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import HttpAddress, NamedPath, PositiveSeconds, host_and_port


class MonitoringSettings(Section):
    """How a service is seen from outside."""

    http: HttpAddress | None = setting(
        None,
        "http",
        "Address for health, metrics and a status page over HTTP; loopback if no host is named.",
        metavar="HOST:PORT",
        is_everyday=True,
    )
    http_thumbnails: bool = setting(
        False, "http-thumbnails", "Show thumbnails of the last results on the status page."
    )
    metrics_file: NamedPath | None = setting(
        None,
        "metrics-file",
        "Write the metrics to this file at the end, for Prometheus's node exporter.",
        metavar="FILE",
    )
    stall_seconds: PositiveSeconds = setting(
        600.0,
        "stall",
        "A service is not healthy if its work makes no progress for this long.",
        metavar="SECONDS",
    )

    @property
    def http_address(self) -> tuple[str, int] | None:
        """The host and port of `http`; None if it is not set."""
        return None if self.http is None else host_and_port(self.http)
