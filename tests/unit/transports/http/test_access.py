"""Who may send requests: tokens, names, and pages of other sites."""

from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from support.http_serving import TOKEN, segment, served

from sampoll.app.keyword_settings import settings_of
from sampoll.core.errors import ConfigurationError, UsageError
from sampoll.monitoring.server import serving
from sampoll.transports.http.access import Access, access_of
from sampoll.transports.http.application import with_callers_checked
from sampoll.transports.http.refusals import Refusal


def test_with_a_token_only_those_who_bring_it_are_served() -> None:
    with served(http_token=TOKEN) as client:
        for wrong in ({}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer x"}):
            answer = segment(client, headers=wrong)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in answer.text
        assert segment(client, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/openapi.json").status_code == 200


def test_every_route_below_v1_needs_the_token(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with served(http_token=TOKEN, input=tmp_path / "in", output=tmp_path / "out") as client:
        described = client.get("/openapi.json").json()["paths"]
        routes = [
            (method, path) for path in described for method in described[path] if path.startswith("/v1/")
        ]
        assert len(routes) == 4
        for method, path in routes:
            assert client.request(method, path).status_code == 401
            assert described[path][method]["security"] == [{"token": []}]


def test_beyond_loopback_a_token_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    for open_bind in ("0.0.0.0:0", "[::]:0", "gpu1:0"):
        with pytest.raises(ConfigurationError, match="can be reached from other machines"):
            access_of(settings_of({"bind": open_bind}).web)
        assert access_of(settings_of({"bind": open_bind, "http_token_file": file}).web).token == TOKEN
    for closed_bind in ("8000", "localhost:0", "[::1]:0", "127.9.9.9:0"):
        assert access_of(settings_of({"bind": closed_bind}).web).token is None


@pytest.mark.parametrize("token", ["short", "x" * 15, "with spaces in it \t", "é" * 20])
def test_a_weak_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError, match="http-token: must have at least 16") as caught:
        access_of(settings_of({"http_token": token}).web)
    assert token not in str(caught.value)


def status_for(client: httpx.Client, **headers: str) -> int:
    return segment(client, headers={name.title(): value for name, value in headers.items()}).status_code


def test_on_loopback_other_names_and_other_pages_are_refused() -> None:
    with served() as client:
        own = client.base_url.netloc.decode()
        port = own.rpartition(":")[2]
        for name in (own, f"localhost:{port}", "LOCALHOST", "[::1]:80"):
            assert status_for(client, host=name) == 200
        for name in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "[::2]",
            "localhost:80@evil.example",
            "[::1]evil.example",
            "localhost, evil.example",
        ):
            assert status_for(client, host=name) == 403
        assert status_for(client, origin=f"http://{own}") == 200
        for origin in ("http://evil.example", "null", f"http://localhost:{port}", "http://127.0.0.1:1"):
            assert status_for(client, origin=origin) == 403


def test_allowed_names_and_pages_are_served() -> None:
    tool = "https://tool.example"
    with served(allowed_hosts="gpu1,Gpu2", allowed_origins=tool) as client:
        assert status_for(client, host="GPU2:8000") == 200
        assert status_for(client, origin=tool) == 200
        assert status_for(client, origin="https://other.example") == 403
        asked = {
            "Origin": tool,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = client.options("/v1/segment", headers=asked)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, tool)
    assert access_of(settings_of({"bind": "0.0.0.0:0", "http_token": TOKEN}).web).hosts == ()


@pytest.mark.parametrize(
    ("header", "values"),
    [(b"host", [b"localhost", b"evil.example"]), (b"origin", [b"http://localhost", b"null"])],
)
def test_of_several_names_or_origins_none_may_be_foreign(header: bytes, values: list[bytes]) -> None:
    for order in (values, values[::-1]):
        headers = {b"host": [b"localhost"], header: order}
        raw = [(name, value) for name, of_name in headers.items() for value in of_name]
        with pytest.raises(Refusal):
            Access(is_loopback=True).check_caller(Headers(raw=raw))


def test_an_origin_with_a_path_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must be origins such as https://tool\.example"):
        settings_of({"allowed_origins": "https://tool.example/page"})


def test_under_a_foreign_name_only_probes_and_metrics_are_answered() -> None:
    checked = with_callers_checked(PlainTextResponse("well"), Access(is_loopback=True))
    with serving("127.0.0.1", 0, checked) as url, httpx.Client(base_url=url) as client:
        for path in ("/", "/status.js", "/pictures/1.jpg", "/docs"):
            assert client.get(path, headers={"Host": "evil.example"}).status_code == 403
            assert client.get(path).text == "well"
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path, headers={"Host": "evil.example"}).text == "well"
