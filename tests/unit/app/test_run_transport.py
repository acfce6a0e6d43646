import json
from threading import Event

import pytest
from support.folders import BOX
from support.images import encoded, image_of
from support.one_shot import OneShot

import sampoll
from sampoll.core.errors import UsageError
from sampoll.transports.memory import submission


def test_a_custom_transport_gets_results_in_every_format() -> None:
    transport = OneShot(
        [
            submission("a", encoded(image_of(), "JPEG"), json.dumps(BOX).encode()),
            submission("bad", b"no image", json.dumps(BOX).encode()),
        ]
    )

    sampoll.run_transport(transport, model="support.fakes:boxes", format="png8,labelme")

    assert set(transport.delivered["a"]) == {"png8/.png", "labelme/.json", ".json"}
    assert isinstance(transport.rejected["bad"], sampoll.BadImage)


def test_after_stop_run_transport_ends_and_hands_back_the_other_jobs() -> None:
    stop = Event()
    stop.set()
    waiting = [submission("a", b"", b"{}")]
    transport = OneShot(list(waiting))

    sampoll.run_transport(transport, stop=stop, model="support.fakes:boxes")

    assert transport.waiting == waiting


def test_unknown_settings_and_bad_values_are_refused() -> None:
    with pytest.raises(UsageError, match="modle is no setting of sampoll; did you mean model"):
        sampoll.run_transport(OneShot([]), modle="grabcut")
    with pytest.raises(UsageError, match="max-pixels"):
        sampoll.run_transport(OneShot([]), model="grabcut", max_pixels=0)


def test_every_name_that_the_package_exports_exists() -> None:
    assert {name for name in sampoll.__all__ if not hasattr(sampoll, name)} == set()
    assert dir(sampoll) == sorted(sampoll.__all__)
