"""The images of tasks, fetched from one Label Studio and from nowhere else."""

import asyncio
import base64
import binascii
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import orjson
import requests

from sampoll.config.secret_file import secret_of
from sampoll.config.settings.label_studio import LabelStudioSettings
from sampoll.core.addresses import split_login
from sampoll.core.errors import BadImage, ConfigurationError, TransientJobError
from sampoll.inputs.prompt_errors import cut
from sampoll.inputs.sent import check_image_size
from sampoll.transports.http.body import Share

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
FETCH_SECONDS = 30.0
"""How long an image may take, its login included; Label Studio waits 100 s for all images of a request."""
FETCHES = 16
"""How many images are fetched at a time, for all requests together."""
PIECE_BYTES = 256 * 1024
CACHE_BYTES = 128 * 2**20
"""What is kept of images, so that each is fetched once while a user works on it."""
CACHE_SECONDS = 600.0
ACCESS_SECONDS = 120.0
"""How long an access token is used; Label Studio makes them for 5 minutes."""
MAX_TOKEN_BYTES = 64 * 1024
IN_PATH = "/%:@!$&',;=+*()~"
"""What a path may have without being encoded; what is encoded already stays so."""
STORAGES = ("s3", "gs", "azure-blob")
UPLOADS = "/data/upload/"
NOT_SET = "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY for sampoll: no image can be fetched without them"


@dataclass(frozen=True)
class Place:
    """A Label Studio: its address without a path at the end, and the access token of a user, "" if none is
    needed."""

    url: str
    api_key: str

    @property
    def origin(self) -> tuple[str, str | None, int]:
        return _origin(self.url)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


def place_of(settings: LabelStudioSettings) -> Place | None:
    """The Label Studio of the settings; None if they name none."""
    key = secret_of("label-studio-api-key", settings.api_key, settings.api_key_file)
    if settings.url is None:
        return None
    url, login = split_login(settings.url.get_secret_value())
    if login is not None:
        raise ConfigurationError(
            "label-studio-url: must not have a login: give the access token of a user as LABEL_STUDIO_API_KEY"
        )
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError("label-studio-api-key: must be ASCII without spaces; its value is not shown")
    return Place(url.rstrip("/"), key or "")


def target_of(address: object, task_id: str, place: Place) -> str:
    """Where the image at this address of a task is fetched. BadImage for one that is not in `place`.

    Of an address, only path and query are used, so that it cannot lead elsewhere.
    """
    if not isinstance(address, str) or not address:
        raise BadImage("must be the address of an image in the data of the task")
    try:
        parts = urlsplit(address)
        origin = _origin(address) if parts.scheme in ("http", "https") else None
    except ValueError as error:
        raise BadImage(f"{cut(address)}: is no address: {error}") from error
    if parts.scheme in STORAGES:
        uri = base64.urlsafe_b64encode(address.encode()).decode()
        return f"{place.url}/tasks/{quote(task_id, safe='')}/presign/?fileuri={uri}"
    if origin is None and (parts.scheme or parts.netloc or not address.startswith("/")):
        raise BadImage(
            f"{cut(address.partition(',')[0])}: only images that Label Studio has itself are fetched: upload "
            "them, or add their storage to the project"
        )
    if origin is not None and (origin != place.origin or parts.username is not None):
        raise BadImage(
            f"{cut(address)}: only images of {place.url} (LABEL_STUDIO_URL) are fetched, and this is on "
            f"{origin[1]}:{origin[2]}"
        )
    path = parts.path.removeprefix(place.path) if parts.path.startswith(f"{place.path}/") else parts.path
    query = f"?{quote(parts.query, safe=f'{IN_PATH}?')}" if parts.query else ""
    return f"{place.url}/{quote(path.lstrip('/'), safe=IN_PATH)}{query}"


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(frozen=True)
class _Kept:
    content: bytes
    until: float


