"""Acts on a spool, one at a time, as a process does them that may end between any two."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sampoll.config.settings.spool import SpoolSettings
from sampoll.spool import reservations, results
from sampoll.spool.claims import Claim
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.recovery import Step
from sampoll.spool.spool import Spool, opened

SELF_TEST_SETTINGS = SpoolSettings(settle_seconds=0, durability="off")


@contextmanager
def spool_in(layout: Layout, durability: str = "batch") -> Iterator[Spool]:
    with opened(layout, SELF_TEST_SETTINGS.model_copy(update={"durability": durability})) as spool:
        yield spool
        spool.close()


def drop(layout: Layout, name: str = "a", content: bytes = b"image") -> None:
    (layout.input / f"{name}.jpg").write_bytes(content)
    (layout.input / f"{name}.json").write_bytes(b"prompt")


def claimed(spool: Spool) -> Claim:
    [group] = spool.sweep().ready
    claim = spool.take(group)
    assert spool.next_step(claim) is Step.TRY
    return claim


def contents(claim: Claim) -> list[tuple[str, bytes]]:
    return [(".png", b"mask"), (".json", claim.state.job_id.encode())]


def everything(layout: Layout) -> dict[str, bytes]:
    """Every user file, at any depth below the input."""
    return {
        p.name: p.read_bytes()
        for p in layout.input.rglob("*")
        if p.is_file() and p.suffix in (".jpg", ".json") and p.name != STATE
    }


def abandon(layout: Layout, work: Callable[[Spool, Claim], object]) -> None:
    """Leaves the spool as a process leaves it that is killed after `work` on the claimed pair."""
    drop(layout)
    child = os.fork()
    if child == 0:
        with opened(layout, SELF_TEST_SETTINGS) as spool:
            work(spool, claimed(spool))
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0


def publish_only(layout: Layout, spool: Spool, claim: Claim) -> Claim:
    """The claim, with results that are published, and inputs that are still there."""
    spool.begin([claim.state.job_id])
    reserved = reservations.reserve(layout, claim, [".png", ".json"], reservations.VERSIONED)
    reserved = reserved.saved(reserved.state, sync=False)
    staged = results.stage(spool._node, reserved, contents(claim), sync=False)
    results.publish(layout, [staged], sync=False)
    return reserved
