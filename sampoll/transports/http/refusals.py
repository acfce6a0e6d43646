"""What a client gets instead of a result: a status, and JSON with the code of the error."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from sampoll.core.errors import (
    AmbiguousPair,
    BadImage,
    BadPrompt,
    BadRequest,
    DraftChanged,
    ImageUnknown,
    JobError,
    OutputExists,
    Overloaded,
    SampollError,
    Stopped,
    TransientJobError,
)

RETRY_SECONDS = 1
REQUEST_ID = "X-Request-ID"
_STATUS: Mapping[type[JobError], int] = {
    BadRequest: 400,
    ImageUnknown: 404,
    BadImage: 422,
    BadPrompt: 422,
    AmbiguousPair: 409,
    DraftChanged: 409,
    OutputExists: 409,
    Overloaded: 503,
    Stopped: 503,
    TransientJobError: 503,
}
UNAVAILABLE = 503


class Refusal(Exception):
    """A request that is answered without the model; `headers` are added to the answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = BadRequest.code,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def refusal_of(error: SampollError) -> Refusal:
    """The refusal that a client gets for an error of its job, or of the service."""
    if not isinstance(error, JobError):
        return Refusal(UNAVAILABLE, str(error), code=Stopped.code, headers=_LATER)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return Refusal(status, str(error), code=error.code, headers=_LATER if status == UNAVAILABLE else None)


_LATER = {"Retry-After": str(RETRY_SECONDS)}


def later(message: str) -> Refusal:
    """For requests that can succeed if they are sent again."""
    return refusal_of(Overloaded(message))


def response_to(refusal: Refusal, request_id: str) -> Response:
    document = {"code": refusal.code, "message": str(refusal), "request_id": request_id}
    headers = {REQUEST_ID: request_id, "Cache-Control": "no-store", **refusal.headers}
    return Response(orjson.dumps(document), refusal.status, headers, "application/json")
