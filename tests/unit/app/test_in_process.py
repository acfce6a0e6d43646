import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
from support import fakes
from support.folders import BOX
from support.images import encoded, image_of
from support.segmenters import BoxSegmenter

from sampoll.app.in_process import InProcess, Kept
from sampoll.app.keyword_settings import settings_of
from sampoll.core.errors import BadImage, ModelUnavailable, Stopped
from sampoll.core.events import BatchDone, BatchStarted
from sampoll.core.events import Event as AnyEvent
from sampoll.core.jobs import Submission
from sampoll.core.protocols import Format
from sampoll.formats.opex import Opex
from sampoll.formats.png import PngMask
from sampoll.transports.memory import submission

PROMPT = json.dumps(BOX).encode()


def job(name: str, seed: int = 0) -> Submission:
    return submission(name, encoded(image_of(seed=seed)), PROMPT)


@pytest.fixture
def service() -> Iterator[InProcess]:
    service = InProcess(settings_of({"model": "support.fakes:boxes"}))
    yield service
    service.close()


def test_each_submission_is_rendered_in_its_own_formats_and_in_those_of_all() -> None:
    service = InProcess(settings_of({"model": "support.fakes:boxes"}), formats=[PngMask()])
    asked: list[list[Format]] = [[], [Opex()]]

    futures = [service.submit(job("a"), formats) for formats in asked]

    suffixes = [[each.suffix for each in future.result(30).artifacts] for future in futures]
    assert suffixes == [[".png"], [".png", ".json"]]
    service.close()


def test_a_kept_segmentation_has_its_masks_cleaned() -> None:
    service = InProcess(settings_of({"model": "support.fakes:boxes", "min_object_size": 1000}))
    kept = Kept()

    assert service.submit(job("a"), [kept]).result(30).artifacts == ()

    assert kept.segmentation is not None
    [[mask]] = kept.segmentation.masks
    assert (mask.box, type(kept.segmentation.masks)) == (None, tuple)
    service.close()


def test_an_image_may_be_pixels_which_are_not_decoded(service: InProcess) -> None:
    pixels = image_of(30, 40)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    kept, picture = Kept(), PngMask()
    alone = replace(job("a"), image=b"", pixels=pixels, image_sha256=digest)

    service.submit(alone, [picture, kept]).result(30)

    assert kept.segmentation is not None
    assert kept.segmentation.size == (30, 40)
    assert kept.segmentation.pixels is pixels


def test_pixels_count_against_the_limit_for_images() -> None:
    service = InProcess(settings_of({"model": "support.fakes:boxes", "max_pixels": 100}))

    future = service.submit(replace(job("a"), image=b"", pixels=image_of(30, 40)))

    with pytest.raises(BadImage, match=r"a.jpg: is 40x30, more than 100 pixels \(--max-pixels\)"):
        future.result(30)
    service.close()


def test_an_image_that_comes_again_is_embedded_once() -> None:
    batches: list[BatchDone] = []

    def listen(event: AnyEvent) -> None:
        if isinstance(event, BatchDone):
            batches.append(event)

    service = InProcess(settings_of({"model": "support.fakes:kept"}), emit=listen)
    pixels = [replace(job(name), image=b"", pixels=image_of(), image_sha256="ab" * 32) for name in "ab"]

    for each in pixels:
        service.submit(each).result(30)

    assert [batch.known for batch in batches] == [0, 1]
    service.close()


def test_submissions_of_several_threads_share_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, started, go = BoxSegmenter(), Event(), Event()
    monkeypatch.setattr(fakes, "boxes", lambda _: segmenter)

    def hold_the_first(event: AnyEvent) -> None:
        if isinstance(event, BatchStarted) and not started.is_set():
            started.set()
            assert go.wait(30)

    service = InProcess(settings_of({"model": "support.fakes:boxes", "batch_size": 4}), emit=hold_the_first)
    first = service.submit(job("first", 9))
    assert started.wait(30)
    with ThreadPoolExecutor(4) as threads:
        others = list(threads.map(lambda seed: service.submit(job(str(seed), seed)), range(4)))
    go.set()
    for future in [first, *others]:
        future.result(30)

    assert len(segmenter.batches) < 5
    service.close()


def test_a_closed_service_takes_nothing_more(service: InProcess) -> None:
    service.close()

    assert service.ended.result(0) is None
    with pytest.raises(Stopped, match="is closed, and takes nothing more"):
        service.submit(job("a"))


def test_what_ends_the_service_is_raised_to_everybody() -> None:
    service = InProcess(settings_of({"model": "support.fakes:lost"}))
    poison = submission("a", encoded(image_of(fakes.POISON_HEIGHT, 40)), PROMPT)

    with pytest.raises(ModelUnavailable, match="the CUDA device failed"):
        service.submit(poison).result(30)
    assert isinstance(service.ended.exception(30), ModelUnavailable)
    with pytest.raises(ModelUnavailable):
        service.submit(job("b"))
    service.close()


def test_a_model_that_cannot_be_loaded_is_said_at_once() -> None:
    with pytest.raises(ModelUnavailable):
        InProcess(settings_of({"model": "vit_b", "checkpoint": "/nowhere/vit_b.pth"}))
