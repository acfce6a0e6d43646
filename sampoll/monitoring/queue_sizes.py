"""How full the queues of a process are, as its own channels tell, or as it has told another process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self


class QueueSize(Protocol):
    """How many jobs are between two stages, and, as `cost`, the bytes that they take."""

    @property
    def cost(self) -> int: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class MeasuredQueue:
    """The size of a queue at some time."""

    jobs: int
    cost: int

    def __len__(self) -> int:
        return self.jobs


@dataclass(frozen=True)
class QueueSizes:
    """The sizes of all queues of a process, by their names."""

    queues: Mapping[str, MeasuredQueue]

    @classmethod
    def of(cls, queues: Mapping[str, QueueSize]) -> Self:
        return cls({name: MeasuredQueue(len(queue), queue.cost) for name, queue in dict(queues).items()})
