"""What the record of a result says about it. Light enough to be imported where nothing is rendered."""

import orjson


def listed_suffixes(record: bytes) -> tuple[str, ...] | None:
    """The suffixes of the files that a record lists; None if it is no record that `Opex` has rendered."""
    try:
        document = orjson.loads(record)
        name, meta = document["id"], document["meta"]
        suffixes = tuple(file.removeprefix(name) for file in orjson.loads(meta["masks"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    # Nothing that somebody else wrote may name a file anywhere else.
    is_ours = "job_id" in meta and all(s.startswith(".") and "/" not in s for s in suffixes)
    return suffixes if is_ours else None
