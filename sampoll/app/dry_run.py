"""`sampoll run --dry-run`: lists what a run would do with the pairs that are there now; changes nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from sampoll.app.assembly import load_model
from sampoll.app.plan import Plan
from sampoll.core.errors import JobError
from sampoll.core.jobs import SkippedPrompt, Submission
from sampoll.core.names import base_name, folder_of, printable
from sampoll.core.wording import counted
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


@dataclass(frozen=True)
class PlannedPair:
    """What a run would do with the pair `name`, in words too, and the prompts of it that it would skip."""

    name: str
    action: PlannedAction
    message: str
    skipped: Sequence[SkippedPrompt] = ()

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.name}: {self.message}"
        for prompt in self.skipped:
            yield f"{self.name}: would be skipped: {prompt.message}"

    def document(self) -> Mapping[str, Any]:
        """For programs."""
        return {
            "pair": printable(self.name),
            "action": self.action.name.lower(),
            "message": printable(self.message),
            "skipped_prompts": [prompt.document() for prompt in self.skipped],
        }


class DryRun:
    """What a run would do with an input as it is now; nothing is created, moved or written."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._find_done: FindDone | None = None
        if plan.settings.spool.skip_done:
            self._find_done = plan.done_index(load_model(plan.settings.model).segmenter.info).find
        self._found = survey(plan.layout.input, plan.settings.spool, plan.layout.suffixes)
        self._counts: Counter[PlannedAction] = Counter()
        self._skipped_prompts = 0

    @property
    def exit_code(self) -> int:
        """That of a run which would do the pairs that were looked at."""
        would_fail = self._counts[PlannedAction.FAIL] or self._found.obstacles
        return JobError.exit_code if would_fail else 0

    def lines(self) -> Iterator[str]:
        """For people: a line for each pair, what would be left, and a summary."""
        for obstacle in self._found.obstacles:
            yield f"{obstacle.path}: would be passed over: {obstacle.error}"
        for pair in self._pairs():
            yield from pair.lines()
        yield from self._found.leftovers.lines()
        yield self._summary()

    def document(self) -> Mapping[str, Any]:
        """For programs."""
        pairs = [pair.document() for pair in self._pairs()]
        return {
            "exit_code": self.exit_code,
            "summary": self._summary(),
            "pairs": pairs,
            "passed_over": {printable(o.path): printable(str(o.error)) for o in self._found.obstacles},
            "left": self._found.leftovers.document(),
        }

    def _pairs(self) -> Iterator[PlannedPair]:
        for group in self._found.scan.ready:
            pair = _planned(self._plan, group, self._find_done)
            self._counts[pair.action] += 1
            self._skipped_prompts += len(pair.skipped)
            yield pair

    def _summary(self) -> str:
        parts = [f"{self._counts[action]} {action.value}" for action in PlannedAction]
        if self._skipped_prompts:
            parts.append(f"{counted(self._skipped_prompts, 'bad prompt')} to skip")
        if half := self._found.scan.half:
            parts.append(counted(half, "half pair"))
        if self._found.obstacles:
            parts.append(f"{len(self._found.obstacles)} passed over")
        return ", ".join(parts)


def _planned(plan: Plan, group: Group, find_done: FindDone | None) -> PlannedPair:
    try:
        submission = _submission(plan, group)
        if find_done is not None:
            found = first_version(plan.layout, submission.name, partial(find_done, submission))
            if found is not None:
                return PlannedPair(group.stem, PlannedAction.SKIP, f"was done before as {found[0]}")
        skipped = check_pair(
            submission.prompt,
            submission.prompt_name,
            submission.image,
            submission.image_name,
            plan.decoding,
        ).skipped
    except JobError as error:
        return PlannedPair(group.stem, PlannedAction.FAIL, f"would fail: {error}")
    message = f"would be done: {submission.image_name}, {submission.prompt_name}"
    return PlannedPair(group.stem, PlannedAction.DO, message, skipped)


def _submission(plan: Plan, group: Group) -> Submission:
    """Reads a pair in the input as if it had been claimed, without moving it."""
    folder = folder_of(group.stem)
    state = JobState("dry-run", base_name(group.stem), tuple(map(base_name, group.signatures)), folder)
    claim = Claim(plan.layout.input / folder, state)
    return read_submission(plan.layout, claim, plan.settings.limits, plan.transport.prompt)
