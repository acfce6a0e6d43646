"""What is logged, and how, by every command that takes settings."""

import logging

from sampoll.resolution import Resolved


def set_up_logging(resolved: Resolved, *, show_progress: bool) -> None:
    """Lines on standard error; only warnings beside a progress bar, unless somebody asked for more."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.captureWarnings(True)  # of libraries, about damaged images for example
    logging.getLogger("watchdog").setLevel("CRITICAL")  # it reports its own orderly end as an error
    # Unless somebody asked for lines, the bar already shows what they would say.
    quieter = show_progress and "log-level" not in resolved.origins
    level = resolved.settings.operations.log_level.upper()
    logging.getLogger("sampoll").setLevel("WARNING" if quieter else level)
