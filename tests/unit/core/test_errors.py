"""Errors as values."""

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sampoll.core.errors import BadImage, BadPrompt, JobError, as_value


class Large:
    """Stands for an image."""


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def failing(image: Any) -> JobError:
    """An error that its own frames have too, as those of a thread pool do."""
    try:
        try:
            raise ValueError(image)
        except ValueError as error:
            raise BadImage("is damaged") from error
    except BadImage as error:
        kept = error
    return kept


@pytest.mark.parametrize(("keep", "is_free"), [(as_value, True), (lambda error: error, False)])
def test_an_error_as_a_value_keeps_nothing_of_where_it_was_raised(keep: Any, is_free: bool) -> None:
    with no_garbage_collection():
        image = Large()
        seen = weakref.ref(image)
        error = keep(failing(image))
        del image
        assert (seen() is None) is is_free
    assert str(error) == "is damaged"


class OfAPlugin(JobError):
    def __init__(self, reason: str, at: int) -> None:
        super().__init__(f"{reason} at {at}", field="prompts[0]")
        self.at = at


@pytest.mark.parametrize("error", [OfAPlugin("odd", at=3), BadPrompt("is odd", file="a", advice="a box")])
def test_an_error_is_the_same_in_another_process_whatever_its_constructor_takes(error: JobError) -> None:
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(same), str(same), vars(same)) == (type(error), str(error), vars(error))
