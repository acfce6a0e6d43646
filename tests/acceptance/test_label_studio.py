"""The real process as an ML backend of Label Studio, asked as its connector does it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from requests.auth import HTTPBasicAuth
from support.http_serving import TOKEN, serving_http
from support.images import encoded, image_of
from support.label_studio import (
    CONFIG,
    JWT,
    KEY,
    FakeLabelStudio,
    alpha_of,
    label_studio,
    predict_body,
    region,
    task,
)
from support.process import until

SIZE = (24, 32)
DRAWN = region("rectanglelabels", {"x": 12.5, "y": 12.5, "width": 50, "height": 25, "rotation": 0}, SIZE)
TIMEOUTS = {"health": (1, 1), "setup": (1, 3), "predict": (1, 100)}
"""Those of Label Studio, in seconds: to connect, and to wait."""


class Connector:
    """As label_studio/ml/api_connector.py of Label Studio 1.23.2."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "heartex/1.23.2"
        self._auth = HTTPBasicAuth("labeler", password)

    def ask(self, method: str, route: str, body: Any = None) -> Any:
        answer = self._session.request(
            method, f"{self._url}/{route}", json=body, auth=self._auth, timeout=TIMEOUTS[route]
        )
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    with label_studio(**{"cat.jpg": encoded(image_of(*SIZE), "JPEG")}) as studio:
        yield studio


@pytest.mark.parametrize("workers", [(), ("--workers", 2)])
def test_a_project_is_connected_and_prompts_of_a_user_and_of_tasks_become_brushes(
    studio: FakeLabelStudio, workers: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", JWT)
    (tmp_path / "token").write_text(TOKEN)
    expected = np.zeros(SIZE, np.int64)
    expected[3:9, 4:20] = 255
    with serving_http(tmp_path, "--http-token-file", tmp_path / "token", *workers) as (_, client):
        url = f"{client.base_url}/label-studio"
        backend = Connector(url, TOKEN)

        assert backend.ask("GET", "health")["status"] == "UP"
        setup = {"project": "1.1764425334", "schema": CONFIG, "hostname": studio.url, "access_token": "a"}
        assert backend.ask("POST", "setup", setup) == {"model_version": "support.fakes:kept"}
        one = backend.ask("POST", "predict", predict_body([task(7)], [DRAWN]))["results"]
        batch = [task(1), task(2, predictions=[{"id": 1, "result": [DRAWN]}])]
        two = backend.ask("POST", "predict", predict_body(batch))["results"]
        with pytest.raises(requests.HTTPError, match="401 Client Error"):
            Connector(url, "wrong").ask("GET", "health")

    assert two[0] == []
    assert [len(entry["result"]) for entry in (one[0], two[1])] == [1, 1]
    for entry in (one[0], two[1]):
        np.testing.assert_array_equal(alpha_of(entry["result"][0]["value"]["rle"], SIZE), expected)
    assert studio.asked == ["/api/token/refresh/", "/data/upload/1/cat.jpg"]
    log = (tmp_path / "log").read_text()
    assert JWT not in log
    assert TOKEN not in log


def test_health_and_setup_are_answered_in_time_while_the_model_works(
    tmp_path: Path, gate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go = gate
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    poison = (13, 32)
    drawn = region("rectanglelabels", {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0}, poison)
    with (
        label_studio(**{"cat.jpg": encoded(image_of(*poison), "JPEG")}) as studio,
        serving_http(tmp_path, "--label-studio-url", studio.url, model="waiting") as (_, client),
        ThreadPoolExecutor() as threads,
    ):
        backend = Connector(f"{client.base_url}/label-studio", "any")
        asked = threads.submit(backend.ask, "POST", "predict", predict_body([task(1)], [drawn]))
        until(started.exists, "the model to work")
        other = Connector(f"{client.base_url}/label-studio", "any")
        assert other.ask("GET", "health")["status"] == "UP"
        assert other.ask("POST", "setup", {"project": "1.2", "schema": CONFIG})
        go.touch()
        assert asked.result()
