"""Claims: pairs that move into a job of ours, and back."""

import os
from pathlib import Path

import pytest
from support.spools import claimed, drop, everything, spool_in

from sampoll.files.files import move_unless_taken, subdirectories
from sampoll.spool import claims
from sampoll.spool.layout import Layout
from sampoll.spool.recovery import Step


def test_an_image_is_never_in_the_input_without_its_prompt(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be taken with the default prompt: by another process, or by the next one after a kill."""
    drop(layout)
    moved: list[str] = []
    rename = os.rename

    def renamed(path: str | Path, target: str | Path) -> None:
        moved.append(Path(path).name)
        rename(path, target)

    def returned(source: str, target: Path) -> bool:
        moved.append(Path(source).name)
        return move_unless_taken(source, target)

    with spool_in(layout) as spool:
        monkeypatch.setattr(os, "rename", renamed)
        claim = claimed(spool)
        assert [name for name in moved if name.startswith("a.")] == ["a.jpg", "a.json"]
        moved.clear()
        monkeypatch.setattr(claims, "move_unless_taken", returned)
        spool.give_back(claim)
        assert moved == ["a.json", "a.jpg"]


def test_a_claim_moves_both_files_and_a_return_brings_them_back(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert list(layout.input.glob("a.*")) == []
        spool.give_back(claim)

    assert everything(layout) == {"a.jpg": b"image", "a.json": b"prompt"}
    assert subdirectories(layout.work) == []


def test_an_input_that_is_away_is_not_created_by_the_return_of_a_pair(layout: Layout, tmp_path: Path) -> None:
    drop(layout)
    away = tmp_path / "away"
    with spool_in(layout) as spool:
        claimed(spool)
        layout.input.rename(away)
        spool.close()
        assert not layout.input.exists()
        away.rename(layout.input)

    with spool_in(layout) as spool:
        assert set(claimed(spool).state.files) == {"a.jpg", "a.json"}


def test_only_one_of_two_processes_gets_a_pair(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as one, spool_in(layout) as other:
        [group] = one.sweep().ready
        assert one.next_step(one.take(group)) is Step.TRY
        loser = other.take(group)
        assert other.next_step(loser) is Step.GIVE_BACK
        assert other.give_back(loser) is None
        assert other.open_claims == 0


def test_a_file_that_changed_after_the_scan_is_not_claimed(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        [group] = spool.sweep().ready
        (layout.input / "a.jpg").write_bytes(b"image, and more")

        claim = spool.take(group)
        assert spool.next_step(claim) is Step.GIVE_BACK
        spool.give_back(claim)

    assert everything(layout) == {"a.jpg": b"image, and more", "a.json": b"prompt"}


def test_a_newer_file_of_the_name_of_a_claimed_one_is_not_overwritten(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claimed(spool)
        drop(layout, content=b"newer")

    assert (layout.input / "a.jpg").read_bytes() == b"newer"
    [deferred] = subdirectories(layout.deferred)
    assert (deferred / "a.jpg").read_bytes() == b"image"


def test_a_prompt_with_the_name_of_a_state_file_is_a_prompt(layout: Layout) -> None:
    (layout.input / "state.jpg").write_bytes(b"image")
    (layout.input / "state.json").write_bytes(b"prompt")
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert sorted(claim.files()) == ["state.jpg", "state.json"]
