"""A request while it is answered."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from sampoll.transports.http.body import Share
from sampoll.transports.http.refusals import REQUEST_ID

_OWN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Exchange:
    """`memory` is what its bodies take."""

    request: Request
    request_id: str
    memory: Share


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id that the client has given to its request, if it can be a file name; otherwise a new one."""
    given = headers.get(REQUEST_ID.lower(), "")
    return given if _OWN_ID.fullmatch(given) else uuid.uuid4().hex
