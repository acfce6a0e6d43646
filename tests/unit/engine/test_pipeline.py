import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from threading import Event, Lock, Thread
from typing import Any
from unittest import mock

import pytest
from support.images import encoded, image_of
from support.one_shot import OneShot
from support.segmenters import BoxSegmenter, KeptBoxes

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.channel import Channel
from sampoll.core.errors import BadPrompt, ModelUnavailable, StorageTrouble
from sampoll.core.events import BatchStarted, JobStarted, ModelLoaded
from sampoll.core.jobs import Job, Prompt, RgbImage, Submission
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Artifact, Delivery, Mask, ModelInfo, Segmentation
from sampoll.engine import pipeline
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.in_flight import InFlight
from sampoll.engine.pipeline import Service
from sampoll.formats.opex import Opex
from sampoll.formats.png import PngMask
from sampoll.inputs.decode import decode
from sampoll.inputs.options import DecodingOptions
from sampoll.monitoring.health import Health
from sampoll.transports.memory import submission

PROMPT = b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}'


def service_of(transport: OneShot, segmenter: BoxSegmenter | None = None, batch_size: int = 4) -> Service:
    limits = DecodingOptions(LimitSettings(max_pixels=10**6, max_prompts=10))
    return Service(
        transport,
        partial(decode, options=limits),
        segmenter or BoxSegmenter(),
        [PngMask(), Opex()],
        batch_size,
    )


def waiting(*names: str) -> OneShot:
    return OneShot(submissions(*names))


def submissions(*names: str) -> list[Submission]:
    """Each of them has an image of its own."""
    return [submission(name, encoded(image_of(seed=n)), PROMPT) for n, name in enumerate(names)]


def test_every_submission_ends_as_a_delivery_or_a_rejection() -> None:
    transport = waiting("a", "b", "c")
    transport.waiting.insert(1, submission("bad", encoded(image_of()), b"{}"))
    transport.waiting.append(submission("worse", b"no image", PROMPT))

    service_of(transport).run(Event())

    assert sorted(transport.delivered) == ["a", "b", "c"]
    assert set(transport.delivered["a"]) == {".png", ".json"}
    assert sorted(transport.rejected) == ["bad", "worse"]
    assert isinstance(transport.rejected["bad"], BadPrompt)


def test_batches_are_never_larger_than_asked_for() -> None:
    segmenter = BoxSegmenter()

    service_of(waiting(*"abcdefgh"), segmenter, batch_size=3).run(Event())

    assert sum(segmenter.batches) == 8
    assert max(segmenter.batches) <= 3


def test_each_batch_is_announced_before_the_model_works_on_it() -> None:
    announced: list[list[str]] = []
    seen_by_model: list[int] = []

    class Watching(BoxSegmenter):
        def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
            seen_by_model.append(sum(map(len, announced)))
            return super().embed(images)

    def emit(event: object) -> None:
        if isinstance(event, BatchStarted):
            announced.append(list(event.job_ids))

    transport = waiting(*"abcdef")
    ids = [each.id for each in transport.waiting]
    segmenter = Watching()

    replace(service_of(transport, segmenter, batch_size=2), emit=emit).run(Event())

    assert sorted(job for jobs in announced for job in jobs) == sorted(ids)
    assert [len(jobs) for jobs in announced] == segmenter.batches
    assert seen_by_model == list(accumulate(segmenter.batches))


def test_a_suspect_runs_with_nothing_else_in_flight() -> None:
    transport = waiting("a", "b", "suspect", "c", "d")
    transport.waiting[2] = replace(transport.waiting[2], alone=True)
    in_flight: list[tuple[str, int]] = []
    original = transport.begin

    def begin(submissions: Sequence[Submission]) -> None:
        in_flight.extend((s.name, len(transport._open)) for s in submissions)
        original(submissions)

    transport.begin = begin  # type: ignore[method-assign]
    service_of(transport).run(Event())

    assert dict(in_flight)["suspect"] == 1
    assert dict(in_flight)["c"] == 1
    assert len(transport.delivered) == 5


class Lost(BoxSegmenter):
    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        raise ModelUnavailable("the device has gone")


