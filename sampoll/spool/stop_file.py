"""The file in an input by which people request a stop."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def took_stop_file(path: Path) -> bool:
    """Whether the stop file is there; it is removed then, and logged."""
    if not os.path.lexists(path):
        return False
    try:
        path.unlink()
    except OSError as error:
        log.warning("cannot remove the stop file %s: %s", path, error)
    log.info("stopping: found %s", path)
    return True
