"""What the record of a result says about it. Light enough to be imported where nothing is rendered."""

import re

import orjson

from sampoll.core.names import printable, result_suffix

_SUFFIX = re.compile(r"([a-z0-9_-]+/)?(\.[^/]+)")


def listed_suffixes(record: bytes, name: str) -> tuple[str, ...] | None:
    """The suffixes of the files that the record of the result `name` lists; None if it is no record that
    `Opex` has rendered."""
    try:
        meta = orjson.loads(record)["meta"]
        files = orjson.loads(meta["files"])
        suffixes = tuple(result_suffix(file, printable(name)) for file in files)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    # Nothing that somebody else wrote may name a file anywhere else.
    ours = tuple(suffix for suffix in suffixes if suffix and _SUFFIX.fullmatch(suffix))
    return ours if "job_id" in meta and len(ours) == len(suffixes) else None
