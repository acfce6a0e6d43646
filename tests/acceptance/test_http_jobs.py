"""Jobs over HTTP: pairs that are dropped into a watched folder, and done by a run there."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.folders import BOX, Folders
from support.http_serving import FORM, IMAGE, PROMPT, served
from support.images import encoded, image_of
from support.process import running_sampoll, sampoll, until

from sampoll.files import files
from sampoll.spool import drop


@pytest.fixture
def client(folders: Folders) -> Iterator[httpx.Client]:
    with served(input=folders.input, output=folders.output) as client:
        yield client


def put(client: httpx.Client, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/jobs", **{"files": FORM, "data": PROMPT, "headers": headers, **more})


def run(folders: Folders) -> None:
    sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--give-up", 0)


def test_a_job_is_done_by_any_run_and_its_files_can_be_had(client: httpx.Client, folders: Folders) -> None:
    answer = put(client)

    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["runs"]) == ("waiting", 0)
    assert "no `sampoll run` works on this input" in job["advice"]
    assert answer.headers["Location"] == job["address"]
    run(folders)
    done = client.get(job["address"]).json()
    assert done["state"] == "done"
    names = [f"{job['id']}.png", f"{job['id']}.json"]
    assert list(done["files"]) == names
    mask, record = (client.get(done["files"][name]) for name in names)
    assert mask.headers["Content-Type"] == "image/png"
    assert mask.content == (folders.output / names[0]).read_bytes()
    assert record.json()["meta"]["image_sha256"] == hashlib.sha256(IMAGE).hexdigest()


def test_a_run_that_is_alive_is_counted_and_claims_the_job(
    client: httpx.Client, folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    flags = (*folders.flags, "--continuous", "--model", "support.fakes:waiting")
    poison = {"image": ("a.png", encoded(image_of(height=13)))}
    with running_sampoll("run", *flags):
        until((folders.input / "done").exists, "the run")
        job = put(client, files=poison).json()
        assert (job["runs"], "advice" in job) == (1, False)
        until(started.exists, "the job to be begun")
        assert client.get(job["address"]).json()["state"] == "claimed"
        go.touch()
        until(lambda: client.get(job["address"]).json()["state"] == "done", "the result")


def test_a_job_that_fails_says_why(client: httpx.Client, folders: Folders) -> None:
    outside = {"points": [{"x": 700, "y": 10, "label": 1}]}
    job = put(client, data={"prompt": json.dumps(outside)}).json()
    run(folders)

    failed = client.get(job["address"]).json()

    assert (failed["state"], failed["error"]["code"]) == ("failed", "bad-prompt")
    assert "outside the image" in failed["error"]["message"]


def test_a_key_makes_one_job_whatever_became_of_it(client: httpx.Client, folders: Folders) -> None:
    first = put(client, "photo 1")
    second = put(client, "photo 1")
    other = put(client, "photo 2")
    run(folders)
    third = put(client, "photo 1")

    assert [each.status_code for each in (first, second, other, third)] == [202, 200, 202, 200]
    assert first.json()["id"] == second.json()["id"] == third.json()["id"] != other.json()["id"]
    assert third.json()["state"] == "done"
    assert len(list(folders.output.glob("*.png"))) == 2


def test_half_a_pair_that_a_killed_process_left_is_completed(
    client: httpx.Client, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[Path] = []

    def one_move(source: Path, target: Path) -> bool:
        moves.append(target)
        if len(moves) == 2:
            raise OSError(5, "killed here")
        return files.move_unless_taken(source, target)

    with monkeypatch.context() as context:
        context.setattr(drop, "move_unless_taken", one_move)
        assert put(client, "photo").status_code == 503
    assert [path.suffix for path in folders.input.iterdir()] == [".json"]

    job = put(client, "photo")

    assert (job.status_code, job.json()["state"]) == (202, "waiting")
    assert sorted(path.suffix for path in folders.input.iterdir()) == [".jpg", ".json"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"data": {"prompt": "{}"}}, (422, "bad-prompt")),
        ({"files": {"image": ("a.jpg", b"text")}}, (422, "bad-image")),
        ({"files": {"image_sha256": (None, "0" * 64)}}, (400, "bad-request")),
        ({"headers": {"Idempotency-Key": "x" * 256}}, (400, "bad-request")),
    ],
)
def test_what_no_run_would_do_is_refused_at_once(
    client: httpx.Client, folders: Folders, sent: dict[str, Any], expected: tuple[int, str]
) -> None:
    answer = put(client, **sent)

    assert (answer.status_code, answer.json()["code"]) == expected
    assert list(folders.input.iterdir()) == []


def test_only_jobs_and_their_own_files_are_shown(client: httpx.Client, folders: Folders) -> None:
    (folders.output / "other.json").write_text(json.dumps(BOX))
    (folders.output / "secret.txt").write_text("secret")
    job = put(client).json()
    run(folders)

    for path in (
        "/v1/jobs/other",
        f"/v1/jobs/{'0' * 32}",
        f"{job['address']}/files/secret.txt",
        f"{job['address']}/files/../secret.txt",
        f"{job['address']}/files/%2e%2e%2fout%2fsecret.txt",
        f"{job['address']}/files/",
    ):
        answer = client.get(path)
        assert (answer.status_code, "secret" in answer.text) == (404, False), path


def test_without_directories_there_are_no_jobs() -> None:
    with served() as client:
        assert put(client).status_code == 404
        assert "/v1/jobs" not in client.get("/openapi.json").json()["paths"]
