"""Jobs that come over HTTP, and are done by any `sampoll run` on the same directories."""

import uuid
from collections.abc import Mapping
from hashlib import sha256
from threading import Lock
from typing import Any

import orjson

from sampoll.app.assembly import decoding_options
from sampoll.app.directories import layout_of
from sampoll.app.status import status_of_input
from sampoll.config.settings import Settings
from sampoll.core.errors import translated_os_errors
from sampoll.core.names import RECORD_SUFFIX, result_path
from sampoll.files.files import read_if_regular
from sampoll.formats.opex_record import read_record
from sampoll.inputs.decode import inspect_image
from sampoll.inputs.image_files import SUFFIXES, suffix_of
from sampoll.inputs.usable_prompts import usable_prompts
from sampoll.spool.drop import Found, Place, drop, find
from sampoll.transports.http.jobs import JobState

RUN = "run"


class JobTree:
    """The input and the output of the settings. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Raises SampollError if the directories cannot be used."""
        self._settings = settings
        self._layout = layout_of(settings.spool)
        self._decoding = decoding_options(settings)
        self._lock = Lock()

    def put(self, image: bytes, prompt: bytes, key: str | None) -> tuple[str, bool]:
        """The id of the job of this image and prompt, which is on disk afterwards, and whether it is new.
        BadImage or BadPrompt for what no run would do. Two calls with the same `key` make one job."""
        usable_prompts(prompt, "prompt", self._decoding)
        inspect_image(image, "image", self._decoding.limits.max_pixels, self._decoding.exif)
        job_id = uuid.uuid4().hex if key is None else sha256(b"key\0" + key.encode()).hexdigest()[:32]
        with self._lock:
            if key is not None and self._find(job_id) is not None:
                return job_id, False
            drop(self._layout, job_id, suffix_of(image), image, prompt)
        return job_id, True

    def state(self, job_id: str) -> JobState | None:
        """What has become of a job; None if there is none of this id."""
        found = self._find(job_id)
        if found is None:
            return None
        error = orjson.loads(found.document)["error"] if found.place is Place.FAILED else None
        files = _files(found, job_id) if found.place is Place.DONE else ()
        return JobState(job_id, found.place.value, files, error)

    def file(self, job_id: str, name: str) -> bytes | None:
        """A file of a result, by its name in `state`."""
        found = self._find(job_id)
        if found is None or found.place is not Place.DONE or name not in _files(found, job_id):
            return None
        with translated_os_errors("read from", self._layout.output):
            return read_if_regular(self._layout.output / name)

    def runs(self) -> int:
        """How many runs work on the input."""
        status = status_of_input(self._settings.spool, self._layout.input)
        return sum(_is_run(service) for service in status.services)

    def _find(self, job_id: str) -> Found | None:
        return find(self._layout, job_id, SUFFIXES)


def _is_run(service: Mapping[str, Any]) -> bool:
    return str(service.get("service", RUN)) == RUN


def _files(found: Found, name: str) -> tuple[str, ...]:
    """The paths of the files of a result, its record last."""
    summary = read_record(found.document, name)
    suffixes = () if summary is None else summary.suffixes
    return tuple(result_path(name, suffix) for suffix in (*suffixes, RECORD_SUFFIX))
