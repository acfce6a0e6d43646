"""Numbers as people read them."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 pair", "2 pairs"; `many` is the plural where it is not `one` with an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def duration_text(seconds: float) -> str:
    """A duration in its largest unit: "41 s", "3.2 h", "17 min"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.{0 if seconds >= 10 * length else 1}f} {unit}"
    return f"{seconds:.0f} s"
