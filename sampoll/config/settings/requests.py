"""The settings of the section [requests]."""

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import PositiveByteCount, WholeSeconds


class RequestSettings(Section):
    """What requests may take before and after they are worked on."""

    queue_bytes: PositiveByteCount = setting(
        2**30, "queue-bytes", "Refuse requests while this much of them waits.", metavar="BYTES"
    )
    reply_ttl_seconds: WholeSeconds = setting(
        600, "reply-ttl", "Keep the reply to a request with an id for this long.", metavar="SECONDS"
    )
