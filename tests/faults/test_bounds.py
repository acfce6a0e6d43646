"""A large backlog costs no memory and no descriptors, and does not change the order of pairs."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fakes import POISON_HEIGHT
from support.folders import BOX, Folders, drop_pair
from support.images import blank_image, encoded, image_of
from support.process import running_sampoll, sampoll, until

from sampoll.core.filenames import PAIR_SUFFIXES
from sampoll.spool.listing import listing
from sampoll.spool.obstacles import Obstacles
from sampoll.spool.scan import Readiness, observe, scan

FILES_ONE_INODE_MAY_HAVE = 30_000
OPEN_FILES = 32
"""More than the process ever needs: its own libraries, one watch, and a few files of one job."""
GROWTH_BYTES = 48 * 2**20
"""Less than a hundredth of what the backlog's images would take."""


def drop_halves(directory: Path, count: int) -> None:
    """Images without prompts, many names sharing one file."""
    for number in range(count):
        path = directory / f"half{number:06d}.jpg"
        if number % FILES_ONE_INODE_MAY_HAVE == 0:
            path.write_bytes(encoded(image_of(), "JPEG"))
            source = path
        else:
            os.link(source, path)


def drop_many(directory: Path, names: list[str]) -> None:
    """Pairs that share the content of their first one."""
    drop_pair(directory, names[0], BOX)
    for name in names[1:]:
        for suffix in (".jpg", ".json"):
            os.link(directory / f"{names[0]}{suffix}", directory / f"{name}{suffix}")


def watched(process: subprocess.Popen[bytes]) -> Iterator[tuple[int, int]]:
    """How much memory the process has, in bytes, and how many files are open, until it ends."""
    proc = Path("/proc") / str(process.pid)
    while process.poll() is None:
        try:
            [pages] = re.findall(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
            yield int(pages) * 1024, len(list((proc / "fd").iterdir()))
        except (FileNotFoundError, ValueError):  # it has just ended
            return
        time.sleep(0.05)


def test_a_hundred_thousand_halves_do_not_hide_ten_pairs(folders: Folders) -> None:
    drop_halves(folders.input, 100_000)
    for number in range(10):
        drop_pair(folders.input, f"whole{number}")

    run = sampoll("run", "-i", folders.input, "-o", folders.output, "--model", "support.fakes:boxes")

    assert "10 done, 0 failed, 100000 half pairs left" in run.stdout
    assert len(folders.done) == 20


@pytest.mark.campaign
def test_ten_pairs_among_a_hundred_thousand_halves_are_done_within_ten_seconds(folders: Folders) -> None:
    drop_halves(folders.input, 100_000)
    for number in range(10):
        drop_pair(folders.input, f"whole{number}")
    begun = time.monotonic()
    with running_sampoll(
        "run", "-i", folders.input, "-o", folders.output, "--model", "support.fakes:boxes", "--continuous"
    ):
        until(lambda: len(folders.done) == 20, "ten pairs among 100,000 halves")
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("count", [1_500, pytest.param(10_000, marks=pytest.mark.campaign)])
def test_memory_and_open_files_stay_flat_however_many_pairs_wait(folders: Folders, count: int) -> None:
    drop_many(folders.input, [f"p{number:05d}" for number in range(count)])

    memory, files = [], []
    with running_sampoll(
        "run", *folders.flags, "--model", "support.fakes:boxes", "--log-level", "warning"
    ) as process:
        for resident, open_files in watched(process):
            if len(list((folders.output).glob("*.json"))) > count // 10:  # everything is loaded by now
                memory.append(resident)
            files.append(open_files)
        assert process.wait() == 0

    assert len(folders.done) == 2 * count
    assert max(files) <= OPEN_FILES
    assert max(memory) - memory[0] <= GROWTH_BYTES


def test_the_masks_of_one_image_take_little_memory_however_many_its_prompts_are(folders: Folders) -> None:
    height, width, count = 3000, 4000, 500
    boxes = [{"x0": n, "y0": n, "x1": width - n, "y1": height - n} for n in range(count)]
    drop_pair(
        folders.input, "a", {"prompts": [{"box": box} for box in boxes]}, image=blank_image(height, width)
    )

    with running_sampoll("run", *folders.flags, "--model", "support.fakes:boxes") as process:
        most_bytes = max(resident for resident, _ in watched(process))
        assert process.wait() == 0

    assert len(list(folders.output.glob("a.*.png"))) == count
    assert most_bytes < count * height * width / 8 * 0.75  # uncompressed, the masks alone take a third more


def test_an_image_whose_masks_take_more_memory_than_allowed_is_refused(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    drop_pair(folders.input, "b", {"prompts": [BOX] * 10})

    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--max-mask-bytes", 200)

    assert "prompts: their masks take more than 200 bytes: split the file" in run.stderr
    assert folders.results == ["a.json", "a.png"]


def done_in(log_file: Path) -> list[str]:
    return re.findall(r"INFO (\w+): done", log_file.read_text())


def test_pairs_are_processed_in_the_order_of_their_arrival(
    folders: Folders, gate: tuple[Path, Path], tmp_path: Path
) -> None:
    started, go = gate
    log_file = tmp_path / "log"
    with log_file.open("wb") as log:
        drop_pair(folders.input, "m", image=image_of(POISON_HEIGHT))
        flags = ("--model", "support.fakes:waiting", "--batch-size", "1", "--continuous")
        with running_sampoll("run", *folders.flags, *flags, log=log):
            until(started.exists, "the first pair holds the model")
            drop_many(folders.input, [f"z{number:03d}" for number in range(40)])
            until(lambda: "z000.jpg" not in folders.waiting, "the first of them to be taken")
            drop_many(folders.input, [f"a{number:03d}" for number in range(40)])
            go.touch()
            until(lambda: len(done_in(log_file)) == 81, "all are done")

    done = done_in(log_file)
    first = [f"z{number:03d}" for number in range(40)]
    assert done == ["m", *first, *(name.replace("z", "a") for name in first)]


@pytest.mark.campaign
def test_a_scan_of_ten_thousand_pairs_takes_less_than_a_second(folders: Folders) -> None:
    drop_many(folders.input, [f"p{number:05d}" for number in range(10_000)])
    begun = time.monotonic()
    found = listing(
        folders.input,
        recursive=False,
        suffixes=PAIR_SUFFIXES,
        ready_suffix=None,
        obstacles=Obstacles(retries=False),
        now=begun,
    )
    seen = observe(found, {}, begun)
    assert len(scan(seen, begun, Readiness(0)).ready) == 10_000
    assert time.monotonic() - begun < 1
