"""The licences of all that `pip install sampoll` and its extras have brought here; 1 if one is neither
allowed nor known. Allowed is what may be used commercially, and passed on, without opening one's own code.

Needs pip-licenses and packaging: `python .ci/licences.py`.
"""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, metadata, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOR_DEVELOPERS = ("dev", "docs")
"""The extras that come with no installation for users."""
ALLOWED = re.compile(r"\b(MIT|0?BSD|FreeBSD|Apache|MPL)\b")
NOT_ALLOWED = re.compile(r"GPL|Proprietary|UNKNOWN", re.IGNORECASE)
KNOWN = {
    "segment-anything": "Apache-2.0, says its repository; its package says nothing",
    "isal": "PSF-2.0, as permissive as BSD",
    "typing-extensions": "PSF-2.0, as permissive as BSD; pydantic and torch need it",
    "shellingham": "ISC, the same terms as MIT; typer needs it",
    "nvidia-*, cuda-*": "CUDA's runtime, free to use and pass on, not open; torch for CUDA brings it",
}


def closure(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """`name` with these extras and all that it needs, as far as it is installed, by canonical names."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        if (canonicalize_name(name), extras) in found or not is_here(name):
            continue
        found.add((canonicalize_name(name), extras))
        for requirement in map(Requirement, requires(name) or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                waiting.append((requirement.name, tuple(sorted(requirement.extras))))
    return {name for name, _ in found}


def is_here(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def verdict(name: str, licence: str) -> str:
    for names, reason in KNOWN.items():
        if any(re.fullmatch(known.replace("*", ".*"), name) for known in names.split(", ")):
            return f"known: {reason}"
    is_allowed = ALLOWED.search(licence) and not NOT_ALLOWED.search(licence)
    return "allowed" if is_allowed else "NOT ALLOWED"


def judged(title: str, packages: set[str]) -> int:
    """Prints the licence of each package; returns how many are not allowed."""
    if not packages:
        return 0
    listing = subprocess.run(
        ["pip-licenses", "--from=mixed", "--format=json", "--packages", *sorted(packages)],
        check=True,
        capture_output=True,
        text=True,
    )
    refused = 0
    for package in json.loads(listing.stdout):
        said = verdict(canonicalize_name(package["Name"]), package["License"])
        refused += said == "NOT ALLOWED"
        sys.stdout.write(f"{package['Name']} {package['Version']}: {package['License']}: {said}\n")
    sys.stdout.write(f"{title}: {len(packages)} packages, {refused} with a licence that is not allowed\n")
    return refused


def main() -> int:
    seen = closure("sampoll")
    refused = judged("sampoll", seen)
    for extra in metadata("sampoll").get_all("Provides-Extra") or ():
        if extra in FOR_DEVELOPERS:
            continue
        more = closure("sampoll", (extra,)) - seen
        refused += judged(f"sampoll[{extra}], besides", more)
        seen |= more
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