def test_a_lost_model_ends_the_service_and_all_jobs_are_handed_back() -> None:
    transport = waiting(*"abcdefgh")

    with pytest.raises(ModelUnavailable):
        service_of(transport, Lost(), batch_size=2).run(Event())
    transport.close()

    assert sorted(s.name for s in transport.waiting) == list("abcdefgh")
    assert transport.rejected == {}


class FullDisk(OneShot):
    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        raise StorageTrouble("no space left")


class DeadSource(OneShot):
    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        yield from super().submissions(stop)
        raise StorageTrouble("the input has gone")


@pytest.mark.parametrize("kind", [FullDisk, DeadSource])
def test_trouble_in_any_stage_ends_the_service_instead_of_hanging_it(kind: type[OneShot]) -> None:
    transport = kind(submissions(*"abcdefgh"))

    with pytest.raises(StorageTrouble):
        service_of(transport, batch_size=1).run(Event())


class StopsAfterFirst(BoxSegmenter):
    def __init__(self, stop: Event) -> None:
        super().__init__()
        self._stop = stop

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        self._stop.set()
        return super().embed(images)


def test_after_stop_the_running_batch_is_delivered_and_the_rest_handed_back() -> None:
    stop = Event()
    segmenter = StopsAfterFirst(stop)
    transport = waiting(*"abcdefgh")

    service_of(transport, segmenter, batch_size=2).run(stop)
    transport.close()

    assert len(segmenter.batches) == 1
    assert len(transport.delivered) == segmenter.batches[0]
    assert len(transport.delivered) + len(transport.waiting) == 8


@pytest.mark.parametrize("executors", [1, 2])
def test_no_more_is_taken_than_the_next_batches_need(monkeypatch: pytest.MonkeyPatch, executors: int) -> None:
    monkeypatch.setattr("sampoll.engine.in_flight.SECONDS_AHEAD", 0.0)  # as if the model were very slow
    transport = waiting(*map(str, range(60)))
    in_flight: list[int] = []
    begin = transport.begin

    def counting(begun: Sequence[Submission]) -> None:
        in_flight.append(len(transport._open))
        begin(begun)

    monkeypatch.setattr(transport, "begin", counting)
    replace(service_of(transport, batch_size=4), executors=executors).run(Event())

    assert len(transport.delivered) == 60
    assert 4 <= max(in_flight) <= 2 * 4 * executors + 1


def test_a_fast_model_has_as_much_in_flight_as_it_does_in_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("sampoll.engine.in_flight.time.monotonic", lambda: now[0])
    in_flight = InFlight()
    in_flight.enter(100)
    assert in_flight._soon_ended() == 0

    now[0] += 0.5
    in_flight.leave(10)
    assert in_flight._soon_ended() == 40

    for _ in range(4):
        now[0] += 1
        in_flight.leave(20)
    assert in_flight._soon_ended() == 60
    in_flight.wait_until_few(8)  # 10 are left
    assert [in_flight.room(few) for few in (8, 200)] == [50, 190]

    now[0] += 3
    assert in_flight._soon_ended() == 0
    assert [in_flight.room(few) for few in (8, 12)] == [1, 2]


# The memory that all stages share


@pytest.fixture
def one_image_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MEMORY_BYTES", 1)
    monkeypatch.setattr(pipeline, "SHARES", {pipeline.LOADING: 1, pipeline.RENDERING: 1})


