"""The settings of the section [batch]."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import PositiveSeconds
from sampoll.core.shards import SLURM, shard_of


def _shard(text: str) -> str:
    if text != SLURM:
        shard_of(text, {})
    return text


class BatchSettings(Section):
    """How `sampoll batch` shares and repeats work, and uses object stores."""

    shard: Annotated[str, AfterValidator(_shard)] | None = setting(
        None,
        "shard",
        "Do part I of N, from 0, of all images; slurm: that of the task of a job array.",
        metavar="I/N|slurm",
        is_everyday=True,
    )
    retry_failed: bool = setting(
        False, "retry-failed", "Try again what has failed in earlier runs.", is_everyday=True
    )
    ray_actors: Annotated[int, Field(ge=1)] | None = setting(
        None,
        "ray-actors",
        "Share the work among so many actors of Ray, each with a model; on a GPU each, if there are any.",
        metavar="N",
        is_everyday=True,
    )
    ray_address: str | None = setting(
        None,
        "ray-address",
        "Cluster of Ray that the actors run on; one on this machine, for this run, if not set.",
        metavar="auto|HOST:PORT",
        is_everyday=True,
    )
    transfers: Annotated[int, Field(ge=1, le=256)] = setting(
        16, "transfers", "Files that are read, and as many that are written, at the same time.", metavar="N"
    )
    store_timeout_seconds: PositiveSeconds = setting(
        180.0,
        "store-timeout",
        "Repeat a request to an object store for so long; then the run ends with exit code 74.",
        metavar="SECONDS",
    )

    @field_validator("ray_address")
    @classmethod
    def _has_actors(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None and info.data.get("ray_actors") is None:
            raise ValueError("needs ray-actors, the number of actors there")
        return address
