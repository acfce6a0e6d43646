"""Reports of failed pairs, which users may have edited, and retries that are cut off."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.folders import names_in

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.failures import Failure
from sampoll.core.names import result_path, result_suffix
from sampoll.files.files import subdirectories
from sampoll.formats.opex_record import read_record
from sampoll.spool.failed import FailedPair, FailedPairs
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.reports import error_report, refused_job
from sampoll.spool.spool import opened
from sampoll.spool.state import JobState

JOB = "0123456789abcdef" * 2


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "in", tmp_path / "out", None)
    layout.output.mkdir()
    (layout.input / "failed" / "sub").mkdir(parents=True)
    return layout


def move_to_failed(layout: Layout, name: str = "a") -> None:
    for suffix in (".jpg", ".json"):
        (layout.input / f"{name}{suffix}").write_bytes(suffix.encode())
    with opened(layout, SpoolSettings(settle_seconds=0, durability="off")) as spool:
        [group] = spool.sweep().ready
        spool.fail(spool.take(group).state.job_id, BadPrompt("is bad", file=f"{name}.json"))


def only(layout: Layout) -> FailedPair:
    [failed] = FailedPairs(layout).jobs()
    return failed


def test_a_report_is_read_back_as_the_job_that_it_is_about() -> None:
    failures = (
        Failure("crashed", "the process died", 1000.5),
        Failure("bad-image", "a.jpg: is bad", 2000.25, "a.jpg", "size", {"a.jpg": "12"}),
    )
    refused = JobState(
        JOB, "a", ("a.json", "a.jpg"), "x/y", attempts=4, suspect=True, rejected=True, failures=failures
    )
    read = refused_job(error_report(refused), "x/y", "a~3")
    assert read == replace(refused, kept_as="a~3")
    assert read is not None
    assert read.retried().failures == failures
    assert (read.retried().strikes, read.retried().rejected, read.retried().kept_as) == (0, False, None)


@pytest.mark.parametrize("name", ["../../x", "b", "a~", "", 7, None, "a/b"])
def test_a_name_in_a_report_that_does_not_fit_its_place_is_ignored(name: object) -> None:
    report = json.loads(error_report(JobState(JOB, "a", ("a.json",), failures=(Failure("x", "y", 0.0),))))
    state = refused_job(json.dumps({**report, "name": name}).encode(), "", "a~2")
    assert state is None or state.name == "a~2"


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_anything_else_is_no_report_and_no_record(content: bytes) -> None:
    assert refused_job(content, "", "a") is None
    assert read_record(content, "a") is None


@pytest.mark.parametrize("job_id", ["../x", "", "x" * 32, 5])
def test_a_report_with_an_invalid_id_is_ignored(job_id: object) -> None:
    report = json.loads(error_report(JobState(JOB, "a", ("a.json",), failures=(Failure("x", "y", 0.0),))))
    assert refused_job(json.dumps({**report, "job_id": job_id}).encode(), "", "a") is None


@pytest.mark.parametrize(
    "listed",
    [
        '{"../x.png": ""}',
        '{"a/../../x.png": ""}',
        '{"../a.png": ""}',
        '{"b.png": ""}',
        '{"a": ""}',
        "[7]",
        "7",
    ],
)
def test_a_record_can_list_files_of_its_own_name_only(listed: str) -> None:
    record = {"id": "a", "meta": {"job_id": JOB, "files": listed}}
    assert read_record(json.dumps(record).encode(), "a") is None
    record["meta"] = {"job_id": JOB, "files": '{"a.png": "", "a.0.png": "", "png8/a.png": ""}'}
    read = read_record(json.dumps(record).encode(), "a")
    assert read is not None
    assert read.suffixes == (".png", ".0.png", "png8/.png")


@pytest.mark.parametrize("name", ["a", "sub/a", "png8/a"])
@pytest.mark.parametrize("suffix", [".png", ".0.png", "png8/.png"])
def test_a_suffix_is_found_again_in_the_path_that_was_made_with_it(name: str, suffix: str) -> None:
    assert result_suffix(result_path(name, suffix), name) == suffix


def test_a_prompt_that_is_called_like_a_report_is_a_prompt(layout: Layout) -> None:
    move_to_failed(layout, "a.error")
    failed = only(layout)
    assert (failed.path, [path.name for path in failed.files]) == ("a.error", ["a.error.jpg", "a.error.json"])


@pytest.mark.parametrize("acts", range(1, 9))
def test_a_return_that_is_cut_off_anywhere_is_undone_or_complete(layout: Layout, acts: int) -> None:
    move_to_failed(layout)
    real = {act: getattr(Path, act) for act in ("rename", "mkdir", "unlink")}
    left = acts

    class Killed(BaseException):
        pass

    def counting(act: str) -> object:
        def counted(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real[act](*arguments, **options)

        return counted

    with (
        mock.patch.object(Path, "rename", counting("rename")),
        mock.patch.object(Path, "mkdir", counting("mkdir")),
        mock.patch.object(Path, "unlink", counting("unlink")),
        suppress(Killed),
    ):
        FailedPairs(layout).retry(only(layout))

    with (
        mock.patch("time.time", return_value=4e9),  # long after
        opened(layout, SpoolSettings(settle_seconds=0, durability="off")) as spool,
    ):
        for deferral in spool.deferrals():
            claim = spool.take_deferred(deferral)
            assert claim is not None
            if claim.state.rejected:
                spool.move_to_failed(claim)
            elif claim.is_complete:
                spool.fail(claim.state.job_id, BadPrompt("is still bad"))
            else:
                spool.give_back(claim)
    assert subdirectories(layout.deferred) == []
    kept = {p.read_bytes() for p in layout.input.rglob("a.j*")}
    assert kept == {b".jpg", b".json"}
    failed = only(layout)
    assert [path.name for path in failed.files] == ["a.jpg", "a.json"]


def test_a_pair_that_loses_a_file_during_its_retry_stays_failed(layout: Layout) -> None:
    move_to_failed(layout)
    failed = only(layout)
    failed.files[1].unlink()
    assert not FailedPairs(layout).retry(failed)
    assert names_in(layout.failed) == ["a.error.json", "a.jpg", "sub"]
    assert subdirectories(layout.deferred) == []


def test_a_pair_that_is_still_moving_to_failed_is_not_retried(layout: Layout) -> None:
    move_to_failed(layout)
    failed = only(layout)
    directory = layout.work / "node" / failed.state.job_id
    directory.mkdir(parents=True)
    (directory / STATE).touch()
    assert not FailedPairs(layout).retry(failed)
    assert names_in(layout.failed) == ["a.error.json", "a.jpg", "a.json", "sub"]


def test_a_pair_is_retried_while_the_process_keeps_the_directory_that_it_had(layout: Layout) -> None:
    move_to_failed(layout)
    failed = only(layout)
    (layout.work / "node" / failed.state.job_id).mkdir(parents=True)
    assert FailedPairs(layout).retry(failed)


def test_only_the_first_of_two_retries_gets_a_pair(layout: Layout) -> None:
    move_to_failed(layout)
    failed = only(layout)
    assert FailedPairs(layout).retry(failed)
    assert not FailedPairs(layout).retry(failed)
    assert FailedPairs(layout).purge(failed) == 0
    [directory] = subdirectories(layout.deferred)
    assert names_in(directory) == ["a.jpg", "a.json"]


@pytest.mark.parametrize("first", ["cat", "cat.error"])
def test_a_report_and_a_prompt_of_one_name_never_replace_each_other(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    # Two processes that look at the names at the same moment find all of them free.
    monkeypatch.setattr("sampoll.spool.finish.os.path.lexists", lambda path: ".sampoll" in str(path))
    for name in (first, *({"cat", "cat.error"} - {first})):
        move_to_failed(layout, name)
    monkeypatch.undo()

    pairs = {pair.state.name: pair for pair in FailedPairs(layout).jobs()}

    assert set(pairs) == {"cat", "cat.error"}
    for pair in pairs.values():
        assert sorted(path.read_bytes() for path in pair.files) == [b".jpg", b".json"]
        assert len({path.name.rpartition(".")[0] for path in pair.files}) == 1, "one version for both files"


def test_two_pairs_that_fail_at_one_moment_share_no_name(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.spool.finish.os.path.lexists", lambda path: ".sampoll" in str(path))
    for prompt in (".json", ".prompt"):
        (layout.input / "a.jpg").write_bytes(f"image of {prompt}".encode())
        (layout.input / f"a{prompt}").write_bytes(prompt.encode())
        with opened(layout, SpoolSettings(settle_seconds=0, durability="off")) as spool:
            [group] = spool.sweep().ready
            spool.fail(spool.take(group).state.job_id, BadPrompt("is bad"))
    monkeypatch.undo()

    found = [{path.read_bytes() for path in pair.files} for pair in FailedPairs(layout).jobs()]

    assert found == [{b"image of .json", b".json"}, {b"image of .prompt", b".prompt"}]


def test_a_report_of_another_pair_is_no_prompt(layout: Layout) -> None:
    move_to_failed(layout, "cat")
    for suffix in (".jpg", ".prompt"):
        (layout.input / f"cat.error{suffix}").write_bytes(suffix.encode())
    with opened(layout, SpoolSettings(settle_seconds=0, durability="off")) as spool:
        [group] = spool.sweep().ready
        spool.fail(spool.take(group).state.job_id, BadPrompt("is bad"))

    for pair in FailedPairs(layout).jobs():
        assert FailedPairs(layout).retry(pair)

    assert names_in(layout.failed) == ["sub"]
    assert len(subdirectories(layout.deferred)) == 2


def test_a_pair_on_its_way_to_failed_is_not_purged(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []

    def purge_now(_: Path) -> None:
        freed.append(FailedPairs(layout).purge(only(layout)))

    monkeypatch.setattr("sampoll.spool.finish.sync_directory", purge_now)
    move_to_failed(layout)

    assert freed == [0]
    assert FailedPairs(layout).purge(only(layout)) > 0
    assert names_in(layout.failed) == ["sub"]
