"""`sampoll batch`, killed at its system calls: what has a record is whole, and the next one does the rest."""

import hashlib
import json
from pathlib import Path

import pytest
from support.batches import batch
from support.folders import BOX, drop_pair
from support.images import image_of
from support.killing import Point, killed_at
from support.process import SAMPOLL

PAIRS = 6
COMMAND = (str(SAMPOLL), "batch")
POINTS = [
    *(Point("renameat2", count) for count in (1, 3)),
    *(Point("rename", count) for count in (2, 4)),
    *(Point("syncfs", 1), Point("fsync", 4)),
]


def check_whole(output: Path) -> int:
    """Every record has its files, with their digests; returns how many records there are."""
    records = list(output.glob("*.json"))
    for record in records:
        files: dict[str, str] = json.loads(json.loads(record.read_text())["meta"]["files"])
        assert files
        for name, digest in files.items():
            assert hashlib.sha256((output / name).read_bytes()).hexdigest() == digest
    return len(records)


@pytest.mark.slow
def test_whatever_call_a_batch_is_killed_at_the_next_one_completes_it(
    tmp_path: Path, strace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(PAIRS):
        drop_pair(source, f"p{number}", {"prompts": [BOX, BOX]}, image=image_of(seed=number))
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    reached = 0

    for point in POINTS:
        output = tmp_path / f"{point.call}{point.count}"
        places = (str(source), "-o", str(output), "--model", "support.fakes:boxes", "--batch-size", "2")
        reached += killed_at(strace, [*COMMAND, *places], point)
        records = check_whole(output) if output.exists() else 0
        after = batch(source, output)
        assert after.line.startswith(f"{PAIRS - records} done"), (point, after.line, after.errors)
        assert check_whole(output) == PAIRS

    assert reached >= len(POINTS) - 1
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
