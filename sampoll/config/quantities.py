"""Sizes and times as people write them: 64M, 90s, 1h30m. A plain number keeps the unit of its setting."""

import re
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_TIME_PART = re.compile(f"({_NUMBER})(ms|s|m|h|d)")
TIME_PATTERN = f"(?:{_NUMBER}(?:ms|s|m|h|d))+"
SIZE_PATTERN = f"({_NUMBER})([KMGTkmgt])(?:iB)?"


def seconds_of(value: Any) -> Any:
    """The seconds of a time with units; other values are returned as they are, unless they are other texts:
    these raise ValueError."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(TIME_PATTERN, text := value.strip()):
        parts = _TIME_PART.findall(text)
        return round(sum(float(number) * _SECONDS[unit] for number, unit in parts), 6)
    if not _is_number(text):
        raise ValueError("must be a number, or a time such as 500ms, 90s, 10m, 2h or 7d")
    return value


def bytes_of(value: Any) -> Any:
    """The bytes of a size with a unit: K, M, G or T, powers of 1024; other values as `seconds_of`."""
    if not isinstance(value, str):
        return value
    if size := re.fullmatch(SIZE_PATTERN, text := value.strip()):
        return int(float(size[1]) * _BYTES[size[2].lower()])
    if not _is_number(text):
        raise ValueError(
            "must be a number of bytes, or a size such as 512K, 64M or 2G, where M is 2**20 bytes"
        )
    return value


def time_text(seconds: float) -> str:
    """A time in the largest unit that divides it: 600.0 is 10m, 0.1 is 0.1s."""
    units = ("d", "h", "m") if seconds else ()
    unit = next((unit for unit in units if seconds % _SECONDS[unit] == 0), "s")
    count = seconds / _SECONDS[unit]
    return f"{int(count) if count == int(count) else count}{unit}"


def size_text(size: int) -> str:
    """A size in the largest unit that divides it: 2**30 is 1G, 1000 is 1000."""
    units = ("t", "g", "m", "k") if size else ()
    unit = next((unit for unit in units if size % _BYTES[unit] == 0), "")
    return f"{size // _BYTES[unit]}{unit.upper()}" if unit else str(size)


def in_units(size: int) -> str:
    """A number of bytes in a readable unit: 1536 is 1.5 KiB. Rounded, unlike `size_text`."""
    value, units = float(size), iter(("bytes", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and unit != "TiB":
        value, unit = value / 1024, next(units)
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
