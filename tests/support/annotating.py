"""The annotation page, served in the process of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from sampoll.app.annotate.serving import Page, page_of
from sampoll.app.assembly import named
from sampoll.app.keyword_settings import settings_of
from support.http_serving import client_of
from support.process import until

TOKEN = "a-token-of-tests-0123456789"
ROOT = "/annotate/v1"


@dataclass(frozen=True)
class Served:
    """A page, its URL, and a client that brings the token."""

    page: Page
    url: str
    client: httpx.Client

    @property
    def address(self) -> str:
        """What the command opens."""
        return f"{self.url}/#token={TOKEN}"

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer that must be given."""
        return self.client.get(f"{ROOT}/{path}", params=query).raise_for_status().json()

    def send(self, method: str, path: str, body: object = None) -> httpx.Response:
        return self.client.request(method, f"{ROOT}/{path}", json=body)


@contextmanager
def annotating(
    folder: Path, *, model: str = "support.fakes:kept", loads: bool = False, **settings: Any
) -> Iterator[Served]:
    """The page of a folder; with `loads`, its model is never loaded."""
    chosen = named(settings_of({"model": model, "bind": "127.0.0.1:0", **settings}))
    with page_of(chosen, folder, TOKEN) as (page, url), client_of(url) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        thread = Thread(target=page.model.run)
        if not loads:
            thread.start()
            until(lambda: page.engine is not None, "the model")
        until(lambda: client.get(f"{ROOT}/images").json()["is_complete"], "the list")
        yield Served(page, url, client)
        page.model.stop()
        if not loads:
            thread.join()


def draft_of(opened: Any, prompts: object) -> dict[str, Any]:
    """What the page sends to save or publish prompts for an image that it has opened."""
    return {key: opened[key] for key in ("revision", "image_sha256", "file_sha256")} | {"prompts": prompts}
