"""`sampoll batch` in this process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampoll.app.batch import run_batch
from sampoll.config.resolve import resolve
from sampoll.core.events import Event, JobDone, JobFailed, JobSkipped, ModelLoaded

FAILED = ".sampoll/batch/failed"


@dataclass(frozen=True)
class Batch:
    """What became of it: `line` is its summary."""

    exit_code: int
    line: str
    events: list[Event]

    @property
    def done(self) -> list[str]:
        return sorted(event.name for event in self.events if isinstance(event, JobDone))

    @property
    def skipped(self) -> list[str]:
        return sorted(event.name for event in self.events if isinstance(event, JobSkipped))

    @property
    def errors(self) -> dict[str, str]:
        return {event.name: str(event.error) for event in self.events if isinstance(event, JobFailed)}

    @property
    def has_loaded_a_model(self) -> bool:
        return any(isinstance(event, ModelLoaded) for event in self.events)


def batch(source: Path | str, output: Path | str, *, images: Path | str | None = None, **flags: Any) -> Batch:
    """Runs a batch with a fake model."""
    given = {"model": "support.fakes:boxes", **{key.replace("_", "-"): flags[key] for key in flags}}
    events: list[Event] = []
    settings = resolve(given, {}).settings
    outcome = run_batch(
        settings,
        str(source),
        str(output),
        [events.append],
        images=None if images is None else str(images),
        show_progress=False,
    )
    return Batch(outcome.exit_code, str(outcome.summary), events)
