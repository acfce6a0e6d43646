"""Takes over the jobs of a process that has died."""

import logging
from dataclasses import replace
from enum import Enum, auto

from sampoll.core import wording
from sampoll.files.files import subdirectories
from sampoll.files.presence import Machine, is_name, is_presence, locked_if_dead
from sampoll.spool.claims import Claim, OnError, discard, is_spare, load_each
from sampoll.spool.layout import Layout
from sampoll.spool.nodes import HeartbeatMonitor, Node, leave, was_stopping
from sampoll.spool.reservations import free_abandoned_names
from sampoll.spool.results import remove_stage
from sampoll.spool.state import JobState, was_only_job

log = logging.getLogger(__name__)


class Step(Enum):
    """What a job found in a work directory needs next."""

    FINISH = auto()
    MOVE_TO_FAILED = auto()
    GIVE_BACK = auto()
    GIVE_UP = auto()
    TRY = auto()


def next_step(state: JobState, *, is_complete: bool, is_committed: bool, max_attempts: int) -> Step:
    """Pure. A committed result decides first, then a saved rejection, then whether files are missing."""
    if is_committed:
        return Step.FINISH
    if state.rejected:
        return Step.MOVE_TO_FAILED
    if not is_complete or not state.files:
        return Step.GIVE_BACK
    if state.strikes >= max_attempts:
        return Step.GIVE_UP
    return Step.TRY


def recover_dead_nodes(
    layout: Layout,
    node: Node,
    machine: Machine,
    heartbeats: HeartbeatMonitor,
    *,
    former_nodes: frozenset[str],
    monotonic: float,
    wall: float,
    on_error: OnError,
) -> list[Claim]:
    """Claims the jobs of dead nodes, and counts their crashes: at once if a lock on this machine shows that
    the node is dead, otherwise once it has sent no heartbeat for a lease.

    No crash is counted for a node that was stopping, or that was an earlier node of this process. A node or a
    job of another user that cannot be taken over is left, after a call of `on_error`.
    """
    claims: list[Claim] = []
    for name in _other_nodes(layout, node):
        try:
            with locked_if_dead(layout.nodes / name, machine) as dead:
                if dead or heartbeats.has_expired(name, monotonic):
                    _fence(layout, node, name)
                    blameless = name in former_nodes or was_stopping(layout, name)
                    claims += _take_over(layout, node, name, wall, blameless=blameless, on_error=on_error)
                    leave(layout, name)
        except OSError as error:
            on_error(layout.nodes / name, error)
    return claims


def _other_nodes(layout: Layout, node: Node) -> list[str]:
    """Other files and directories, which sampoll did not make, are passed over."""
    locks = {path.name for path in layout.nodes.iterdir() if is_presence(path)}
    works = {path.name for path in subdirectories(layout.work) if is_name(path.name)}
    return sorted((locks | works) - {node.name})


def _fence(layout: Layout, node: Node, name: str) -> None:
    """Takes the node's stage away: it can publish nothing more, even if it is still alive."""
    fenced = node.stage / f"fenced-{name}"
    try:
        (layout.stage / name).rename(fenced)
    except FileNotFoundError:
        return
    remove_stage(fenced, leftovers=layout.stage / f"left-{name}")


def _take_over(
    layout: Layout, node: Node, name: str, now: float, *, blameless: bool, on_error: OnError
) -> list[Claim]:
    found = load_each(layout.work / name, on_error)
    states = [claim.state for claim in found]
    claims = []
    # In the order in which they were begun, and each is counted before it is moved: if this process dies here
    # too, no remaining job must look as if it had been the only one in flight.
    for claim in sorted(found, key=lambda claim: claim.state.in_flight):
        directory = node.work / claim.directory.name
        try:
            if is_spare(claim):
                discard(claim)
                continue
            if claim.state.in_flight:
                free_abandoned_names(layout, claim.state)
            counted = _counted(claim, states, blameless, now)
            counted.directory.rename(directory)
        except (FileNotFoundError, FileExistsError):  # another process takes it over, and is faster
            continue
        except OSError as error:
            on_error(claim.directory, error)
            continue
        claims.append(replace(counted, directory=directory))
    if claims:
        jobs = wording.counted(len(claims), "job")
        log.warning("took over %s of %s, which has died or sends no heartbeats", jobs, name)
    return claims


def _counted(claim: Claim, states: list[JobState], blameless: bool, now: float) -> Claim:
    """The claim with its crash counted, and its state in its own directory."""
    state = claim.state
    if state.in_flight == 0:
        return claim.saved(state, sync=False) if claim.is_sound else claim
    if blameless:
        return claim.saved(state.stopped(), sync=True)
    return claim.saved(state.crashed(was_only_job(state, states), now), sync=True)
