"""The directory transport under simulated errors."""

import errno
import os
import time
from pathlib import Path
from threading import Event, Timer

import pytest

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import BadImage, InputUnavailable, SampollError, StorageTrouble
from sampoll.core.events import Event as CoreEvent
from sampoll.core.events import JobDeferred, JobDone, JobFailed, ignore_events
from sampoll.core.results import Artifact, Delivery
from sampoll.spool import claims, finish
from sampoll.spool.layout import Layout
from sampoll.spool.scan import Group, Scan
from sampoll.spool.spool import Spool
from sampoll.transports.directory.transport import GROUP_SIZE, DirectoryOptions, directory_transport


def layout_with(tmp_path: Path, *stems: str) -> Layout:
    """Directories with a pair of each stem, whose content is not valid."""
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    for directory in (layout.input, layout.output):
        directory.mkdir()
    for stem in stems:
        for suffix in (".jpg", ".json"):
            (layout.input / f"{stem}{suffix}").write_bytes(b"content")
    return layout


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EMFILE, StorageTrouble),
        (errno.ENFILE, StorageTrouble),
        (errno.ENOENT, InputUnavailable),
        (errno.ESTALE, InputUnavailable),
    ],
)
def test_an_input_that_cannot_be_listed_is_missing_unless_files_have_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[SampollError]
) -> None:
    layout = layout_with(tmp_path)
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=0.1, give_up_seconds=0))

    def fail(_: Spool) -> None:
        raise OSError(number, os.strerror(number))

    with directory_transport(layout, options, ignore_events, set()) as transport:
        monkeypatch.setattr(Spool, "sweep", fail)
        with pytest.raises(expected, match=r"/in"):
            list(transport.submissions(Event()))


def test_a_job_whose_name_another_program_takes_is_done_under_the_next_one(tmp_path: Path) -> None:
    layout = layout_with(tmp_path, "a")
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=0.1, max_attempts=2))
    events: list[CoreEvent] = []

    with directory_transport(layout, options, events.append, set()) as transport:
        for group in transport.submissions(Event()):
            [submission] = group
            transport.begin(group)
            name = transport.reserve(submission, [".png", ".json"])
            if name == "a":
                (layout.output / "a.png").write_bytes(b"somebody else's")
            artifacts = (Artifact(".png", b"mask"), Artifact(".json", submission.id.encode()))
            transport.deliver([Delivery(submission, artifacts)])

    [deferred] = [event for event in events if isinstance(event, JobDeferred)]
    [done] = [event for event in events if isinstance(event, JobDone)]
    assert str(deferred.error) == "a.png came into the output from elsewhere while the job was done"
    assert done.result == "a~2"
    assert (layout.output / "a.png").read_bytes() == b"somebody else's"


def test_storage_that_fails_for_one_job_hides_no_result_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_with(tmp_path, "a", "b")
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=0.1))
    events: list[CoreEvent] = []

    def fail(path: Path, line: bytes, *, sync: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with directory_transport(layout, options, events.append, set()) as transport:
        group = next(iter(transport.submissions(Event())))
        transport.begin(group)
        for submission in group:
            transport.reserve(submission, [".png", ".json"])
        (layout.output / "a.png").write_bytes(b"another program's")
        artifacts = [(Artifact(".png", b"mask"), Artifact(".json", each.id.encode())) for each in group]
        with monkeypatch.context() as patched:
            patched.setattr(claims, "append_line", fail)
            with pytest.raises(StorageTrouble):
                transport.deliver(list(map(Delivery, group, artifacts)))

    assert [event.name for event in events if isinstance(event, JobDone)] == ["b"]
    assert sorted(path.name for path in layout.input.glob("done/*")) == ["b.jpg", "b.json"]


def test_a_failure_that_an_earlier_session_recorded_keeps_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_with(tmp_path, "a")
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=0.1, give_up_seconds=0))
    events: list[CoreEvent] = []
    nodes: set[str] = set()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with directory_transport(layout, options, ignore_events, nodes) as transport:
        [submission] = next(iter(transport.submissions(Event())))
        with monkeypatch.context() as patched:
            patched.setattr(finish, "move_to_failed", fail)
            with pytest.raises(StorageTrouble):
                transport.reject(submission, BadImage("is truncated", file="a.jpg"))
    with directory_transport(layout, options, events.append, nodes) as transport:
        assert list(transport.submissions(Event())) == []

    [failed] = [event for event in events if isinstance(event, JobFailed)]
    assert (failed.error.code, str(failed.error)) == ("bad-image", "a.jpg: is truncated")


def test_what_another_process_has_taken_since_the_scan_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_with(tmp_path, "a", "b")
    sweep, take = Spool.sweep, Spool.take
    claimed: list[str] = []

    def swept(spool: Spool) -> Scan:
        scan = sweep(spool)
        for path in layout.input.glob("a.*"):
            path.unlink()
        return scan

    def taken(spool: Spool, group: Group) -> claims.Claim:
        claimed.append(group.stem)
        return take(spool, group)

    monkeypatch.setattr(Spool, "sweep", swept)
    monkeypatch.setattr(Spool, "take", taken)
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, give_up_seconds=0))
    with directory_transport(layout, options, ignore_events, set()) as transport:
        [submission] = next(iter(transport.submissions(Event())))

    assert (submission.name, claimed) == ("b", ["b"])


def test_a_one_shot_run_ends_with_its_last_job_whatever_the_pause_between_scans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.transports.directory.transport.MIN_PAUSE_SECONDS", 60)
    layout = layout_with(tmp_path, "a")
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=60, give_up_seconds=0))
    began = time.monotonic()
    with directory_transport(layout, options, ignore_events, set()) as transport:
        groups = transport.submissions(Event())
        [submission] = next(groups)
        ending = Timer(0.2, transport.reject, (submission, BadImage("is truncated", file="a.jpg")))
        ending.start()
        assert list(groups) == []
        ending.join()

    assert time.monotonic() - began < 30


def test_a_group_is_no_larger_than_the_room_that_the_service_has_when_it_is_begun(tmp_path: Path) -> None:
    count = GROUP_SIZE + 10
    layout = layout_with(tmp_path, *(f"{number:03}" for number in range(count)))
    room = iter([1, 3, 2 * GROUP_SIZE, 2 * GROUP_SIZE])
    sizes: list[int] = []

    options = DirectoryOptions(SpoolSettings(settle_seconds=0))
    with directory_transport(layout, options, ignore_events, set()) as transport:
        transport.bound_groups(lambda: next(room))
        for group in transport.submissions(stop := Event()):
            sizes.append(len(group))
            assert len(list(layout.input.glob("*.jpg"))) == count - sum(sizes)
            if len(sizes) == 3:
                stop.set()

    assert sizes == [1, 3, GROUP_SIZE]
