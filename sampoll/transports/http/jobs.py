"""Jobs over HTTP: pairs for the runs on a watched folder, what has become of them, and their results."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sampoll.core.errors import BadRequest
from sampoll.core.filenames import split_name
from sampoll.transports.http.exchange import Exchange
from sampoll.transports.http.refusals import REQUEST_ID, Refusal
from sampoll.transports.http.request import Question

JOBS = "/v1/jobs"
KEY = "Idempotency-Key"
MAX_KEY_CHARACTERS = 255
NO_RUN = "no `sampoll run` works on this input: the job waits until one is started"
_JOB_ID = re.compile(r"[0-9a-f]{32}")
_KINDS = {".json": "application/json", ".png": "image/png", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class JobState:
    """`state` is waiting, claimed, deferred, failed or done; `files` are the names of the files of one
    that is done, and `error` is what the report of one that has failed says."""

    id: str
    state: str
    files: Sequence[str] = ()
    error: Mapping[str, Any] | None = None


class Jobs(Protocol):
    """Where jobs are put, and looked for."""

    def put(self, image: bytes, prompt: bytes, key: str | None) -> tuple[str, bool]:
        """The id of a job that is durably there, and whether it is new: one `key` makes one job."""

    def state(self, job_id: str) -> JobState | None: ...

    def file(self, job_id: str, name: str) -> bytes | None: ...

    def runs(self) -> int:
        """How many processes will do jobs."""


async def put_job(jobs: Jobs, question: Question, exchange: Exchange) -> Response:
    """The answer to POST /v1/jobs: 202, or 200 if the key was used before."""
    if not question.image:
        raise BadRequest("is needed for a job: its digest is not enough", field="image")
    key = exchange.request.headers.get(KEY.lower())
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise BadRequest(f"must have 1 to {MAX_KEY_CHARACTERS} characters", field=KEY)
    job_id, is_new = await asyncio.to_thread(jobs.put, question.image, question.prompt, key)
    document = await asyncio.to_thread(_document, jobs, job_id)
    headers = {REQUEST_ID: exchange.request_id, "Location": f"{JOBS}/{job_id}"}
    return Response(orjson.dumps(document), 202 if is_new else 200, headers, "application/json")


async def show_job(jobs: Jobs, exchange: Exchange) -> Response:
    """The answer to GET /v1/jobs/ID."""
    document = await asyncio.to_thread(_document, jobs, _id_in(exchange.request))
    headers = {REQUEST_ID: exchange.request_id, "Cache-Control": "no-store"}
    return Response(orjson.dumps(document), 200, headers, "application/json")


async def show_file(jobs: Jobs, exchange: Exchange) -> Response:
    """The answer to GET /v1/jobs/ID/files/NAME."""
    name = exchange.request.path_params["name"]
    content = await asyncio.to_thread(jobs.file, _id_in(exchange.request), name)
    if content is None:
        raise _unknown("there is no such file of a job that is done")
    kind = _KINDS.get(split_name(name)[1], "application/octet-stream")
    return Response(
        content, 200, {REQUEST_ID: exchange.request_id, "X-Content-Type-Options": "nosniff"}, kind
    )


def _id_in(request: Request) -> str:
    job_id: str = request.path_params["id"]
    if not _JOB_ID.fullmatch(job_id):
        raise _unknown("there is no such job")
    return job_id


def _document(jobs: Jobs, job_id: str) -> dict[str, Any]:
    job = jobs.state(job_id)
    if job is None:
        raise _unknown("there is no such job, or its result was moved")
    address = f"{JOBS}/{job_id}"
    document: dict[str, Any] = {"id": job_id, "state": job.state, "address": address}
    if job.state == "done":
        return {**document, "files": {name: f"{address}/files/{name}" for name in job.files}}
    if job.error is not None:
        return {**document, "error": {key: job.error.get(key) for key in ("code", "message")}}
    runs = jobs.runs()
    return {**document, "runs": runs, **({} if runs else {"advice": NO_RUN})}


def _unknown(message: str) -> Refusal:
    return Refusal(404, message, code="job-unknown")