class Counting(BoxSegmenter):
    """Counts the images that are between the start of their decoding and the end of their segmentation."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.images, self.most = Lock(), 0, 0

    def loading(self, submission: Submission, options: DecodingOptions) -> Job:
        with self.lock:
            self.images += 1
            self.most = max(self.most, self.images)
        return decode(submission, options)

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        with self.lock:
            self.images -= len(work)
        return super().decode(work)


def counted_service(transport: OneShot, segmenter: Counting, **more: Any) -> Service:
    options = DecodingOptions(LimitSettings(max_pixels=10**6, max_prompts=10))
    return replace(
        service_of(transport, segmenter),
        decode=partial(segmenter.loading, options=options),
        io_threads=8,
        **more,
    )


@pytest.mark.usefixtures("one_image_at_a_time")
def test_images_that_do_not_fit_into_the_memory_together_go_one_by_one() -> None:
    transport, segmenter = waiting(*"abcdefgh"), Counting()

    # No batch may wait for images that wait themselves for its memory.
    counted_service(transport, segmenter, max_wait_seconds=600.0).run(Event())

    assert sorted(transport.delivered) == list("abcdefgh")
    assert segmenter.most == 1
    assert set(segmenter.batches) == {1}


def test_images_that_fit_are_loaded_together() -> None:
    transport, segmenter = waiting(*"abcdefgh"), Counting()

    counted_service(transport, segmenter, max_wait_seconds=600.0).run(Event())

    assert segmenter.batches == [4, 4]


class LargeEmbeddings(KeptBoxes):
    embedding_bytes = 2**24


def test_an_image_whose_embedding_is_kept_counts_what_that_takes() -> None:
    [one] = submissions("a")
    service = service_of(waiting("a"), LargeEmbeddings())
    embeddings = EmbeddingCache(LargeEmbeddings(), 2**30)
    embeddings.put(one.image_sha256, image_of())
    known = partial(decode, options=DecodingOptions(LimitSettings(max_prompts=10)), known=embeddings.known)
    run = pipeline._Run(replace(service, decode=known, embeddings=embeddings), Event())

    memory = run._memory.reserve(pipeline.LOADING, run._bytes_to_load(one))

    assert memory is not None
    assert 2**24 <= memory.amount < 2**25
    run._loaded_one(one, memory)
    assert 2**24 <= memory.amount < 2**25


@pytest.mark.usefixtures("one_image_at_a_time")
def test_what_is_refused_gives_its_memory_back() -> None:
    transport, segmenter = waiting("a", "b"), Counting()
    transport.waiting.insert(1, submission("bad", encoded(image_of()), b"{}"))
    transport.waiting.insert(2, submission("worse", b"no image", PROMPT))

    service_of(transport, segmenter).run(Event())

    assert sorted(transport.delivered) == ["a", "b"]
    assert sorted(transport.rejected) == ["bad", "worse"]


@pytest.mark.usefixtures("one_image_at_a_time")
def test_a_stop_ends_the_wait_for_memory() -> None:
    stop, transport = Event(), waiting(*"abcdefgh")

    service_of(transport, StopsAfterFirst(stop), batch_size=2).run(stop)
    transport.close()

    assert len(transport.delivered) == 1
    assert len(transport.delivered) + len(transport.waiting) == 8


@pytest.mark.usefixtures("one_image_at_a_time")
@pytest.mark.parametrize("kind", [FullDisk, DeadSource])
def test_trouble_ends_the_wait_for_memory(kind: type[OneShot]) -> None:
    with pytest.raises(StorageTrouble):
        service_of(kind(submissions(*"abcdefgh")), batch_size=1).run(Event())


# The channel between two stages


def test_items_come_out_in_order_and_all_that_are_present_at_once() -> None:
    channel: Channel[int] = Channel(10)
    for item in range(5):
        channel.put(item)

    assert channel.take(3) == [0, 1, 2]
    assert channel.take(3) == [3, 4]


def test_a_channel_can_be_bounded_by_number() -> None:
    channel: Channel[str] = Channel(max_items=2)
    channel.put("a", cost=10**9)
    channel.put("b", cost=10**9)
    third = Thread(target=channel.put, args=("c",))

    third.start()
    assert channel.take() == ["a"]
    third.join(10)

    assert channel.take(2) == ["b", "c"]


def test_a_full_channel_makes_the_sender_wait_until_something_is_taken() -> None:
    channel: Channel[str] = Channel(100)
    assert channel.put("more than fits", cost=500)
    sent = Event()

    def send() -> None:
        channel.put("next", cost=1)
        sent.set()

    sender = Thread(target=send)
    sender.start()

    assert not sent.wait(0.05)
    assert channel.take() == ["more than fits"]
    assert sent.wait(10)
    sender.join()


def test_closing_wakes_both_sides_and_loses_nothing_that_is_inside() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    refused: list[bool] = []
    sender = Thread(target=lambda: refused.append(channel.put(2)))
    sender.start()

    channel.close()
    sender.join(10)

    assert refused == [False]
    assert channel.take() == [1]
    assert channel.take() == []


def test_a_receiver_waits_for_the_expected_items_and_no_longer() -> None:
    channel: Channel[str] = Channel(10)
    channel.expect(3)
    channel.put("a")
    taken: list[list[str]] = []
    taker = Thread(target=lambda: taken.append(channel.take(8, max_wait_seconds=60)))
    taker.start()
    channel.put("b")
    taker.join(0.05)
    assert taken == []
    channel.expect(-1)  # the third could not be made
    taker.join(30)
    assert taken == [["a", "b"]]


@pytest.mark.parametrize("how", ["enough", "full", "closed", "waited"])
def test_a_receiver_takes_the_present_items_when_it_has_no_reason_to_wait(how: str) -> None:
    channel: Channel[str] = Channel(3)
    channel.expect(100)
    channel.put("a")
    channel.put("b")
    if how == "full":
        channel.put("c", cost=5)
    if how == "closed":
        channel.close()
    at_most = 2 if how == "enough" else 8
    waits = 0.01 if how == "waited" else 60
    assert channel.take(at_most, max_wait_seconds=waits) == ["a", "b", "c"][: 3 if how == "full" else 2]


def test_several_items_are_put_at_once_as_far_as_there_is_room_for_each() -> None:
    channel: Channel[int] = Channel(max_items=2)
    put: list[bool] = []
    sender = Thread(target=lambda: put.append(channel.put_all((item, 1) for item in range(5))))
    sender.start()

    taken: list[int] = []
    while len(taken) < 4:
        taken += (some := channel.take(2))
        assert 0 < len(some) <= 2
    sender.join(10)
    assert put == [True]

    assert channel.put_all([]) is True
    channel.close()
    assert channel.put_all([(9, 1)]) is False
    assert [*taken, *channel.drain()] == list(range(5))


def test_a_receiver_is_not_woken_before_there_is_enough_to_take() -> None:
    channel: Channel[int] = Channel(100)
    channel.expect(8)
    channel.put(0)
    taken: list[list[int]] = []
    taker = Thread(target=lambda: taken.append(channel.take(8, max_wait_seconds=60)))
    taker.start()
    while not channel._wanted:
        time.sleep(0.001)

    with mock.patch.object(channel._has_items, "notify_all", wraps=channel._has_items.notify_all) as wakes:
        for item in range(1, 8):
            channel.put(item)
        taker.join(30)

    assert taken == [list(range(8))]
    assert wakes.call_count == 1


@pytest.mark.parametrize(("large", "expected"), [(10, [5]), (400, [2, 1, 2])])
def test_small_images_are_decoded_and_rendered_several_at_once_and_large_ones_alone(
    monkeypatch: pytest.MonkeyPatch, large: int, expected: list[int]
) -> None:
    monkeypatch.setattr(pipeline, "CHUNK_BYTES", 8 * pipeline.LEAST_BYTES)
    transport = OneShot(
        [
            submission(str(n), encoded(image_of(height, 500)), PROMPT)
            for n, height in enumerate([10, 10, large, 10, 10])
        ],
        group_size=5,
    )
    chunks: dict[str, list[int]] = {"_loaded": [], "_deliveries": []}

    def counting(name: str) -> Callable[[Any, Sequence[Any]], Any]:
        call = getattr(pipeline._Run, name)

        def counted(run: Any, chunk: Sequence[Any]) -> Any:
            chunks[name].append(len(chunk))
            return call(run, chunk)

        return counted

    for name in chunks:
        monkeypatch.setattr(pipeline._Run, name, counting(name))
    service_of(transport, batch_size=8).run(Event())

    assert list(transport.delivered) == list("01234")
    assert chunks == {"_loaded": expected, "_deliveries": expected}


def test_batches_fill_although_images_are_decoded_one_by_one() -> None:
    segmenter = BoxSegmenter()
    service = replace(service_of(waiting(*"abcdefgh"), segmenter, 4), max_wait_seconds=60, io_threads=3)
    service.run(Event())
    assert segmenter.batches == [4, 4]


def test_an_odd_image_does_not_wait_for_a_batch_that_never_fills() -> None:
    segmenter = BoxSegmenter()
    transport = waiting(*"abcde")
    transport.waiting.insert(2, submission("bad", b"no image", PROMPT))
    replace(service_of(transport, segmenter, 4), max_wait_seconds=60).run(Event())
    assert sum(segmenter.batches) == 5
    assert list(transport.rejected) == ["bad"]


def test_results_come_in_the_order_of_the_submissions_however_long_each_takes_to_decode() -> None:
    transport = waiting(*"abcdefgh")
    service = service_of(transport, batch_size=1)

    def slower_first(submission: Submission) -> Job:
        time.sleep((ord("h") - ord(submission.name)) / 200)
        return service.decode(submission)

    replace(service, decode=slower_first, io_threads=4).run(Event())
    assert list(transport.delivered) == list("abcdefgh")


def test_two_receivers_share_the_items_and_both_end() -> None:
    channel: Channel[int] = Channel(100)
    taken: list[int] = []

    def take() -> None:
        while items := channel.take(4, max_wait_seconds=0.01):
            taken.extend(items)

    takers = [Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    channel.expect(1000)
    for number in range(500):
        channel.put(number)
    channel.close()
    for taker in takers:
        taker.join(30)
    assert sorted(taken) == list(range(500))


def test_two_executors_do_each_submission_once_and_end_together() -> None:
    transport = waiting(*(f"s{number}" for number in range(40)))
    transport.waiting[20] = replace(transport.waiting[20], alone=True)
    replace(service_of(transport, batch_size=3), executors=2, io_threads=2, max_wait_seconds=0.05).run(
        Event()
    )
    assert sorted(transport.delivered) == sorted(f"s{number}" for number in range(40))
    assert len(transport._open) == 0


@pytest.mark.parametrize("slow", ["model", "cleaning", "format"])
def test_a_job_with_many_prompts_is_no_stalled_service(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    health = Health({}, stall_seconds=60, looks_around=True)
    was_healthy: list[bool] = []

    def work() -> None:
        clock[0] += 50
        was_healthy.append(health.is_healthy)

    class Slow(BoxSegmenter):
        def decode_into(self, job: Sequence[tuple[RgbImage, Sequence[Prompt]]], take: TakeMasks) -> None:
            for number, masks in enumerate(self.decode(job)[0]):
                if slow == "model":
                    work()
                take(0, number, masks)

    def cleaned(segmentation: Segmentation) -> Segmentation:
        for _ in segmentation.masks if slow == "cleaning" else ():
            work()
        return segmentation

    class SlowFormat(PngMask):
        def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
            for _ in segmentation.masks if slow == "format" else ():
                work()
            return super().render(segmentation, earlier)

    prompts = b'{"prompts": [' + b", ".join([PROMPT] * 10) + b"]}"
    [only] = [submission("a", encoded(image_of()), prompts)]
    transport = OneShot([only])
    service = replace(
        service_of(transport, Slow()), formats=[SlowFormat(), Opex()], clean=cleaned, emit=health
    )
    health(ModelLoaded(ModelInfo("slow")))
    health(JobStarted(only))

    service.run(Event())

    assert was_healthy == [True] * 10
    assert len(transport.delivered["a"]) == 11


@pytest.mark.parametrize("executors", [1, 2])
@pytest.mark.parametrize("stage", ["loader", "renderer", "executor"])
def test_a_bug_in_a_pool_ends_the_service_instead_of_hanging_it(stage: str, executors: int) -> None:
    class Broken(BoxSegmenter):
        def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
            raise ModelUnavailable("broken")

    def broken(*_: object) -> Any:
        raise KeyboardInterrupt("broken")  # no Exception: nobody may take it for a job's fault

    transport = waiting(*"abcdefgh")
    service = service_of(transport, Broken() if stage == "executor" else None, batch_size=2)
    service = replace(service, executors=executors, io_threads=2)
    if stage == "loader":
        service = replace(service, decode=broken)
    if stage == "renderer":
        png = PngMask()
        png.render = broken  # type: ignore[method-assign, assignment]
        service = replace(service, formats=[png, Opex()])
    with pytest.raises((KeyboardInterrupt, ModelUnavailable), match="broken"):
        service.run(Event())
    assert transport.delivered == {}
