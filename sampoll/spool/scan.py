"""Finds in a listing of the input which pairs are ready, settling or incomplete (halves). Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.filenames import IMAGE_SUFFIXES, PROMPT_SUFFIXES, split_name
from sampoll.spool.selection import ALL_PAIRS, Selection

DEFAULT_AFTER_SECONDS = 10.0
"""How long a service waits for the prompt of an image that can do without, if no time is set."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What changes when a file is written or replaced. `ctime` (seconds of the epoch) is not compared: it
    changes with the permissions as well."""

    size: int
    mtime_ns: int
    inode: int
    ctime: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file as seen now: when it was first seen, and since when it has not changed (monotonic seconds)."""

    signature: Signature
    first_seen: float
    unchanged_since: float


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one stem: an image, a prompt, and their marker if one is needed; more files if the group
    is ambiguous, fewer if one did not come in time."""

    stem: str
    signatures: Mapping[str, Signature]


@dataclass(frozen=True, slots=True)
class Scan:
    """`ready` is in first-seen order. `next_ready_in` is in seconds; None if no group is settling.
    `oldest_ready_seconds` is how long ago the first ready group was first seen complete. `halves` are the
    files of the incomplete groups."""

    ready: tuple[Group, ...]
    settling: int
    half: int
    next_ready_in: float | None
    oldest_ready_seconds: float = 0.0
    halves: tuple[str, ...] = ()


def observe(
    listing: Iterable[tuple[str, Signature]], earlier: Mapping[str, Sighting], now: float
) -> dict[str, Sighting]:
    """The sightings after one more scan of the input."""
    sightings = {}
    for name, signature in listing:
        before = earlier.get(name)
        if before is None:
            sightings[name] = Sighting(signature, now, now)
        elif before.signature == signature:
            sightings[name] = before
        else:
            sightings[name] = Sighting(signature, before.first_seen, now)
    return sightings


@dataclass(frozen=True, slots=True)
class Readiness:
    """When a group is ready.

    Once none of its files has changed for `settle_seconds`; with a `ready_suffix`, as soon as it has a marker
    file of that suffix. An incomplete group (a half) that waits for longer than `pair_timeout_seconds` is
    ready too, in order to fail. Without `needs_prompt`, an image alone is complete; otherwise, if it gets
    `default_after_seconds`, it is complete once it has waited for so long. What `selection` leaves out is
    neither ready nor a half.

    A one-shot run does not see a half for long: there a half waits since its files were last changed.
    `clock_offset` is the seconds from monotonic time to that of the epoch; None in a service.
    """

    settle_seconds: float
    ready_suffix: str | None = None
    pair_timeout_seconds: float | None = None
    needs_prompt: bool = True
    selection: Selection = ALL_PAIRS
    clock_offset: float | None = None
    default_after_seconds: float | None = None

    @property
    def takes_images_alone(self) -> bool:
        """Whether an image can be a job without a prompt of its own."""
        return not self.needs_prompt or self.default_after_seconds is not None

    def as_settled(self) -> Self:
        """The same without waiting for files to settle, or for prompts of images that can do without."""
        after = None if self.default_after_seconds is None else 0.0
        return replace(self, settle_seconds=0.0, default_after_seconds=after)

    @classmethod
    def of(cls, settings: SpoolSettings, clock_offset: float) -> Self:
        """What the settings ask for."""
        return cls(
            settings.settle_seconds,
            settings.ready_suffix,
            settings.pair_timeout_seconds,
            needs_prompt=settings.prompt is None,
            selection=Selection(settings.include, settings.exclude),
            clock_offset=None if settings.continuous else clock_offset,
            default_after_seconds=_default_after_seconds(settings),
        )


def _default_after_seconds(settings: SpoolSettings) -> float | None:
    if settings.default_prompt is None:
        return None
    return (settings.pair_timeout_seconds or DEFAULT_AFTER_SECONDS) if settings.continuous else 0.0


def scan(sightings: Mapping[str, Sighting], now: float, readiness: Readiness) -> Scan:
    """Groups the files by stem; an empty file counts as not yet there, unless it is a marker. Two images or
    two prompts of one stem make one ambiguous group, not two pairs."""
    marker = None if readiness.ready_suffix is None else readiness.ready_suffix.lower()
    by_stem: dict[str, dict[str, str]] = {}  # the suffix of each name
    prompts_to_come: set[str] = set()
    for name, sighting in sightings.items():
        stem, suffix = split_name(name)
        names = by_stem.setdefault(stem, {})
        if sighting.signature.size > 0 or suffix == marker:
            names[name] = suffix
        elif suffix in PROMPT_SUFFIXES:
            prompts_to_come.add(stem)

    ready: list[tuple[float, str, Group]] = []
    waits: list[float] = []
    half = 0
    halves: list[str] = []
    for stem, names in by_stem.items():
        if not readiness.selection.takes(names):
            continue
        files = {name: sightings[name] for name in sorted(names)}
        gets_default = readiness.default_after_seconds is not None and stem not in prompts_to_come
        suffixes = names.values()
        needs_prompt = readiness.needs_prompt and not gets_default
        if _is_whole(suffixes, marker, needs_prompt=needs_prompt):
            needed = _seconds_needed(suffixes, readiness)
            wait = max(sighting.unchanged_since for sighting in files.values()) + needed - now
            if wait > 0:
                waits.append(wait)
                continue
        elif not _has_timed_out(files.values(), now, readiness):
            half += 1
            halves += names
            continue
        group = Group(stem, {name: s.signature for name, s in files.items()})
        ready.append((max(s.first_seen for s in files.values()), stem, group))
    ready.sort(key=lambda entry: entry[:2])
    oldest = now - ready[0][0] if ready else 0.0
    groups = tuple(group for *_, group in ready)
    return Scan(groups, len(waits), half, min(waits, default=None), oldest, tuple(halves))


def _is_whole(suffixes: Collection[str], marker: str | None, *, needs_prompt: bool) -> bool:
    """Whether there is an image, and a prompt and the marker, if they are needed."""
    marked = marker is None or marker in suffixes
    prompted = not needs_prompt or not PROMPT_SUFFIXES.isdisjoint(suffixes)
    return marked and prompted and not IMAGE_SUFFIXES.isdisjoint(suffixes)


def _seconds_needed(suffixes: Collection[str], readiness: Readiness) -> float:
    """For how long the files of a whole group may not have changed."""
    needed = 0.0 if readiness.ready_suffix is not None else readiness.settle_seconds
    if readiness.needs_prompt and PROMPT_SUFFIXES.isdisjoint(suffixes):
        needed = max(needed, readiness.default_after_seconds or 0.0)
    return needed


def _has_timed_out(files: Collection[Sighting], now: float, readiness: Readiness) -> bool:
    if readiness.pair_timeout_seconds is None or not files:
        return False
    return now - max(_waits_since(file, readiness) for file in files) >= readiness.pair_timeout_seconds


def _waits_since(file: Sighting, readiness: Readiness) -> float:
    if readiness.clock_offset is None:
        return file.unchanged_since
    return min(file.unchanged_since, file.signature.ctime - readiness.clock_offset)
