"""Where the next wall is: what a bucket of images costs with more and more workers, by arithmetic.

python -m benchmarks.how_big [--images 100000000] [--rate 69.7]

`--rate` is what one worker does from files to files, images/s; see docs/performance.md.
"""

import argparse
from collections.abc import Sequence

from benchmarks.measuring import markdown

IMAGES = 100_000_000
RATE = 69.7
"""vit_b on one H100, 1080p photographs from files to files, images/s."""
READS, WRITES = 2, 2
"""Requests for each image: of the image and its prompt, and of a mask and its record."""
NAMES = 4
"""Names that each process lists for each image: image and prompt in SOURCE, mask and record in DEST."""
LISTED_NAMES, LISTING_SECONDS = 1000, 0.1
"""What one request for a list returns, and about how long it takes."""
PREFIX_READS, PREFIX_WRITES = 5500, 3500
"""What Amazon S3 promises each second for one prefix, at least."""
WORKERS = (1, 8, 100, 1000)


def row(workers: int, images: int, rate: float) -> list[str]:
    """The line of so many workers, each of which lists the whole bucket beside its work."""
    per_second = workers * rate
    prefixes = max(1, per_second * READS / PREFIX_READS, per_second * WRITES / PREFIX_WRITES)
    computing_hours = images / per_second / 3600
    listing_hours = images * NAMES / LISTED_NAMES * LISTING_SECONDS / 3600
    return [
        f"{workers:,}",
        f"{computing_hours:,.1f} h",
        f"{listing_hours:,.1f} h",
        f"{per_second * (READS + WRITES):,.0f}",
        f"{-(-prefixes // 1):.0f}",
        wall(computing_hours, listing_hours, prefixes),
    ]


def wall(computing_hours: float, listing_hours: float, prefixes: float) -> str:
    """What holds up more workers first."""
    if listing_hours > computing_hours:
        return "the listing"
    return "requests to one prefix" if prefixes > 1 else "the model"


def table(images: int = IMAGES, rate: float = RATE) -> str:
    return markdown(
        ["workers", "the model takes", "listing takes", "requests/s", "prefixes needed", "the wall"],
        [row(workers, images, rate) for workers in WORKERS],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.how_big", description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--rate", type=float, default=RATE, help="images/s of one worker, files to files")
    given = parser.parse_args(arguments)
    print(f"{given.images:,} images, {given.rate:g} images/s by each worker\n")
    print(table(given.images, given.rate))


if __name__ == "__main__":
    main()
