"""The known name that a misspelled one is most similar to."""

from collections.abc import Iterable
from difflib import SequenceMatcher

LEAST_SIMILARITY = 0.6
MAX_CHARACTERS = 80
"""Names that are compared have at most so many characters: the time grows with the square of the length."""


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """`; did you mean NEAREST?`, for the end of a message; "" if there is no `nearest`."""
    found = nearest(name, known, prefix=prefix)
    return f"; did you mean {found}?" if found else ""


def nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The known name that is most similar to `name`; "" if none is similar, or several are equally so. Case,
    hyphens, underscores, and a `prefix` that names may have, do not count."""
    if len(name) > MAX_CHARACTERS:
        return ""
    matcher = SequenceMatcher(None, "", _plain(name, prefix))
    similarity: dict[str, float] = {}
    for candidate in known:
        matcher.set_seq1(_plain(candidate, prefix))
        if matcher.real_quick_ratio() >= LEAST_SIMILARITY and matcher.quick_ratio() >= LEAST_SIMILARITY:
            similarity[candidate] = matcher.ratio()
    best = max(similarity.values(), default=0.0)
    found = [candidate for candidate in similarity if similarity[candidate] == best]
    return found[0] if best >= LEAST_SIMILARITY and len(found) == 1 else ""


def _plain(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).casefold().replace("-", "").replace("_", "")
