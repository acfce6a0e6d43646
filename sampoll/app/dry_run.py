"""`sampoll run --dry-run`: lists what a run would do with the pairs that are there now; changes nothing."""

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from functools import partial

from sampoll.app.assembly import load_model
from sampoll.app.plan import Plan
from sampoll.core.errors import JobError
from sampoll.core.jobs import Submission
from sampoll.core.names import base_name, folder_of
from sampoll.inputs.check import check_pair
from sampoll.spool.claims import Claim
from sampoll.spool.results import first_version
from sampoll.spool.scan import Group
from sampoll.spool.state import JobState
from sampoll.spool.survey import survey
from sampoll.transports.directory.pair_files import read_submission
from sampoll.transports.directory.transport import FindDone


class PlannedAction(Enum):
    """What a run would do with a pair."""

    DO = "to do"
    SKIP = "to skip"
    FAIL = "to fail"


def dry_run(plan: Plan) -> Iterator[str]:
    """A line for each pair, and a summary; nothing is created, moved or written."""
    find_done: FindDone | None = None
    if plan.settings.spool.skip_done:
        find_done = plan.done_index(load_model(plan.settings.model).segmenter.info).find
    found = survey(plan.layout.input, plan.settings.spool, plan.layout.suffixes)
    counts: Counter[PlannedAction] = Counter()
    for obstacle in found.obstacles:
        yield f"{obstacle.path}: would be passed over: {obstacle.error}"
    for group in found.scan.ready:
        fate, line = _planned_action(plan, group, find_done)
        counts[fate] += 1
        yield f"{group.stem}: {line}"
    yield from found.leftovers.lines()
    parts = [f"{counts[fate]} {fate.value}" for fate in PlannedAction]
    if found.scan.half:
        parts.append(f"{found.scan.half} half pair{'s' * (found.scan.half > 1)}")
    if found.obstacles:
        parts.append(f"{len(found.obstacles)} passed over")
    yield ", ".join(parts)


def _planned_action(plan: Plan, group: Group, find_done: FindDone | None) -> tuple[PlannedAction, str]:
    try:
        submission = _submission(plan, group)
        if find_done is not None:
            found = first_version(plan.layout, submission.name, partial(find_done, submission))
            if found is not None:
                return PlannedAction.SKIP, f"was done before as {found[0]}"
        check_pair(
            submission.prompt,
            submission.prompt_name,
            submission.image,
            submission.image_name,
            plan.decoding,
        )
    except JobError as error:
        return PlannedAction.FAIL, f"would fail: {error}"
    return PlannedAction.DO, f"would be done: {submission.image_name}, {submission.prompt_name}"


def _submission(plan: Plan, group: Group) -> Submission:
    """Reads a pair in the input as if it had been claimed, without moving it."""
    folder = folder_of(group.stem)
    state = JobState("dry-run", base_name(group.stem), tuple(map(base_name, group.signatures)), folder)
    claim = Claim(plan.layout.input / folder, state)
    return read_submission(plan.layout, claim, plan.settings.limits, plan.transport.prompt)
