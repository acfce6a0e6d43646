"""What the stages of a run may hold in memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageMemory:
    """The most that one stage holds, in bytes, and the setting that changes it; "" if there is none."""

    stage: str
    bytes: int
    setting: str = ""
