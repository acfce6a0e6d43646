"""The directory transport, where only a made-up error shows what it does."""

import errno
import os
from pathlib import Path
from threading import Event

import pytest

from sampoll.config.settings import SpoolSettings
from sampoll.core.errors import InputUnavailable, SampollError, StorageTrouble
from sampoll.core.events import ignore_events
from sampoll.spool.layout import Layout
from sampoll.spool.spool import Spool
from sampoll.transports.directory.transport import DirectoryOptions, directory_transport


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
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    layout.input.mkdir()
    layout.output.mkdir()
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=0.1, give_up_seconds=0))

    def fail(_: Spool) -> None:
        raise OSError(number, os.strerror(number))

    with directory_transport(layout, options, ignore_events, set()) as transport:
        monkeypatch.setattr(Spool, "sweep", fail)
        with pytest.raises(expected, match=r"/in"):
            list(transport.submissions(Event()))
