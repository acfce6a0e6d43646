"""The interface between a service and a transport that it serves over a network.

A transport of that kind is a package with one function, an `Opener`; `app/serve` has a line for each.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeAlias

from sampoll.config.settings import Settings
from sampoll.core.errors import Reword
from sampoll.core.events import Listener
from sampoll.core.protocols import Transport

BlackMask: TypeAlias = Callable[[bytes], bytes]
"""A mask without any object for an image file, as a PNG of the image's size, or of one pixel."""


@dataclass(frozen=True)
class Host:
    """The service, as a transport needs it. `segmenter` is what replies contain about the model; `stop` is
    set when the service is to end, and `is_healthy` is False while other processes should take its jobs.
    `takes_old_requests`: it takes whatever `sam_predict_redis` took. `reword` puts the errors of requests
    into other words. `default_prompt` is the prompt file of images that come without a prompt."""

    settings: Settings
    segmenter: Mapping[str, Any]
    emit: Listener
    black_mask: BlackMask
    is_healthy: Callable[[], bool]
    stop: Event
    takes_old_requests: bool = False
    default_prompt: bytes | None = None
    reword: Reword = str


@dataclass(frozen=True)
class Opened:
    """An open transport: `transport_for` is it, for batches of so many images; `summary` is its part of the
    line that the service ends with."""

    transport_for: Callable[[int], AbstractContextManager[Transport]]
    summary: Callable[[], str]


Opener: TypeAlias = Callable[[Host], AbstractContextManager[Opened]]
"""Opens a transport before the model is loaded, and closes it at the end."""
