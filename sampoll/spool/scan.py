"""What a listing of the input means: which pairs are ready, which still settle, which are halves. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sampoll.spool.layout import is_image, is_prompt, split_name


@dataclass(frozen=True, slots=True)
class Signature:
    """What changes when somebody writes to a file or replaces it."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file as seen now: when it was first seen, and since when it has not changed (monotonic seconds)."""

    signature: Signature
    first_seen: float
    unchanged_since: float


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one stem that go together: an image and a prompt, or more where they are ambiguous."""

    stem: str
    signatures: Mapping[str, Signature]


@dataclass(frozen=True, slots=True)
class Scan:
    """`ready` in first-seen order. `next_ready_in` is in seconds; None if nothing settles."""

    ready: tuple[Group, ...]
    settling: int
    half: int
    next_ready_in: float | None


def observe(
    listing: Iterable[tuple[str, Signature]], earlier: Mapping[str, Sighting], now: float
) -> dict[str, Sighting]:
    """The sightings after one more look at the input."""
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


def scan(sightings: Mapping[str, Sighting], now: float, settle_seconds: float) -> Scan:
    """Groups the files by stem. A group is ready once none of its files has changed for `settle_seconds`;
    an empty file is one that has not come yet. Two images or two prompts of one stem make the group
    ambiguous, not twice a pair."""
    by_stem: dict[str, list[str]] = {}
    for name, sighting in sightings.items():
        names = by_stem.setdefault(split_name(name)[0], [])
        if sighting.signature.size > 0:
            names.append(name)

    ready: list[tuple[float, str, Group]] = []
    waits: list[float] = []
    half = 0
    for stem, names in by_stem.items():
        if not (any(map(is_image, names)) and any(map(is_prompt, names))):
            half += 1
            continue
        files = {name: sightings[name] for name in sorted(names)}
        wait = max(s.unchanged_since for s in files.values()) + settle_seconds - now
        if wait > 0:
            waits.append(wait)
            continue
        group = Group(stem, {name: s.signature for name, s in files.items()})
        ready.append((max(s.first_seen for s in files.values()), stem, group))
    ready.sort(key=lambda entry: entry[:2])
    return Scan(tuple(group for *_, group in ready), len(waits), half, min(waits, default=None))
