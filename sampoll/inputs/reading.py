"""Reads the files of a pair; what goes wrong becomes an error of the pair."""

import errno
from collections.abc import Callable

from sampoll.core.errors import BadImage, BadPrompt, OutOfMemory, UnreadableInput


def read_part(
    read: Callable[[], bytes], name: str, flag: str, refusal: type[BadImage] | type[BadPrompt]
) -> bytes:
    """What `read` returns: the content of a file, which errors call `name`. `refusal` if it is larger than
    `flag` allows, a TransientJobError if reading fails."""
    try:
        return read()
    except MemoryError as error:
        raise OutOfMemory("not enough memory to read it; it is tried again later", file=name) from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise refusal(f"{error.strerror} ({flag})", file=name) from error
        raise UnreadableInput(f"cannot be read: {error.strerror or error}", file=name) from error
