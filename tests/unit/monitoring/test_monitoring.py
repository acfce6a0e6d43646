"""A service seen from outside: metrics, health, the page."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.images import encoded, image_of
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
    ModelLoaded,
    Paused,
    Resumed,
    StopRequested,
    WatchChecked,
    WatchOverflowed,
)
from sampoll.core.jobs import Box, Prompt, SkippedPrompt
from sampoll.core.results import Mask, ModelInfo, ResultSummary, Segmentation
from sampoll.monitoring.health import KEPT_FAILURES, Health
from sampoll.monitoring.history import History
from sampoll.monitoring.metrics import Metrics
from sampoll.monitoring.systemd import _watchdog_seconds
from sampoll.monitoring.thumbnails import KEPT, SIDE, Thumbnails
from sampoll.monitoring.web import Application
from sampoll.transports.memory import submission

MODEL = ModelInfo("vit_b", "cuda:0", precision="bf16", engine="torch")
JOB = submission("a", encoded(image_of()), b"{}")
ODD = "<script>alert(1)</script>"


class Outside:
    """The listeners of a service that is simulated by its events."""

    def __init__(self, tmp_path: Path, *, with_thumbnails: bool = False) -> None:
        self.health = Health({"service": "run", "input": ODD}, stall_seconds=60.0, looks_around=True)
        self.queues: dict[str, Channel[Any]] = {}
        roots = {"input": tmp_path, "output": tmp_path / "gone"}
        self.metrics = Metrics(self.health, self.queues, roots, lambda: 7)
        self.history = History()
        self.thumbnails = Thumbnails() if with_thumbnails else None
        self.application = Application(self.health, self.metrics, self.history, self.thumbnails)

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        answered: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
        [content] = self.application(environ, lambda *answer: answered.extend(answer))
        status, headers = answered
        return int(status.split()[0]), dict(headers), content

    def values(self) -> dict[str, float]:
        """Of every metric, by its name and labels."""
        families = text_string_to_metric_families(self.metrics.text().decode())
        samples = [sample for family in families for sample in family.samples]
        return {f"{s.name}{json.dumps(s.labels) if s.labels else ''}": s.value for s in samples}


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path, with_thumbnails=True)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    clock = [100_000.0]
    for module in ("health", "history", "thumbnails"):
        monkeypatch.setattr(f"sampoll.monitoring.{module}.time.monotonic", lambda: clock[0])

    def pass_seconds(seconds: float) -> None:
        clock[0] += seconds

    return pass_seconds


def segmentation(name: str = "a") -> Segmentation:
    pixels = np.zeros((24, 32), np.bool_)
    pixels[4:16, 4:20] = True
    mask = Mask.from_array(pixels, 0.5)
    prompts = (Prompt(box=Box(4, 4, 20, 16)),)
    image = encoded(image_of(), "JPEG")
    return Segmentation(
        "id", name, prompts, ((mask,),), MODEL, (24, 32), "0" * 64, {}, image_file="a.jpg", image=image
    )


SKIPPED = (SkippedPrompt(0, "a", "prompts[0]", "bad"), SkippedPrompt(2, None, "prompts[2]", "bad too"))


def test_everything_that_happens_is_counted(outside: Outside) -> None:
    metrics = outside.metrics
    metrics(ModelLoaded(MODEL))
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


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_get_is_answered(outside: Outside, method: str) -> None:
    for path in ("/", "/healthz", "/metrics", "/nowhere"):
        status, headers, _ = outside.get(path, method)
        assert (status, headers["Allow"]) == (405, "GET")


@given(st.text(max_size=40), st.sampled_from(["", "/", "/thumbnails/", "/metrics/", "/../", "//"]))
def test_no_path_leaves_the_known_routes(path: str, prefix: str) -> None:
    outside = Outside(Path("/"))

    status, _, _ = outside.get(prefix + path)

    known = prefix + path in ("/", "/healthz", "/readyz", "/metrics")
    assert (status != 404) == known


def test_names_are_escaped_on_the_page(outside: Outside) -> None:
    outside.health(ModelLoaded(replace(MODEL, name=ODD)))
    outside.health(JobStarted(replace(JOB, name=ODD)))
    outside.health(JobFailed(ODD, "id", BadImage(ODD)))
    assert outside.thumbnails is not None
    outside.thumbnails.render(segmentation(ODD), ())

    status, headers, page = outside.get("/")

    assert status == 200
    assert b"<script>alert" not in page
    assert page.count(b"&lt;script&gt;alert(1)&lt;/script&gt;") >= 6
    [nonce] = re.findall(rb'<script nonce="([\w-]+)">', page)
    assert f"script-src 'nonce-{nonce.decode()}'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_last_hour_is_counted_by_minutes(pass_seconds: Callable[[float], None]) -> None:
    history = History()
    history(JobDone("a", "1", "a"))
    pass_seconds(60)
    history(JobDone("b", "2", "b"))
    history(JobDone("c", "3", "c"))
    assert history.per_minute()[-3:] == [0, 1, 2]
    pass_seconds(59 * 60)
    assert history.per_minute()[0] == 2
    assert sum(history.per_minute()) == 2
    pass_seconds(60)
    assert sum(history.per_minute()) == 0


def test_the_last_failures_are_kept(outside: Outside) -> None:
    for number in range(KEPT_FAILURES + 5):
        outside.health(JobFailed(f"bad {number}", "id", BadImage("no image")))
    assert len(outside.health.failures()) == KEPT_FAILURES
    assert outside.health.failures()[0]["name"] == f"bad {KEPT_FAILURES + 4}"


def test_thumbnails_are_small_few_and_not_drawn_too_often(pass_seconds: Callable[[float], None]) -> None:
    thumbnails = Thumbnails()
    for number in range(KEPT + 3):
        assert thumbnails.render(segmentation(f"picture {number}"), ()) == []
        thumbnails.render(segmentation("too soon"), ())
        pass_seconds(1)

    kept = thumbnails.kept()

    assert [thumbnail.name for thumbnail in kept[:2]] == [f"picture {KEPT + 2}", f"picture {KEPT + 1}"]
    assert len(kept) == KEPT
    assert all(len(thumbnail.jpeg) < SIDE * SIDE for thumbnail in kept)
    assert thumbnails.suffixes(segmentation()) == []


def test_a_thumbnail_that_cannot_be_drawn_is_left_out() -> None:
    thumbnails = Thumbnails()

    assert thumbnails.render(replace(segmentation(), image=b"no image"), ()) == []
    assert thumbnails.kept() == []


def test_thumbnails_are_shown_only_if_they_were_requested(tmp_path: Path, outside: Outside) -> None:
    assert outside.thumbnails is not None
    outside.thumbnails.render(segmentation(), ())
    status, headers, jpeg = outside.get("/thumbnails/1.jpg")
    assert (status, headers["Content-Type"], jpeg[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert outside.get("/thumbnails/2.jpg")[0] == 404
    without = Outside(tmp_path)
    assert without.get("/thumbnails/1.jpg")[0] == 404
    assert b"The last masks" not in without.get("/")[2]


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
