from collections.abc import Callable
from dataclasses import asdict

from support.images import encoded, image_of
from support.outside import started

from sampoll.core.errors import BadImage, OutOfMemory, StorageTrouble, UnreadableInput
from sampoll.core.events import (
    Backlog,
    BatchStarted,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    JobStarted,
    ModelLoaded,
    PassedOver,
    Paused,
    Progressed,
    Resumed,
    StopRequested,
)
from sampoll.core.jobs import SkippedPrompt
from sampoll.core.results import ModelInfo, ResultSummary
from sampoll.monitoring.health import Health
from sampoll.transports.memory import submission

JOB = submission("a", encoded(image_of()), b"{}")
MODEL = ModelInfo("vit_b", "cuda:0", precision="bf16")


def health(*, looks_around: bool = True) -> Health:
    return Health({"service": "run"}, stall_seconds=60.0, looks_around=looks_around)


def state(health: Health) -> object:
    return health.document()["state"]


def test_a_service_starts_works_pauses_and_stops() -> None:
    service = health()
    assert state(service) == "starting"
    service(ModelLoaded(MODEL))
    assert state(service) == "working"
    service(Paused(StorageTrouble("the disk is full")))
    assert (state(service), service.document()["reason"]) == ("paused", "the disk is full")
    service(ModelLoaded(MODEL))
    service(Resumed())
    assert (state(service), service.document()["reason"]) == ("working", None)
    service(StopRequested())
    assert state(service) == "stopping"
    service(ModelLoaded(MODEL))
    assert state(service) == "stopping"


def test_outcomes_are_counted_and_the_last_failure_is_kept() -> None:
    service = health()
    service(ModelLoaded(MODEL))
    service(InputScanned(Backlog(ready=7, half=1)))
    service(JobStarted(JOB))
    assert service.document()["in_flight"] == 1
    service(JobDone("a", JOB.id, "a", ResultSummary(skipped=(SkippedPrompt(1, None, "", "bad"),))))
    service(JobSkipped("b", "id-b", "b"))
    service(JobDeferred("c", "id-c", OutOfMemory("too large"), 2.0))
    service(JobFailed("d\n", "id-d", BadImage("cut off")))

    document = service.document()
    counts = {key: document[key] for key in ("in_flight", "done", "skipped", "retries", "failed")}
    assert counts == {"in_flight": 0, "done": 1, "skipped": 1, "retries": 1, "failed": 1}
    assert document["skipped_prompts"] == 1
    assert document["waiting"] == asdict(Backlog(ready=3, half=1))
    assert (document["model"], document["device"], document["precision"]) == ("vit_b", "cuda:0", "bf16")
    failure = document["last_failure"]
    assert (failure["name"], failure["code"], failure["message"]) == ("d\\n", "bad-image", "cut off")


def test_a_service_that_neither_scans_nor_works_is_stalled(pass_seconds: Callable[[float], None]) -> None:
    service = health()
    service(ModelLoaded(MODEL))
    pass_seconds(59)
    service(InputScanned(Backlog()))
    pass_seconds(59)
    assert service.is_healthy
    pass_seconds(2)
    assert state(service) == "stalled"
    assert not service.is_healthy
    service(InputScanned(Backlog()))
    assert service.is_healthy


def test_scans_do_not_hide_a_job_that_hangs(pass_seconds: Callable[[float], None]) -> None:
    service = health()
    service(ModelLoaded(MODEL))
    pass_seconds(1000)
    service(JobStarted(JOB))
    for _ in range(6):
        pass_seconds(10.1)
        service(InputScanned(Backlog()))
        service(JobStarted(submission("b", b"", b"{}")))
    assert state(service) == "stalled"


def test_a_service_without_requests_is_healthy_and_a_job_that_hangs_makes_it_stalled(
    pass_seconds: Callable[[float], None],
) -> None:
    service = health(looks_around=False)
    service(ModelLoaded(MODEL))
    pass_seconds(1000)
    assert service.is_healthy
    service(JobStarted(JOB))
    pass_seconds(61)
    assert not service.is_healthy
    service(JobDone("a", JOB.id, "a"))
    pass_seconds(1000)
    assert service.is_healthy


def test_a_long_job_whose_parts_are_done_one_by_one_is_not_stalled(
    pass_seconds: Callable[[float], None],
) -> None:
    service = health()
    service(ModelLoaded(MODEL))
    service(JobStarted(JOB))
    for _ in range(20):
        pass_seconds(50)
        assert service.is_healthy
        service(Progressed())
    pass_seconds(61)
    assert not service.is_healthy


