"""Processes that were forked from one in which an engine has computed: they lack its threads, and crash or
hang as soon as it computes in them too."""

import os
from functools import cache

from sampoll.core.errors import ModelUnavailable


def check_not_forked(engine: str) -> None:
    """ModelUnavailable in a process that was forked from one that has called this for the same engine."""
    if _first_process(engine) != os.getpid():
        raise ModelUnavailable(
            f"this process was forked from one that has used {engine}, and would hang or crash: load models "
            'after the fork only, or start processes with the method "spawn"'
        )


@cache
def _first_process(engine: str) -> int:
    """The process that has asked first; forked ones have its answer."""
    return os.getpid()