class LabelStudioImages:
    """Images by the address that a task has for them. For one event loop."""

    def __init__(self, place: Place, max_bytes: int) -> None:
        self.place = place
        self._max_bytes = max_bytes
        self._login = _Login(place)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._threads = ThreadPoolExecutor(FETCHES, "label-studio")

    async def image(self, address: object, task_id: str, memory: Share) -> bytes:
        """The content of an image file, whose bytes are taken in `memory`. BadImage if it cannot be had from
        there, a TransientJobError if it may come later."""
        target = target_of(address, task_id, self.place)
        kept = self._kept.get(target)
        if kept is not None and kept.until > time.monotonic():
            self._kept.move_to_end(target)
            memory.take_more(len(kept.content))
            return kept.content
        content = await self._fetched(target, memory)
        self._keep(target, content)
        return content

    async def _fetched(self, target: str, memory: Share) -> bytes:
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + FETCH_SECONDS
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                answer = await loop.run_in_executor(self._threads, self._opened, target, deadline)
                with answer:
                    return await self._read(answer, memory, deadline)
        except TimeoutError:
            raise TransientJobError(
                f"Label Studio has not sent the image within {FETCH_SECONDS:g} s: {_shown(target)}"
            ) from None
        except requests.RequestException as error:
            raise TransientJobError(
                f"Label Studio cannot be reached at {self.place.url} (LABEL_STUDIO_URL): "
                f"{type(error).__name__}"
            ) from error

    async def _read(self, answer: requests.Response, memory: Share, deadline: float) -> bytes:
        length_bytes = _length_of(answer, self._max_bytes)
        memory.take_more(length_bytes)
        content = b""
        try:
            read = partial(_content, answer, self._max_bytes, deadline)
            content = await asyncio.get_running_loop().run_in_executor(self._threads, read)
        finally:
            memory.give_back(length_bytes - len(content))
        return content

    def _opened(self, target: str, deadline: float) -> requests.Response:
        """The answer with the image, not yet read."""
        answer = self._asked(target, deadline)
        if answer.status_code == requests.codes.not_found and (other := self._other_place(target)):
            answer.close()
            answer = self._asked(other, deadline)
        if answer.status_code == requests.codes.ok:
            return answer
        answer.close()
        raise BadImage(f"{_shown(target)}: {_meaning(answer.status_code)}")

    def _asked(self, target: str, deadline: float) -> requests.Response:
        answer = _request("GET", target, deadline, headers=self._login.headers(deadline))
        if answer.status_code == requests.codes.unauthorized and self._login.can_renew:
            answer.close()
            renewed = self._login.headers(deadline, is_refused=True)
            return _request("GET", target, deadline, headers=renewed)
        return answer

    def _other_place(self, target: str) -> str | None:
        """Where an uploaded file is if the uploads of Label Studio are in a bucket."""
        path = target.removeprefix(self.place.url)
        if not path.startswith(UPLOADS):
            return None
        query = urlencode({"filepath": unquote(path.removeprefix("/data/"))})
        return f"{self.place.url}/storage-data/uploaded/?{query}"

    def _keep(self, target: str, content: bytes) -> None:
        if (before := self._kept.pop(target, None)) is not None:
            self._kept_bytes -= len(before.content)
        if len(content) > CACHE_BYTES:
            return
        self._kept[target] = _Kept(content, time.monotonic() + CACHE_SECONDS)
        self._kept_bytes += len(content)
        while self._kept_bytes > CACHE_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.content)


class _Login:
    """The header that a user's access token makes. One that is a JWT gets tokens of some minutes; legacy ones
    are used as they are. Threads may share it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._access: str | None = None
        self._until = 0.0
        self._lock = Lock()
        self.can_renew = _is_jwt(place.api_key)

    def headers(self, deadline: float, *, is_refused: bool = False) -> Mapping[str, str]:
        """`is_refused`: the header before was."""
        if not self.can_renew:
            return {"Authorization": f"Token {self._place.api_key}"} if self._place.api_key else {}
        with self._lock:
            if self._access is None or is_refused or time.monotonic() > self._until:
                self._access = self._renewed(deadline)
                self._until = time.monotonic() + ACCESS_SECONDS
            return {"Authorization": f"Bearer {self._access}"}

    def _renewed(self, deadline: float) -> str:
        target, body = f"{self._place.url}/api/token/refresh/", {"refresh": self._place.api_key}
        with _request("POST", target, deadline, json=body) as reply:
            content = _content(reply, MAX_TOKEN_BYTES, deadline)
        try:
            access = orjson.loads(content)["access"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            access = None
        if reply.status_code != requests.codes.ok or not isinstance(access, str) or not access.isascii():
            raise BadImage(
                f"Label Studio does not take LABEL_STUDIO_API_KEY (status {reply.status_code}): copy an "
                "access token of a user from the account page"
            )
        return access


def _is_jwt(key: str) -> bool:
    head, _, rest = key.partition(".")
    try:
        return rest.count(".") == 1 and "alg" in orjson.loads(
            base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
        )
    except (binascii.Error, orjson.JSONDecodeError, TypeError):
        return False


def _request(method: str, target: str, deadline: float, **more: Any) -> requests.Response:
    """The answer, not yet read; one that leads elsewhere is not followed."""
    with requests.Session() as session:
        session.headers["Accept-Encoding"] = "identity"
        session.auth = _as_it_is
        return session.request(
            method, target, timeout=_seconds_until(deadline), allow_redirects=False, stream=True, **more
        )


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from putting a login of ~/.netrc in the place of ours."""
    return request


def _seconds_until(deadline: float) -> tuple[float, float]:
    left = max(0.1, deadline - time.monotonic())
    return min(CONNECT_SECONDS, left), left


def _length_of(answer: requests.Response, max_bytes: int) -> int:
    """The bytes that an image can take; BadImage if they are too many."""
    text = answer.headers.get("Content-Length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return max_bytes
    check_image_size(int(text), max_bytes)
    return int(text)


def _content(answer: requests.Response, max_bytes: int, deadline: float) -> bytes:
    content = bytearray()
    for piece in answer.iter_content(PIECE_BYTES):
        content += piece
        check_image_size(len(content), max_bytes)
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(content)


def _meaning(status: int) -> str:
    if status in (401, 403):
        return f"Label Studio does not let the user of LABEL_STUDIO_API_KEY have it (status {status})"
    if 300 <= status < 400:
        return (
            f"Label Studio sends it from elsewhere (status {status}), which is not followed: turn off "
            "pre-signed URLs in the settings of the storage, and correct LABEL_STUDIO_URL if it has moved"
        )
    return f"Label Studio does not have it (status {status})"


def _shown(target: str) -> str:
    """A target in messages; the storage address that a query has is shown as the task has it."""
    query = parse_qs(urlsplit(target).query)
    if uris := query.get("fileuri"):
        return cut(base64.urlsafe_b64decode(uris[0]).decode())
    return cut(target)
