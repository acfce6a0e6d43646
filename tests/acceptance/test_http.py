"""`--http`: health, metrics and a page of the real process, for probes and for people."""

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from prometheus_client.parser import text_string_to_metric_families
from support.browsers import WIDTHS, chromium, page_of
from support.folders import Folders, drop_pair
from support.images import image_of
from support.process import running_sampoll, sampoll, until
from support.redis_servers import Server, free_port

WATCH = ("--continuous", "--model", "support.fakes:boxes")
ODD = "<img src=x onerror=alert(2)> & 'quoted'"


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(url: str, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(get(f"{url}/metrics")[1]):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


@contextmanager
def watching(folders: Folders, *flags: object) -> Iterator[str]:
    """A service on a port of its own; the URL."""
    log = folders.input.parent / "log"
    with (
        log.open("wb") as file,
        running_sampoll("run", *folders.flags, *flags, "--http", 0, log=file) as process,
    ):
        until(lambda: "status page: " in log.read_text() or process.poll() is not None, "the address")
        [url] = re.findall(r"status page: (http://127\.0\.0\.1:\d+)", log.read_text())
        yield url


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens, as the system writes them."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except OSError:  # closed since
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                addresses.add(fields[1].rpartition(":")[0])
    return addresses


def test_probes_follow_a_service_that_starts_works_and_pauses(folders: Folders, tmp_path: Path) -> None:
    with watching(folders, *WATCH) as url:
        assert get(f"{url}/healthz")[0] == 200
        until(lambda: get(f"{url}/readyz")[0] == 200, "the service to be ready")
        drop_pair(folders.input, "a")
        drop_pair(folders.input, "bad", prompt={})
        until(lambda: metric(url, "sampoll_jobs_total", outcome="failed") == 1, "the failure")
        until(lambda: metric(url, "sampoll_jobs_total", outcome="done") == 1, "the result")
        assert metric(url, "sampoll_attempts_total", code="bad-prompt") == 1
        assert metric(url, "sampoll_stage_duration_seconds_count", stage="publishing") == 1
        assert metric(url, "sampoll_watcher_up") == 1
        until(lambda: metric(url, "sampoll_failed_pairs") == 1, "a look at failed/")
        assert metric(url, "sampoll_free_bytes", root="output") > 0
        folders.input.rename(tmp_path / "away")
        until(lambda: get(f"{url}/readyz")[0] == 503, "the pause")
        assert "has gone or was replaced" in json.loads(get(f"{url}/readyz")[1])["reason"]
        assert get(f"{url}/healthz")[0] == 200
        assert metric(url, "sampoll_pauses_total", reason="input_unavailable") == 1
        (tmp_path / "away").rename(folders.input)
        until(lambda: get(f"{url}/readyz")[0] == 200, "the service to go on")


def test_while_the_input_is_away_no_job_is_in_flight(folders: Folders, tmp_path: Path) -> None:
    for number in range(8):
        drop_pair(folders.input, f"{number}")
    with watching(folders, "--continuous", "--model", "support.fakes:slow", "--batch-size", 1) as url:
        until(lambda: metric(url, "sampoll_in_flight_jobs") > 1, "jobs in flight")
        folders.input.rename(tmp_path / "away")
        folders.input.touch()
        until(lambda: get(f"{url}/readyz")[0] == 503, "the pause")
        assert metric(url, "sampoll_in_flight_jobs") == 0


def test_a_model_that_hangs_makes_the_service_unhealthy(folders: Folders, gate: tuple[Path, Path]) -> None:
    _, go = gate
    drop_pair(folders.input, "a", image=image_of(height=13))
    with watching(folders, "--continuous", "--model", "support.fakes:waiting", "--stall", 1) as url:
        until(lambda: get(f"{url}/healthz")[0] == 503, "the verdict")
        assert json.loads(get(f"{url}/healthz")[1])["state"] == "stalled"
        go.touch()
        until(lambda: get(f"{url}/healthz")[0] == 200, "the service to get on")


def test_no_port_is_open_without_http_and_only_loopback_by_default(folders: Folders) -> None:
    with running_sampoll("run", *folders.flags, *WATCH) as process:
        until(lambda: (folders.input / "done").exists(), "the service")
        assert listening(process.pid) == set()
    with running_sampoll("run", *folders.flags, *WATCH, "--http", free_port()) as process:
        until(lambda: listening(process.pid), "the port")
        assert listening(process.pid) == {"0100007F"}
    with running_sampoll("run", *folders.flags, *WATCH, "--http", f"0.0.0.0:{free_port()}") as process:
        until(lambda: listening(process.pid), "the port")
        assert listening(process.pid) == {"00000000"}


def test_an_address_that_cannot_be_used_is_refused(folders: Folders) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = sampoll("run", *folders.flags, *WATCH, "--http", port)
    assert run.returncode == 78
    assert f"--http 127.0.0.1:{port} cannot be used: " in run.stderr
    for wrong in ("localhost", "::1:80", "70000", "host:port"):
        assert sampoll("run", *folders.flags, *WATCH, "--http", wrong).returncode == 2


def test_only_whole_requests_of_known_paths_are_answered(folders: Folders) -> None:
    (folders.input / "secret.txt").write_text("secret")
    with watching(folders, *WATCH) as url:
        port = int(url.rpartition(":")[2])
        for request in (
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /%2e%2e/secret.txt HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET //healthz HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            b"\x00\xff\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(request)
                answer = connection.recv(4096)
            assert re.match(rb"HTTP/1\.[01] 4(00|04|05|13|14|31)", answer), (request[:60], answer)
            assert b"secret" not in answer.replace(b"secret.txt", b"")
        assert get(f"{url}/healthz")[0] == 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_the_page_shows_what_was_done_what_failed_and_what_is_left(
    browser: Browser, folders: Folders
) -> None:
    drop_pair(folders.input, ODD)
    (folders.input / "half.jpg").write_bytes(b"no prompt")
    with watching(folders, *WATCH, "--http-thumbnails") as url:
        until(lambda: metric(url, "sampoll_jobs_total", outcome="done") == 1, "the result")
        with page_of(browser, f"{url}/", WIDTHS["desktop"], home=url) as page:
            assert page.title() == "working: sampoll"
            assert page.get_by_role("status").first.inner_text() == "working It waits for jobs."
            assert page.get_by_text("half.jpg has no prompt: a run looks for").count() == 1
            plot = page.get_by_role("img", name="Jobs that ended in each of the last sixty minutes: 1 done")
            assert plot.locator("rect").count() == 1
            drop_pair(folders.input, "<b>bad", prompt={})
            page.get_by_role("cell", name="<b>bad", exact=True).wait_for(timeout=30_000)
            assert "bad-prompt: <b>bad.json: needs" in page.locator("#failures").inner_text()
            assert plot.locator("rect").count() >= 2
            page.get_by_role("link", name=ODD).click()
            picture = page.get_by_role("img", name=f"The image {ODD} with its masks")
            assert picture.evaluate("image => image.complete && image.naturalWidth") == 32


def test_a_page_shows_that_its_service_has_ended(browser: Browser, folders: Folders) -> None:
    page = browser.new_page()
    with watching(folders, *WATCH) as url:
        page.goto(f"{url}/")
    page.get_by_text("The service does not answer. What stands here is from 20").wait_for(timeout=30_000)
    page.close()


def test_a_service_over_redis_has_the_page_too_and_is_not_ready_without_its_server(tmp_path: Path) -> None:
    server, log = Server(), tmp_path / "log"
    server.start()
    flags = ("--redis-port", server.port, "--model", "support.fakes:boxes", "--http", 0)
    try:
        with log.open("wb") as file, running_sampoll("serve", "redis", *flags, log=file):
            until(lambda: "status page: " in log.read_text(), "the address")
            [url] = re.findall(r"status page: (http://\S+)", log.read_text())
            until(lambda: get(f"{url}/readyz")[0] == 200, "the service to be ready")
            server.stop()
            until(lambda: get(f"{url}/readyz")[0] == 503, "the gap")
            assert get(f"{url}/healthz")[0] == 200
            assert metric(url, "sampoll_pauses_total", reason="server_unavailable") == 1
    finally:
        server.stop()


def test_a_service_that_never_reached_its_server_is_not_ready(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flags = ("--redis-port", free_port(), "--model", "support.fakes:boxes", "--http", 0)
    with log.open("wb") as file, running_sampoll("serve", "redis", *flags, log=file):
        until(lambda: ": ready" in log.read_text(), "the model")
        until(lambda: "no subscription to" in log.read_text(), "the first try")
        [url] = re.findall(r"status page: (http://\S+)", log.read_text())
        until(lambda: "no subscription to" in get(f"{url}/readyz")[1], "the reason")
        assert get(f"{url}/readyz")[0] == 503


def test_a_run_leaves_its_metrics_for_the_node_exporter(folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a")
    drop_pair(folders.input, "bad", prompt={})
    path = tmp_path / "node-exporter" / "sampoll.prom"

    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--metrics-file", path)

    assert run.returncode == 1
    values = {
        f"{sample.name}{list(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }
    assert values["sampoll_jobs_total['done']"] == values["sampoll_jobs_total['failed']"] == 1
    assert values["sampoll_last_success_timestamp_seconds[]"] > 1.7e9
    blocked = sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--metrics-file", tmp_path)
    assert blocked.returncode == 74
    assert "cannot write the metrics" in blocked.stderr
