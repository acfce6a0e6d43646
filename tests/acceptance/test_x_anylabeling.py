"""The real process as a remote server of X-AnyLabeling, asked as its client does it."""

import base64
from pathlib import Path
from typing import Any

import pytest
import requests
from support.http_serving import IMAGE, TOKEN, serving_http


class Client:
    """As anylabeling/services/auto_labeling/remote_server.py of X-AnyLabeling 4.2.1, and what becomes of the
    user's shapes."""

    def __init__(self, server_url: str, api_key: str) -> None:
        self.server_url = server_url
        self.headers = {"Content-Type": "application/json", "Token": api_key}
        self.replace = True
        self.model: str | None = None
        self.shapes: list[Any] = ["a shape of the user"]

    def available_models(self) -> dict[str, Any]:
        answer = requests.get(url=f"{self.server_url}/v1/models", headers=self.headers, timeout=30)
        answer.raise_for_status()
        models: dict[str, Any] = answer.json().get("data", {})
        return models

    def predict_shapes(self, image: bytes, marks: list[Any]) -> None:
        try:
            new, replace = self._asked(image, marks)
        except Exception:  # noqa: BLE001  as the program does it
            new, replace = [], self.replace
        self.shapes = new if replace else [*self.shapes, *new]

    def _asked(self, image: bytes, marks: list[Any]) -> tuple[list[Any], bool]:
        data_url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
        params = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001, "marks": marks}
        answer = requests.post(
            url=f"{self.server_url}/v1/predict",
            json={"model": self.model, "image": data_url, "params": params},
            headers=self.headers,
            timeout=180,
        )
        answer.raise_for_status()
        data = answer.json().get("data", {})
        new = [(shape["label"], shape["shape_type"], shape["points"]) for shape in data.get("shapes", [])]
        replace = data.get("replace")
        return new, self.replace if replace is None else replace


def test_marks_become_shapes_and_errors_cost_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    box = {"type": "rectangle", "data": [4, 4, 20, 16], "label": 1}
    point = {"type": "point", "data": [5, 5], "label": 1}
    with serving_http(tmp_path, "--http-token-file", tmp_path / "token") as (_, http):
        url = f"{http.base_url}/x-anylabeling"
        client = Client(url, TOKEN)
        [client.model] = client.available_models()

        client.predict_shapes(IMAGE, [box, point])
        corners = [[4.0, 4.0], [4.0, 15.0], [19.0, 15.0], [19.0, 4.0], [4.0, 4.0]]
        assert client.shapes == ["a shape of the user", ("AUTOLABEL_OBJECT", "polygon", corners)]
        for image, marks in ((b"no image", [box]), (IMAGE, [{"type": "point", "data": []}]), (IMAGE, [])):
            client.predict_shapes(image, marks)
        client.headers["Token"] = "wrong"
        client.predict_shapes(IMAGE, [box])
        assert len(client.shapes) == 2
        with pytest.raises(requests.HTTPError, match="401"):
            client.available_models()

    log = (tmp_path / "log").read_text()
    assert log.count("X-AnyLabeling: ") == 3
    assert TOKEN not in log