def test_a_service_that_starts_or_pauses_for_long_is_healthy(pass_seconds: Callable[[float], None]) -> None:
    service = health()
    pass_seconds(1000)
    assert service.is_healthy
    service(ModelLoaded(MODEL))
    service(JobStarted(JOB))
    service(Paused(StorageTrouble("the disk is full")))
    pass_seconds(1000)
    assert service.is_healthy
    service(ModelLoaded(MODEL))
    assert service.document()["in_flight"] == 0


def test_what_is_passed_over_is_told_until_nothing_is() -> None:
    service = health()
    service(PassedOver("sub/", UnreadableInput("cannot be listed: Permission denied")))
    service(InputScanned(Backlog(passed_over=1)))
    assert service.document()["passed_over"] == {"sub/": "cannot be listed: Permission denied"}

    service(InputScanned(Backlog()))

    assert service.document()["passed_over"] == {}


def test_jobs_are_queued_until_the_model_works_on_them() -> None:
    service = health()
    for event in started("a", "b", "c"):
        service(event)
    assert service.running_and_queued() == ([], ["a", "b", "c"])

    service(BatchStarted(("a", "b", "lost before")))
    assert service.running_and_queued() == (["a", "b"], ["c"])
    service(JobDone("a", "a", "a"))
    service(JobDeferred("b", "b", OutOfMemory("too large"), 1.0))
    assert service.running_and_queued() == ([], ["c"])

    service(*started("b"))
    assert service.running_and_queued() == ([], ["c", "b"])


def test_a_pause_that_returns_the_jobs_leaves_none_in_flight() -> None:
    service = health()
    service(*started("a"))
    service(Paused(StorageTrouble("the server is away")))
    assert service.in_flight() == ["a"]

    service(Paused(StorageTrouble("the disk is full"), returns_jobs=True))

    assert service.in_flight() == []
    assert service.running_and_queued() == ([], [])


def test_a_job_that_is_taken_waits_no_longer_though_the_next_scan_comes_later() -> None:
    service = health()
    service(InputScanned(Backlog(ready=3)))
    service(*started("a"))
    service(JobDone("a", "a", "a"))
    assert service.document()["waiting"]["ready"] == 2
    service(JobFailed("unreadable", "b", BadImage("no image")))  # before it was begun
    service(*started("c"))
    service(*started("recovered"))
    assert service.document()["waiting"]["ready"] == 0


def two_workers() -> Health:
    service = Health({"service": "run"}, stall_seconds=60.0, looks_around=True, workers=(1, 2))
    for number in (1, 2):
        service.note_start(number, pid=100 + number)
    return service


def test_a_service_of_several_processes_is_as_ready_as_the_last_of_them() -> None:
    service = two_workers()
    service.of(1)(ModelLoaded(MODEL))
    assert state(service) == "starting"
    service.of(2)(ModelLoaded(MODEL))
    assert state(service) == "working"
    service.note_end(1, is_final=False)
    assert state(service) == "starting"
    service.note_start(1, pid=103)
    service.note_end(1, is_final=True)
    assert state(service) == "working"
    service.note_end(2, is_final=True)
    assert state(service) == "stopping"
    service.of(2)(StopRequested())


def test_a_process_that_makes_no_progress_is_named(pass_seconds: Callable[[float], None]) -> None:
    service = two_workers()
    for number in (1, 2):
        service.of(number)(ModelLoaded(MODEL))
    service.of(1)(JobStarted(JOB))
    pass_seconds(40)
    service.of(2)(InputScanned(Backlog()))
    pass_seconds(40)
    assert (service.is_healthy, service.stalled(), service.still_seconds(1)) == (False, [1], 80)


def test_each_process_has_its_jobs_and_its_device() -> None:
    service = two_workers()
    for number in (1, 2):
        service.of(number)(ModelLoaded(ModelInfo("vit_b", f"cuda:{number}")))
    service.of(1)(JobStarted(JOB))
    service.of(2)(ModelLoaded(ModelInfo("vit_b", "cuda:2")))  # it begins anew, without the jobs of others
    document = service.document()
    assert (document["in_flight"], document["device"]) == (1, "cuda:1, cuda:2")
    assert document["workers"] == [
        {"worker": 1, "pid": 101, "state": "working", "device": "cuda:1", "in_flight": 1},
        {"worker": 2, "pid": 102, "state": "working", "device": "cuda:2", "in_flight": 0},
    ]
