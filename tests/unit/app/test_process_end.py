import weakref
from threading import Event

import pytest

from sampoll.app import process_end


class Model:
    pass


@pytest.fixture(autouse=True)
def _a_process_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_end, "_keeps", Event())
    monkeypatch.setattr(process_end, "_kept", [])


def is_there_after_its_last_use() -> bool:
    model = Model()
    seen = weakref.ref(model)
    assert process_end.kept(model) is model
    del model
    return seen() is not None


def test_a_program_that_goes_on_gets_the_memory_of_its_models_back() -> None:
    assert not is_there_after_its_last_use()


def test_a_process_that_leaves_its_memory_to_the_system_keeps_its_models_until_then() -> None:
    process_end.keep_until_the_end()

    assert is_there_after_its_last_use()
