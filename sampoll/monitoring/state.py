"""The states of a service, for all that shows them."""

from enum import StrEnum


class State(StrEnum):
    """The state of a service. STALLED: it should be working, but made no progress for --stall; restart it."""

    STARTING = "starting"
    WORKING = "working"
    PAUSED = "paused"
    STOPPING = "stopping"
    STALLED = "stalled"
