"""Messages of sampoll as a program should read them: settings have the names that `load` takes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sampoll.app.keyword_settings import keyword_of
from sampoll.config.fields import FLAG, all_settings
from sampoll.core.errors import SampollError, Stopped, reworded
from sampoll.core.names import unicode_name

_COMMAND_OR_FLAG = re.compile(rf"`[^`]*`|{FLAG}( (?=[A-Z]+\b)|(?=:))?")
"""Commands, which keep their flags, and flags outside of them; group 2 is the space before a value such as
FILE, or empty before a colon."""
CLOSED = "the model is closed, or was closed before this was done: load it again"


def in_python(message: str) -> str:
    """A message with the names of settings in Python: (--max-pixels) -> (max_pixels), add --pull -> add
    pull=True, give --checkpoint FILE -> give checkpoint=FILE. Bytes of paths that are not UTF-8 are escaped,
    so that any program can print it."""
    return unicode_name(_COMMAND_OR_FLAG.sub(_keyword, message))


def _keyword(found: re.Match[str]) -> str:
    key = found[1]
    setting = next((each for each in all_settings() if each.key == key), None)
    if setting is None:
        return found[0]
    if found[2] is None and setting.field.annotation is bool:
        return f"{keyword_of(setting)}=True"
    return f"{keyword_of(setting)}=" if found[2] else keyword_of(setting)


@contextmanager
def errors_in_python() -> Iterator[None]:
    """Errors that are raised inside have messages for a program."""
    try:
        yield
    except Stopped as error:
        raise Stopped(CLOSED).with_traceback(error.__traceback__) from None
    except SampollError as error:
        raise reworded(error, in_python).with_traceback(error.__traceback__) from error.__cause__
