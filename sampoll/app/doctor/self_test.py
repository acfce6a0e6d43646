"""The self-test: processes one image with a box completely, on the disks that a run would use."""

import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from sampoll.app.assembly import LoadedModel, service_of
from sampoll.app.demo import DemoPair, demo_pairs, write_pair
from sampoll.app.doctor.findings import Finding, Level, error_of, ok, warning
from sampoll.app.plan import Plan
from sampoll.app.result_store import CommittedResults
from sampoll.core.errors import JobError, SampollError, translated_os_errors
from sampoll.core.events import Event, JobFailed
from sampoll.core.filenames import DONE, PRIVATE
from sampoll.core.jobs import Prompt
from sampoll.core.results import Segmentation
from sampoll.spool.layout import Layout
from sampoll.transports.directory.transport import directory_transport

SELF_TEST_SETTINGS = {
    "prompt": None,
    "default_prompt": None,
    "continuous": False,
    "settle_seconds": 0.0,
    "ready_suffix": None,
    "pair_timeout_seconds": None,
    "rescan_seconds": 0.1,
    "give_up_seconds": 0.0,
    "max_attempts": 1,
    "exclusive": False,
    "stop_file": None,
}
"""Settings that the self-test overrides: when, and how often, pairs are taken."""
MIN_IOU = 0.5
"""Least IoU of the mask and the true mask: any model that works finds a ball in its box."""


def self_test(plan: Plan, model: LoadedModel, roots: Layout | None) -> Finding:
    """Runs in private folders of the `roots`, or, without them, in the directory for temporary files."""
    pair = _pair_for(plan.decoding.prompt_kinds)
    began = time.monotonic()
    try:
        with _directories(roots) as layout, translated_os_errors("test itself in", layout.input):
            write_pair(pair, layout.input)
            failure = _run(plan, model, layout)
            results = list(CommittedResults(layout.output))
    except SampollError as error:
        return error_of("self-test", error)
    if failure is not None:
        return error_of("self-test", failure)
    if not results:
        return Finding("self-test", Level.ERROR, "no result was written", "report this as a bug", 70)
    return _judged(pair, results[0], time.monotonic() - began)


@contextmanager
def _directories(roots: Layout | None) -> Iterator[Layout]:
    """New, empty directories, which are deleted at the end."""
    name = f"self-test-{uuid.uuid4().hex}"
    if roots is None:
        aside = Path(tempfile.mkdtemp(prefix="sampoll-"))
        above = [aside / "in", aside / "out"]
        removed = [aside]
    else:
        above = removed = [root / PRIVATE / name for root in (roots.input, roots.output)]
    try:
        with translated_os_errors("make directories in", above[0].parent):
            for directory in above:
                directory.mkdir(parents=True)
        yield Layout(above[0], above[1], above[0] / DONE)
    finally:
        for directory in removed:
            shutil.rmtree(directory, ignore_errors=True)


def _run(plan: Plan, model: LoadedModel, layout: Layout) -> JobError | None:
    """One session of the planned run, except for where and when it takes pairs; the first failure, if any."""
    spool = plan.settings.spool.model_copy(update=SELF_TEST_SETTINGS)
    failures: list[JobError] = []

    def note_failure(event: Event) -> None:
        if isinstance(event, JobFailed):
            failures.append(event.error)

    options = replace(plan.transport, spool=spool, prompt=None)
    with directory_transport(layout, options, note_failure, set()) as transport:
        decode = model.decode_with(plan.decoding)
        service_of(plan.settings, transport, model, decode, plan.formats).run(threading.Event())
    return failures[0] if failures else None


def _pair_for(kinds: Collection[str]) -> DemoPair:
    """A ball in its box; or in words, for a model that takes no boxes."""
    pair = next(demo_pairs())
    takes_words_only = "text" in kinds and "box" not in kinds
    return replace(pair, prompts=(Prompt(text="ball"),)) if takes_words_only else pair


def _judged(pair: DemoPair, result: Segmentation, seconds: float) -> Finding:
    done = f"an image and a {pair.prompts[0].kinds[0]} became a mask and its record in {seconds:.1f} s"
    masks = [mask for of_prompt in result.masks for mask in of_prompt]
    truth = pair.truths[0]
    found = masks[0].pixels() if masks else np.zeros_like(truth)
    iou = float((found & truth).sum() / max(1, (found | truth).sum()))
    if iou < MIN_IOU:
        return warning(
            "self-test",
            f"{done}, but the mask agrees with the truth to {iou:.2f} only (IoU)",
            "check the weights, and the settings that clean masks; a model for other images may be right",
        )
    return ok("self-test", f"{done}; it agrees with the truth to {iou:.2f} (IoU)")
