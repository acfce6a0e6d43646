"""`sampoll send --http`: a folder through a service over HTTP, with what runs would have written."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.folders import BOX, drop_pair
from support.http_serving import TOKEN, served
from support.process import sampoll
from support.redis_servers import free_port

from sampoll.core.events import Event, JobDone
from sampoll.monitoring.server import Receive, Scope, Send, serving


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def client(events: list[Event]) -> Iterator[httpx.Client]:
    with served(emit=events.append) as client:
        yield client


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        drop_pair(folder, name)
    return folder


def send(client: httpx.Client, folder: Path, *flags: object, **env: str) -> subprocess.CompletedProcess[str]:
    return sampoll("send", folder, "--http", client.base_url, "-o", folder.parent / "out", *flags, env=env)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_sent_and_what_was_done_is_not_sent_again(
    client: httpx.Client, photographs: Path, events: list[Event]
) -> None:
    out = photographs.parent / "out"
    drop_pair(photographs, "bad", prompt={})

    first = send(client, photographs)
    (photographs / "bad.json").write_text(json.dumps(BOX))
    (out / "a.png").unlink()
    second = send(client, photographs)
    third = send(client, photographs)

    assert (first.returncode, first.stdout) == (1, "3 done, 1 failed\n")
    assert "bad: prompt: needs" in first.stderr
    assert (second.returncode, second.stdout) == (0, "2 done, 0 failed, 2 known\n")
    assert (third.returncode, third.stdout) == (0, "0 done, 0 failed, 4 known\n")
    assert sum(isinstance(event, JobDone) for event in events) == 5
    whole = [f"{name}{suffix}" for name in ("a~2", "b", "bad", "sub/c") for suffix in (".json", ".png")]
    assert files_below(out) == ["a.json", *whole]
    record = json.loads((out / "sub" / "c.json").read_text())
    assert record["id"] == "sub/c"
    assert record["meta"]["image_path"] == "sub/c.jpg"


def test_again_sends_what_was_done(client: httpx.Client, photographs: Path) -> None:
    send(client, photographs)

    assert send(client, photographs, "--again").stdout == "3 done, 0 failed\n"


def test_the_token_is_needed_and_read_from_a_variable_or_a_file(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with served(http_token=TOKEN) as client:
        without = send(client, photographs)
        assert without.returncode == 77
        assert "SAMPOLL_HTTP_TOKEN, or --http-token-file, has the token" in without.stderr
        assert send(client, photographs, SAMPOLL_HTTP_TOKEN=TOKEN).stdout == "3 done, 0 failed\n"
        again = send(client, photographs, "--again", "--http-token-file", tmp_path / "token")
        assert again.stdout == "3 done, 0 failed\n"


def test_a_service_that_is_away_and_an_address_that_is_none_end_it(photographs: Path) -> None:
    away = sampoll("send", photographs, "--http", f"http://u:secret@127.0.0.1:{free_port()}")
    assert away.returncode == 69
    assert "http://***@127.0.0.1:" in away.stderr
    assert "cannot be reached: start `sampoll serve http` there" in away.stderr
    for wrong in ("gpu1:8000", "ftp://gpu1", "http://a b"):
        refused = sampoll("send", photographs, "--http", wrong)
        assert (refused.returncode, "must be an address" in refused.stderr) == (2, True)
    both = sampoll("send", photographs, "--http", "http://gpu1", "--stream", "sam")
    assert both.returncode == 2


def test_a_service_that_stays_busy_is_asked_until_the_timeout(photographs: Path) -> None:
    with served(loads=True) as client:
        busy = send(client, photographs, "--timeout", 1)
    assert busy.returncode == 1
    assert "a: the model is being loaded: send it again later" in busy.stderr


def test_what_is_no_service_of_sampoll_is_named(photographs: Path) -> None:
    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    with serving("127.0.0.1", 0, other) as url:
        sent = sampoll("send", photographs, "--http", url)
    assert sent.returncode == 1
    assert "a: the answer is not that of a service of sampoll" in sent.stderr
