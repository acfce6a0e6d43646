import logging
from pathlib import Path
from threading import Event

import pytest
from watchdog.observers.api import BaseObserver

from sampoll.files.mounts import filesystem_of
from sampoll.files.watch import Overflows, Watch, watches_natively

DEADLINE = 20

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /data rw,relatime shared:12 - nfs4 server:/export rw,vers=4.2
31 30 0:27 / /data/local\040disk rw - xfs /dev/vdb rw
32 22 0:28 / /database rw - cifs //server/share rw
33 32 0:29 / /database rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/srv/in", "ext4"),
        ("/data", "nfs4"),
        ("/data/in", "nfs4"),
        ("/data/local disk/in", "xfs"),
        ("/database/in", "tmpfs"),
        ("/datas", "ext4"),
    ],
)
def test_the_filesystem_of_a_directory_is_that_of_the_nearest_mount(directory: str, kind: str) -> None:
    assert filesystem_of(directory, MOUNTS) == kind


def test_without_mounts_the_filesystem_is_unknown() -> None:
    assert filesystem_of("/a", "") == ""


def test_the_mode_decides_unless_it_is_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampoll.files.watch.filesystem_of", lambda *_: "nfs4")

    assert watches_natively(tmp_path, "native")
    assert not watches_natively(tmp_path, "polling")
    assert not watches_natively(tmp_path, "auto")
    monkeypatch.setattr("sampoll.files.watch.filesystem_of", lambda *_: "ext4")
    assert watches_natively(tmp_path, "auto")


def observer_of(watch: Watch) -> BaseObserver:
    assert watch._observer is not None
    return watch._observer


def stop_the_observer(watch: Watch) -> None:
    observer_of(watch).stop()
    observer_of(watch).join()


def stop_the_emitter_only(watch: Watch) -> None:
    [emitter] = observer_of(watch).emitters
    emitter.stop()
    emitter.join()
    assert observer_of(watch).is_alive()


@pytest.mark.parametrize("fault", [stop_the_observer, stop_the_emitter_only])
def test_a_watch_without_events_is_restarted_and_gets_events_again(tmp_path: Path, fault: object) -> None:
    heard = Event()
    watch = Watch(tmp_path, heard.set, recursive=False)
    fault(watch)  # type: ignore[operator]
    (tmp_path / "a").touch()
    assert not heard.wait(0.2)

    watch.restart_if_dead()
    (tmp_path / "b").touch()

    assert heard.wait(DEADLINE)
    watch.close()


def test_a_watch_that_works_is_not_restarted(tmp_path: Path) -> None:
    watch = Watch(tmp_path, lambda: None, recursive=False)
    observer = observer_of(watch)

    watch.restart_if_dead()

    assert observer_of(watch) is observer
    watch.close()


def test_if_the_system_refuses_a_watch_there_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: BaseObserver) -> None:
        raise OSError("inotify instance limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.start", refuse)
    with caplog.at_level(logging.WARNING):
        watch = Watch(tmp_path, lambda: None, recursive=False)
        watch.restart_if_dead()
        watch.restart_if_dead()
        watch.close()

    assert caplog.text.count("inotify instance limit reached") == 1


def test_reading_files_triggers_no_scan(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    heard = Event()
    watch = Watch(tmp_path, heard.set, recursive=False)

    (tmp_path / "a").read_text()
    list(tmp_path.iterdir())

    assert not heard.wait(0.3)
    watch.close()


def test_dropped_events_are_reported_to_the_listener_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("watchdog.observers.inotify_c")
    told: list[str] = []
    with Overflows(lambda: told.append("overflow")).listening():
        logger.warning("Inotify queue overflowed; filesystem events were lost")
        logger.warning("something else")
        logger.debug("overflow of words")
    logger.warning("Inotify queue overflowed again")

    assert told == ["overflow"]
    assert "were lost" not in caplog.text
