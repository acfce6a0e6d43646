"""The memory of a run, stage by stage: the one place that knows all of their limits."""

import logging
from collections.abc import Sequence

from sampoll.config.quantities import in_units
from sampoll.config.settings import Settings
from sampoll.core.memory import StageMemory
from sampoll.core.protocols import BudgetedTransport, Transport
from sampoll.engine.pipeline import LOADING, MEMORY_BYTES, OUTCOME_BYTES, SHARES
from sampoll.engine.postprocess import cleans

log = logging.getLogger(__name__)


def memory_budget(
    settings: Settings, transport: Transport, *, model_bytes: int, embedding_bytes: int, executors: int
) -> tuple[StageMemory, ...]:
    """The most that each stage holds. A stage always takes one image, or the masks of one job, of any size
    that the settings allow; files that are rendered and not published yet come in addition."""
    masks, images = settings.limits.max_mask_bytes, SHARES[LOADING]
    waiting = OUTCOME_BYTES + masks
    rendered = 2 * waiting if cleans(settings.masks) else waiting
    files = [transport.held_memory] if isinstance(transport, BudgetedTransport) else []
    return (
        StageMemory("model", model_bytes),
        *files,
        StageMemory("images", images),
        StageMemory("embeddings", embedding_bytes, "--embedding-memory"),
        StageMemory("masks", executors * masks, "--max-mask-bytes"),
        StageMemory("outcomes", waiting, "--max-mask-bytes"),
        StageMemory("rendering", MEMORY_BYTES - images + rendered, "--max-mask-bytes"),
    )


def log_memory(budget: Sequence[StageMemory]) -> None:
    """One line of the log, for --log-level debug."""
    total = sum(stage.bytes for stage in budget)
    each = ", ".join(
        f"{stage.stage} {in_units(stage.bytes)}{f' ({stage.setting})' if stage.setting else ''}"
        for stage in budget
    )
    fields = {"event": "memory", "bytes": {stage.stage: stage.bytes for stage in budget}}
    log.debug("memory: at most about %s: %s", in_units(total), each, extra=fields)
