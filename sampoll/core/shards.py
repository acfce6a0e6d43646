"""Parts of an input, for processes that share no state."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sampoll.core.errors import ConfigurationError

SLURM = "slurm"
"""The shard is that of the task of a job array."""
SHARD_PATTERN = r"(\d{1,9})/(\d{1,9})"


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index`, from 0, of `count` parts of all names."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"the parts of {self.count} are numbered 0 to {self.count - 1}, got {self.index}"
            )

    def has(self, name: str) -> bool:
        """Whether a name belongs to it: by a digest, so that it is the same on each machine, and that each
        half of a shard I/N is I/2N or (I+N)/2N."""
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest) % self.count == self.index


WHOLE = Shard()


def shard_of(text: str, environment: Mapping[str, str]) -> Shard:
    """The shard I/N, or, for "slurm", that of the task whose variables are in `environment`. ValueError for
    what is neither, ConfigurationError for variables of no such task."""
    if text == SLURM:
        return _slurm_shard(environment)
    match = re.fullmatch(SHARD_PATTERN, text)
    if match is None:
        raise ValueError("must be I/N, such as 0/4, or slurm")
    return Shard(int(match[1]), int(match[2]))


def _slurm_shard(environment: Mapping[str, str]) -> Shard:
    names = [f"SLURM_ARRAY_TASK_{part}" for part in ("ID", "MIN", "STEP", "COUNT")]
    missing = [name for name in names if not re.fullmatch(r"\d{1,9}", environment.get(name, ""))]
    if missing:
        raise ConfigurationError(
            f"--shard slurm: {missing[0]} has no number: start it by sbatch --array=0-15, or give --shard I/N"
        )
    number, first, step, count = (int(environment[name]) for name in names)
    index, rest = divmod(number - first, step or 1)
    if rest or not 0 <= index < count:
        raise ConfigurationError(
            f"--shard slurm: task {number} is none of {count} from {first} in steps of {step}: start an "
            "array with equal steps, such as --array=0-15"
        )
    return Shard(index, count)
