"""A service seen from outside: metrics, health, routes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.images import encoded, image_of
from support.outside import MODEL, Outside
from support.process import REPOSITORY

from sampoll.core.channel import Channel
from sampoll.core.errors import BadImage, OutOfMemory, StorageTrouble
from sampoll.core.events import (
    Backlog,
    BatchDone,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    JobStarted,
    MemoryBudgeted,
    ModelLoaded,
    Paused,
    Resumed,
    StopRequested,
    WatchChecked,
    WatchOverflowed,
)
from sampoll.core.jobs import SkippedPrompt
from sampoll.core.memory import StageMemory
from sampoll.core.results import ResultSummary
from sampoll.monitoring.health import KEPT_FAILURES, Health
from sampoll.monitoring.metrics import Metrics
from sampoll.monitoring.queue_sizes import MeasuredQueue
from sampoll.monitoring.systemd import _watchdog_seconds
from sampoll.transports.memory import submission

JOB = submission("a", encoded(image_of()), b"{}")
SKIPPED = (SkippedPrompt(0, "a", "prompts[0]", "bad"), SkippedPrompt(2, None, "prompts[2]", "bad too"))


def test_everything_that_happens_is_counted(outside: Outside) -> None:
    metrics = outside.metrics
    metrics(ModelLoaded(MODEL))
    metrics(MemoryBudgeted((StageMemory("images", 1024), StageMemory("masks", 512, "--max-mask-bytes"))))
    assert outside.values()["sampoll_failed_pairs"] == 0
    metrics(InputScanned(Backlog(ready=3, settling=2, half=1, deferred=4, oldest_ready_seconds=12.5)))
    metrics(BatchDone(8, 3))
    metrics(JobDone("a", "1", "a", ResultSummary((), {"embedding": 0.2, "rendering": 0.01}, (), SKIPPED)))
    metrics(JobSkipped("b", "2", "b"))
    metrics(JobFailed("c", "3", BadImage("no image")))
    metrics(JobDeferred("d", "4", OutOfMemory("too large"), 2.0))
    metrics(Paused(StorageTrouble("full")))
    metrics(WatchChecked(True))
    metrics(WatchOverflowed())

    values = outside.values()
    expected = {
        'sampoll_jobs_total{"outcome": "done"}': 1,
        'sampoll_jobs_total{"outcome": "skipped"}': 1,
        'sampoll_jobs_total{"outcome": "failed"}': 1,
        'sampoll_jobs_total{"outcome": "deferred"}': 1,
        'sampoll_attempts_total{"code": "none"}': 1,
        "sampoll_skipped_prompts_total": 2,
        'sampoll_memory_budget_bytes{"stage": "images"}': 1024,
        'sampoll_memory_budget_bytes{"stage": "masks"}': 512,
        'sampoll_attempts_total{"code": "bad-image"}': 1,
        'sampoll_attempts_total{"code": "out-of-memory"}': 1,
        'sampoll_stage_duration_seconds_count{"stage": "embedding"}': 1,
        'sampoll_stage_duration_seconds_sum{"stage": "embedding"}': 0.2,
        "sampoll_batch_images_sum": 8,
        'sampoll_embeddings_total{"source": "cache"}': 3,
        'sampoll_embeddings_total{"source": "model"}': 5,
        'sampoll_pairs{"state": "ready"}': 3,
        'sampoll_pairs{"state": "half"}': 1,
        "sampoll_oldest_ready_age_seconds": 12.5,
        "sampoll_watcher_up": 1,
        "sampoll_watcher_overflows_total": 1,
        'sampoll_pauses_total{"reason": "storage_trouble"}': 1,
        "sampoll_failed_pairs": 7,
    }
    assert {name: values[name] for name in expected} == expected
    assert values["sampoll_last_success_timestamp_seconds"] > 1.7e9


def test_queues_and_disks_are_measured_when_the_metrics_are_requested(
    outside: Outside, pass_seconds: Callable[[float], None]
) -> None:
    outside.health(ModelLoaded(MODEL))
    outside.health(JobStarted(JOB))
    channel: Channel[str] = Channel(1000)
    outside.queues["decoded"] = channel
    channel.put("an image", 600)
    pass_seconds(59)
    assert 'sampoll_free_bytes{"root": "input"}' not in outside.values()  # disks are looked at by the reader
    outside.metrics(InputScanned(Backlog()))

    values = outside.values()

    assert values['sampoll_queue_jobs{"queue": "decoded"}'] == 1
    assert values['sampoll_queue_bytes{"queue": "decoded"}'] == 600
    assert values['sampoll_queue_jobs{"queue": "loading"}'] == 0
    assert values["sampoll_in_flight_jobs"] == 1
    assert values["sampoll_sweep_age_seconds"] == 59
    assert (values["sampoll_healthy"], values["sampoll_ready"]) == (1, 1)
    assert values['sampoll_free_bytes{"root": "input"}'] > 0
    assert np.isnan(values['sampoll_free_bytes{"root": "output"}'])
    pass_seconds(2)
    assert (outside.values()["sampoll_healthy"], outside.values()["sampoll_ready"]) == (0, 0)


def test_names_keep_to_the_conventions_of_prometheus(outside: Outside) -> None:
    outside.metrics(ModelLoaded(MODEL))
    families = list(text_string_to_metric_families(outside.metrics.text().decode()))

    names = [family.name for family in families]
    assert len(names) > 18
    assert all(re.fullmatch(r"sampoll_[a-z_]+", name) for name in names)
    for family in families:
        assert family.documentation.endswith(".")
        suffixes = {sample.name.removeprefix(family.name) for sample in family.samples}
        if family.type == "counter":
            assert suffixes <= {"_total"}
    build = next(family for family in families if family.name == "sampoll_build_info")
    assert build.samples[0].labels["version"]
    model = next(family for family in families if family.name == "sampoll_model_info")
    assert model.samples[0].labels == {
        "model": "vit_b",
        "device": "cuda:0",
        "precision": "bf16",
        "engine": "torch",
    }


def test_every_metric_is_documented(outside: Outside) -> None:
    outside.metrics(ModelLoaded(MODEL))
    page = (REPOSITORY / "docs" / "operations.md").read_text()

    families = text_string_to_metric_families(outside.metrics.text().decode())
    names = {family.name + "_total" * (family.type == "counter") for family in families}
    names.add("sampoll_worker_restarts_total")  # of several processes only
    assert set(re.findall(r"`(sampoll_[a-z_]+)`", page.partition("### Metrics")[2])) == names


def test_metrics_are_written_whole_or_not_at_all(outside: Outside, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sampoll.prom"
    outside.metrics.write(path)
    assert path.read_text().count("# HELP sampoll_") == outside.metrics.text().count(b"# HELP sampoll_") > 18
    assert path.read_text().endswith("\n")
    assert [p.name for p in path.parent.iterdir()] == ["sampoll.prom"]
    blocked = tmp_path / "blocked"
    (blocked / "sampoll.prom").mkdir(parents=True)
    with pytest.raises(StorageTrouble, match="write the metrics"):
        outside.metrics.write(blocked / "sampoll.prom")


def test_health_and_readiness_follow_the_service(
    outside: Outside, pass_seconds: Callable[[float], None]
) -> None:
    def verdicts() -> tuple[int, int]:
        return outside.get("/healthz")[0], outside.get("/readyz")[0]

    assert verdicts() == (200, 503)  # the model is loading
    outside.health(ModelLoaded(MODEL))
    assert verdicts() == (200, 200)
    outside.health(Paused(StorageTrouble("full")))
    assert verdicts() == (200, 503)
    assert json.loads(outside.get("/readyz")[2]) == {"state": "paused", "reason": "full"}
    outside.health(Resumed())
    assert verdicts() == (200, 200)
    pass_seconds(61)
    assert verdicts() == (503, 503)
    outside.health(InputScanned(Backlog()))
    outside.health(StopRequested())
    assert verdicts() == (200, 503)


def test_after_a_pause_before_the_model_is_loaded_the_service_is_starting_again(outside: Outside) -> None:
    outside.health(Paused(StorageTrouble("no server")))
    outside.health(Resumed())

    assert outside.health.document()["state"] == "starting"


def test_a_model_that_is_loaded_while_the_server_is_away_does_not_make_the_service_ready(
    outside: Outside,
) -> None:
    outside.health(Paused(StorageTrouble("no server")))
    outside.health(ModelLoaded(MODEL))
    assert outside.get("/readyz")[0] == 503
    outside.health(Resumed())
    assert outside.get("/readyz")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_get_and_head_are_answered(outside: Outside, method: str) -> None:
    for path in ("/", "/healthz", "/metrics", "/nowhere"):
        status, headers, _ = outside.get(path, method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/status.css", "/nowhere"])
def test_head_is_get_without_its_content(outside: Outside, path: str) -> None:
    status, headers, content = outside.get(path)

    answer = outside.get(path, "HEAD")

    assert (answer[0], answer[2]) == (status, b"")
    assert answer[1].keys() == headers.keys()
    assert (headers["Content-Length"], answer[1]["Content-Type"]) == (
        str(len(content)),
        headers["Content-Type"],
    )


@given(st.text(max_size=40), st.sampled_from(["", "/", "/pictures/", "/metrics/", "/../", "//"]))
def test_no_path_leaves_the_known_routes(path: str, prefix: str) -> None:
    outside = Outside(Path("/"), with_thumbnails=True)

    status, _, _ = outside.get(prefix + path)

    known = prefix + path in ("/", "/status.css", "/status.js", "/healthz", "/readyz", "/metrics")
    assert (status != 404) == known


def test_the_last_failures_are_kept(outside: Outside) -> None:
    for number in range(KEPT_FAILURES + 5):
        outside.health(JobFailed(f"bad {number}", "id", BadImage("no image")))
    assert len(outside.health.failures()) == KEPT_FAILURES
    assert outside.health.failures()[0]["name"] == f"bad {KEPT_FAILURES + 4}"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_only_the_watchdog_of_this_process_counts(environment: dict[str, str], seconds: float | None) -> None:
    assert _watchdog_seconds(environment) == seconds


def test_metrics_of_several_processes_have_a_label_and_those_of_the_service_have_none() -> None:
    health = Health({"service": "run"}, stall_seconds=60.0, looks_around=True, workers=(1, 2))
    queues = {1: {"decoded": MeasuredQueue(jobs=3, cost=40)}, 2: {}}
    metrics = Metrics(health, queues, {}, lambda: 0)
    metrics.of(1)(JobDone("a", "1", "a"))
    metrics.of(1)(InputScanned(Backlog(ready=5)))
    metrics.of(2)(InputScanned(Backlog(ready=4)))
    metrics.note_restart(2)

    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    values = {
        (sample.name, sample.labels.get("worker"), *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["sampoll_jobs_total", "1", "done", "1"] == 1
    assert values["sampoll_jobs_total", "2", "done", "2"] == 0
    assert values["sampoll_queue_jobs", "1", "decoded", "1"] == 3
    assert values["sampoll_worker_restarts_total", "2", "2"] == 1
    assert values["sampoll_pairs", None, "ready"] == 4
    assert families["sampoll_jobs"].type == "counter"
