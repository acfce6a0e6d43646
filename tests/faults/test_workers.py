"""`sampoll run --workers`: whatever ends, parent or worker, no pair is lost and no process stays."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from jsonschema import Draft202012Validator
from support.folders import Folders, drop_pair
from support.http_serving import segment, serving_http
from support.images import encoded, image_of
from support.process import REPOSITORY, children_of, is_running, running_sampoll, sampoll, until
from support.redis_servers import Server
from support.stream_working import assert_each_is_done_once, queue, worker
from support.terminal import on_a_terminal

BOXES = ("--model", "support.fakes:boxes")
SLOW = ("--model", "support.fakes:slow")
TWO = ("--workers", 2)
SCHEMA = json.loads((REPOSITORY / "docs" / "log.schema.json").read_text())
PAIRS = [f"p{number}" for number in range(8)]


@pytest.fixture
def pairs(folders: Folders) -> Folders:
    for name in PAIRS:
        drop_pair(folders.input, name)
    return folders


def test_what_two_workers_do_is_counted_once_and_data_sets_have_all_of_it(
    pairs: Folders, tmp_path: Path
) -> None:
    report, metrics = tmp_path / "report.jsonl", tmp_path / "sampoll.prom"
    (pairs.input / "alone.jpg").touch()
    flags = ("--report", report, "--metrics-file", metrics, "--exclusive", "--format", "png,coco")
    seen = on_a_terminal("run", *pairs.flags, *TWO, *BOXES, *flags)
    assert seen.exit_code == 0, seen.text
    assert [("8/8" in line) for line in seen.lines if "pair/s" in line] == [True]
    assert any(line.startswith("8 done, 0 failed, 1 half pair left in ") for line in seen.lines)
    assert seen.text.count("alone.jpg") == 1, seen.lines
    assert sorted(json.loads(line)["name"] for line in report.read_text().splitlines()) == PAIRS
    done = re.findall(r'sampoll_jobs_total{outcome="done",worker="\d"} (\d)', metrics.read_text())
    assert sum(map(int, done)) == 8
    coco = json.loads((pairs.output / "coco" / "instances.json").read_text())
    assert sorted(image["file_name"] for image in coco["images"]) == [f"{name}.jpg" for name in PAIRS]
    assert len(pairs.results) == 16 + 1
    assert pairs.waiting == ["alone.jpg"]


def test_the_limit_is_that_of_all_workers(pairs: Folders) -> None:
    ran = sampoll("run", *pairs.flags, *TWO, *BOXES, "--limit", 3)
    assert ran.returncode == 0, ran.stderr
    assert "3 done" in ran.stdout


def test_an_error_that_all_workers_would_have_is_that_of_the_command(pairs: Folders) -> None:
    ran = sampoll("run", *pairs.flags, *TWO, "--model", "vit_b", "--checkpoint", "missing.pth")
    assert ran.returncode == 69
    assert "missing.pth" in ran.stderr
    assert len(pairs.waiting) == 16


def test_a_command_whose_workers_all_ended_with_an_error_ends_with_it(pairs: Folders) -> None:
    for name in ("poison", "venom"):
        drop_pair(pairs.input, name, image=image_of(13, 32))
    service = ("--workers", 1, "--continuous")
    ran = sampoll("run", *pairs.flags, *service, "--model", "support.fakes:gone")
    assert ran.returncode == 69, ran.stderr
    assert pairs.failed == []


def test_a_worker_that_has_lost_its_device_is_started_again(pairs: Folders, gate: tuple[Path, Path]) -> None:
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    ran = sampoll("run", *pairs.flags, *TWO, "--model", "support.fakes:lost_once")
    assert ran.returncode == 0, ran.stderr
    assert "has ended with exit code 71; it is started again" in ran.stderr
    assert len(pairs.results) == 18


def test_a_killed_worker_is_started_again_and_no_pair_is_lost(pairs: Folders) -> None:
    with running_sampoll("run", *pairs.flags, *TWO, *SLOW) as parent:
        until(lambda: pairs.results, "the first result")
        os.kill(children_of(parent.pid)[0], signal.SIGKILL)
        assert parent.wait(60) == 0
    assert len(pairs.results) == 16
    assert pairs.failed == []


def test_a_pair_that_kills_its_process_fails_alone(pairs: Folders) -> None:
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    ran = sampoll("run", *pairs.flags, *TWO, "--model", "support.fakes:killing", "--max-attempts", 1)
    assert ran.returncode == 1, ran.stderr
    assert pairs.failed == ["poison.error.json", "poison.jpg", "poison.json"]
    assert len(pairs.results) == 16


def test_a_signal_stops_all_workers_in_order(pairs: Folders) -> None:
    with running_sampoll("run", *pairs.flags, *TWO, *SLOW) as parent:
        until(lambda: pairs.results, "the first result")
        workers = children_of(parent.pid)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 75
    assert not any(map(is_running, workers))
    assert pairs.failed == []
    assert len(pairs.waiting) == 16 - len(pairs.results)


def test_a_second_signal_ends_all_workers_at_once(pairs: Folders, gate: tuple[Path, Path]) -> None:
    started, _ = gate
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    with running_sampoll("run", *pairs.flags, *TWO, "--model", "support.fakes:waiting") as parent:
        until(started.exists, "the work that does not end")
        workers = children_of(parent.pid)

        def is_ended_by_signals() -> bool:  # those within a tenth of a second count as one
            parent.send_signal(signal.SIGTERM)
            return parent.poll() is not None

        until(is_ended_by_signals, "the end at once")
        assert parent.wait(30) == 128 + signal.SIGTERM
        until(lambda: not any(map(is_running, workers)), "the end of the workers", seconds=10)
    assert pairs.failed == []


def test_workers_stop_when_their_parent_is_killed(pairs: Folders) -> None:
    with running_sampoll("run", *pairs.flags, *TWO, "--continuous", *SLOW) as parent:
        until(lambda: pairs.results, "the first result")
        workers = children_of(parent.pid)
        assert len(workers) == 2
        parent.kill()
        parent.wait()
        until(lambda: not any(map(is_running, workers)), "the end of the workers")
    assert pairs.failed == []
    assert len(pairs.waiting) == 16 - len(pairs.results)


def test_a_worker_that_hangs_does_not_outlive_its_parent_for_long(
    pairs: Folders, gate: tuple[Path, Path]
) -> None:
    started, _ = gate
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    flags = ("--workers", 1, "--stall", 5, "--model", "support.fakes:waiting")
    with running_sampoll("run", *pairs.flags, *flags) as parent:
        until(started.exists, "the work that does not end")
        workers = children_of(parent.pid)
        parent.kill()
        parent.wait()
        until(lambda: not any(map(is_running, workers)), "the end of the worker")


def test_a_worker_is_for_a_device_or_one_of_a_number(pairs: Folders) -> None:
    ran = sampoll("run", *pairs.flags, *TWO, *BOXES, "--devices", "cpu")
    assert ran.returncode == 2
    assert "--devices" in ran.stderr


def test_one_page_and_one_stop_file_are_for_all_workers(pairs: Folders, tmp_path: Path) -> None:
    log, flags = tmp_path / "log", (*pairs.flags, *TWO, *SLOW, "--continuous", "--exclusive")
    with (
        log.open("wb") as file,
        running_sampoll("run", *flags, "--http", 0, "--stop-file", "STOP", log=file) as parent,
    ):
        until(lambda: "status page: " in log.read_text(), "the address")
        [url] = re.findall(r"status page: (http://\S+)", log.read_text())
        until(lambda: httpx.get(f"{url}/readyz").status_code == 200, "all workers")
        until(lambda: len(pairs.results) >= 4, "two results")
        page, metrics = httpx.get(url).text, httpx.get(f"{url}/metrics").text
        mapped_by_the_parent = Path(f"/proc/{parent.pid}/maps").read_text()
        status = json.loads(sampoll("status", "--input", pairs.input, "--json").stdout)
        other = sampoll("run", *pairs.flags, *BOXES)
        (pairs.input / "STOP").touch()
        assert parent.wait(30) == 0
    assert [f"<tr><td>{number}</td><td>working</td><td>cpu</td>" in page for number in (1, 2)] == [True] * 2
    jobs = re.findall(r'sampoll_jobs_total{outcome="done",worker="(\d)"} (\d)', metrics)
    assert [worker for worker, _ in jobs] == ["1", "2"]
    assert sum(int(count) for _, count in jobs) >= 2
    [service] = status["services"]
    assert (service["pid"], len(service["workers"])) == (parent.pid, 2)
    assert (other.returncode, "in use" in other.stderr) == (75, True)
    assert not (pairs.input / "STOP").exists()
    assert not re.findall("numpy|torch|cv2", mapped_by_the_parent)
    assert len(pairs.waiting) == 16 - len(pairs.results)


def test_a_worker_that_makes_no_progress_is_killed_and_started_again(
    pairs: Folders, gate: tuple[Path, Path]
) -> None:
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    flags = ("--model", "support.fakes:hanging_once", "--stall", 3, "--log-format", "json")
    ran = sampoll("run", *pairs.flags, *TWO, *flags)
    assert ran.returncode == 0, ran.stderr
    assert len(pairs.results) == 18
    about_workers = [line for line in map(json.loads, ran.stderr.splitlines()) if "worker" in line]
    for line in about_workers:
        Draft202012Validator(SCHEMA).validate(line)
    stalled = {line["worker"] for line in about_workers if line.get("event") == "worker-stalled"}
    killed = {line["worker"] for line in about_workers if line.get("signal") == signal.SIGKILL}
    assert stalled
    assert stalled == killed


def test_workers_of_a_stream_do_each_job_once_even_if_one_is_killed(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    names, log = [f"job {number}" for number in range(12)], tmp_path / "log"
    queue(client, names)
    with worker(log, server.port, *TWO, "--lease", 1, model="slow") as parent:
        until(lambda: client.xlen("sam:results") >= 4, "the first results")
        os.kill(children_of(parent.pid)[0], signal.SIGKILL)
        until(lambda: client.xlen("sam:results") >= 12, "all results")
        until(lambda: client.xlen("sam") == 0, "the end of all jobs")
        parent.terminate()
        assert parent.wait(30) == 0
    assert_each_is_done_once(client, names)
    assert "done, 0 failed" in log.read_text()


def test_a_channel_is_for_one_process() -> None:
    ran = sampoll("serve", "redis", *BOXES, *TWO)
    assert ran.returncode == 2
    assert "serve stream" in ran.stderr


def answers_to(client: httpx.Client, bodies: Sequence[Mapping[str, Any]]) -> list[int]:
    with ThreadPoolExecutor() as pool:
        return [answer.status_code for answer in pool.map(lambda body: segment(client, files=body), bodies)]


def test_workers_behind_one_address_share_the_requests_and_each_knows_its_images(tmp_path: Path) -> None:
    images = [encoded(image_of(seed=seed)) for seed in range(8)]
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    with serving_http(tmp_path, *TWO) as (parent, client):
        until(lambda: client.get("/readyz").status_code == 200, "all workers")
        assert answers_to(client, [{"image": ("a.png", image)} for image in images]) == [200] * 8
        assert answers_to(client, [{"image_sha256": (None, each)} for each in digests]) == [200] * 8
        assert answers_to(client, [{"image_sha256": (None, "0" * 64)}]) == [404]
        done = re.findall(r'outcome="done",worker="(\d)"} (\d+)', client.get("/metrics").text)
        parent.terminate()
        assert parent.wait(30) == 0
    assert sum(int(count) for _, count in done) == 16
    assert all(int(count) > 0 for _, count in done)


def test_a_request_whose_worker_dies_is_to_be_sent_again(tmp_path: Path, gate: tuple[Path, Path]) -> None:
    started, _ = gate
    poison = {"image": ("a.png", encoded(image_of(height=13)))}
    with (
        serving_http(tmp_path, *TWO, model="waiting") as (parent, client),
        ThreadPoolExecutor() as pool,
    ):
        until(lambda: client.get("/readyz").status_code == 200, "all workers")
        hangs = pool.submit(lambda: segment(client, files=poison, data={"prompt": '{"everything": {}}'}))
        until(started.exists, "the request that hangs")
        busy = re.findall(r"<td>(\d)</td><td>(\d+)</td></tr>", client.get("/").text)
        [pid] = [int(pid) for in_flight, pid in busy if in_flight == "1"]
        os.kill(pid, signal.SIGKILL)
        lost = hangs.result()
        assert (lost.status_code, lost.json()["code"]) == (503, "transient")
        assert "Retry-After" in lost.headers
        assert segment(client).status_code == 200
        until(lambda: client.get("/readyz").status_code == 200, "its next process")
        assert len(children_of(parent.pid)) == 2
