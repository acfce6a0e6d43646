"""`sampoll serve redis` as a process, and the replies that known clients get from it."""

import base64
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from opex import ObjectPredictions
from support.fakes import POISON_HEIGHT
from support.images import encoded, image_of, turned_image
from support.process import busy_processes, until
from support.redis_clients import Annotator, LateSubscriber, classic_request, next_reply
from support.redis_servers import SERVERS, Server, running_server, server_name
from support.redis_serving import BOX, IMAGE, box_mask, mask_in, request, serving


@pytest.mark.parametrize("program", SERVERS, ids=server_name)
def test_known_clients_get_the_same_replies_as_before(tmp_path: Path, program: str) -> None:
    with (
        running_server(program) as server,
        serving(tmp_path, server.port) as service,
        server.client() as client,
    ):
        annotator = Annotator(client)

        [outline] = annotator.ask(IMAGE, BOX)
        mask = LateSubscriber(client).ask(IMAGE, BOX)

        assert service.end() == 0
    assert np.array_equal(mask, box_mask())
    assert {tuple(point) for point in outline} == {(4, 4), (4, 15), (19, 15), (19, 4)}
    [reply] = annotator.replies
    assert reply["meta"]["prompt"] == BOX
    assert reply["meta"]["segmenter"].keys() == {"type", "model_type", "model_file"}
    assert all(len(line) <= 76 for line in reply["mask"].splitlines())
    assert reply["mask"].endswith("\n")
    opex = ObjectPredictions.from_json_string(json.dumps(reply["opex"]))
    assert [(o.label, o.bbox.left, o.bbox.right) for o in opex.objects] == [("object", 4, 19)]


SPOILED = {
    "no JSON": "{",
    "no object": "[1]",
    "no keys": "{}",
    "no base64": json.dumps({"image": "!", "prompt": BOX}),
    "no prompt": json.dumps({"image": base64.b64encode(IMAGE).decode()}),
    "no image": classic_request(b"no image", BOX),
    "half an image": classic_request(IMAGE[:-20], BOX),
    "a bad prompt": classic_request(IMAGE, {"points": "none"}),
    "an unknown key": classic_request(IMAGE, {**BOX, "colour": "red"}),
    "a bad id": request(id=[]),
    "a bad channel": request(reply_to=""),
}


def test_every_error_is_one_reply_that_old_clients_survive(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    whole = {"half an image", "a bad prompt", "an unknown key"}
    with serving(tmp_path, server.port) as service, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        for what, message in SPOILED.items():
            client.publish("sam_in", message)

            reply = next_reply(pubsub)

            assert reply["contours"] == [], what
            assert reply["meta"]["error"], what
            assert not mask_in(reply).any(), what
            assert mask_in(reply).shape == ((24, 32) if what in whole else (1, 1)), what
        assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        next_reply(pubsub)
        assert pubsub.get_message(timeout=1) is None
        assert service.end() == 0
    assert f"1 done, {len(SPOILED)} failed" in service.log


def test_an_error_does_not_overtake_the_answer_to_an_earlier_request(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    """Old clients have no ids: they take the next message for the answer to their last request."""
    other = {"box": {"x0": 1, "y0": 2, "x1": 9, "y1": 8}}
    with serving(tmp_path, server.port, model="slow") as service, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        for message in (request(), "{", request(prompt=other), request(prompt={"points": "none"}), request()):
            client.publish("sam_in", message)

        replies = [next_reply(pubsub) for _ in range(5)]

        assert service.end() == 0
    kinds = [reply["meta"].get("error_code") or reply["meta"]["prompt"] for reply in replies]
    assert kinds == [BOX, "bad-request", other, "bad-prompt", BOX]


@pytest.mark.slow
@pytest.mark.parametrize("others", [0, 2])
def test_sixty_large_messages_at_once_are_all_answered(
    tmp_path: Path, server: Server, client: "redis.Redis", others: int
) -> None:
    """They are five times what the server keeps for a subscriber that falls behind, and come while the
    service works, beside `others` busy programs."""
    limits = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
    assert "pubsub 33554432" in str(limits)
    padding = bytes(2 * 10**6 - len(IMAGE))  # after a JPEG's end, anything may come
    message = classic_request(IMAGE + padding, BOX)
    with (
        busy_processes(others),
        serving(tmp_path, server.port, model="busy") as service,
        client.pubsub() as pubsub,
    ):
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        for _ in range(60):
            client.publish("sam_in", message)

        replies = [next_reply(pubsub) for _ in range(60)]

        assert service.end() == 0
    assert all("error" not in reply["meta"] for reply in replies)
    assert "60 done, 0 failed" in service.log
    assert "0 gaps" in service.log


def test_a_reply_is_kept_for_a_client_that_never_subscribed(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    with serving(tmp_path, server.port, "--reply-ttl", 100) as service:
        client.publish("sam_in", request(id="late"))
        until(lambda: client.exists("sam_out:reply:late"), "the reply to be kept")
        kept = json.loads(client.get("sam_out:reply:late") or b"")
        seconds = client.ttl("sam_out:reply:late")
        until(lambda: "a reply reached no client" in service.log, "the log to say that nobody heard it")
        service.end()

    assert np.array_equal(mask_in(kept), box_mask())
    assert 90 < seconds <= 100


def test_each_client_with_a_reply_to_gets_only_its_own_replies(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    def user(name: str) -> list[dict[str, Any]]:
        with server.client() as own, own.pubsub() as pubsub:
            pubsub.subscribe(f"replies-{name}")
            pubsub.get_message(timeout=5)
            for number in range(30):
                own.publish("sam_in", request(id=number, reply_to=f"replies-{name}", owner=name))
            replies = [next_reply(pubsub) for _ in range(30)]
            assert pubsub.get_message(timeout=0.5) is None
            return replies

    with serving(tmp_path, server.port), client.pubsub() as common, ThreadPoolExecutor(2) as both:
        common.subscribe("sam_out")
        common.get_message(timeout=5)
        ours, theirs = both.map(user, ["a", "b"])

        assert common.get_message(timeout=0.5) is None
    assert [reply["id"] for reply in ours] == [reply["id"] for reply in theirs] == list(range(30))


def test_fifty_clicks_on_one_image_cost_one_embedding(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    embedded = tmp_path / "embedded"
    env = {"FAKES_EMBEDDED": str(embedded)}
    annotator = Annotator(client)
    with serving(tmp_path, server.port, model="counted", env=env):
        for click in range(50):
            prompt = {"box": {"x0": 0, "y0": 0, "x1": 2 + click % 20, "y1": 5}}
            [outline] = annotator.ask(IMAGE, prompt)
            assert np.ptp(outline, axis=0).tolist() == [1 + click % 20, 4]

    assert embedded.read_text().splitlines() == ["embedded"]


def test_requests_that_come_together_go_through_the_model_together(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    batches = tmp_path / "batches"
    env = {"FAKES_EMBEDDED": str(batches)}
    with (
        serving(tmp_path, server.port, "--batch-size", 8, model="batched", env=env),
        client.pubsub() as pubsub,
    ):
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        for seed in range(17):
            client.publish("sam_in", classic_request(encoded(image_of(seed=seed), "JPEG"), BOX))
        for _ in range(17):
            next_reply(pubsub)

    sizes = [int(line) for line in batches.read_text().splitlines()]
    assert sum(sizes) == 17
    # Those that come while the first ones are worked on fill batches.
    assert max(sizes) == 8
    assert len(sizes) <= 4


def test_requests_that_wait_when_the_service_stops_get_an_error(
    tmp_path: Path, server: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    poison = encoded(image_of(height=POISON_HEIGHT), "JPEG")
    started, go = gate
    with serving(tmp_path, server.port, model="waiting") as service, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        client.publish("sam_in", classic_request(poison, BOX))
        until(started.exists, "the model to be busy")
        for number in range(100):
            client.publish("sam_in", request(id=number))
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in service.log, "the service to stop")
        go.touch()

        replies = [next_reply(pubsub) for _ in range(101)]

        assert service.process.wait(30) == 0
    assert {reply["meta"].get("error_code") for reply in replies} == {None, "stopped"}
    assert sorted(reply["id"] for reply in replies if "id" in reply) == list(range(100))


def test_many_prompts_make_one_mask_and_all_contours(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    other = {"box": {"x0": 22, "y0": 2, "x1": 30, "y1": 20}}
    line = {"box": {"x0": 1, "y0": 22, "x1": 9, "y1": 23}}
    with serving(tmp_path, server.port), client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        message = {"prompts": [BOX, other, line]}
        client.publish("sam_in", classic_request(IMAGE, message))
        reply = next_reply(pubsub)

    assert np.array_equal(mask_in(reply), box_mask() | box_mask(other) | box_mask(line))
    # The line has no height: the mask has it, and OPEX, but no contour.
    assert len(reply["contours"]) == 2
    assert len(reply["opex"]["objects"]) == 3


def test_the_reply_names_the_prompts_that_were_skipped(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    far = {"box": {"x0": 42, "y0": 2, "x1": 50, "y1": 20}, "id": "far"}
    with (
        serving(tmp_path, server.port, "--on-bad-prompt", "skip") as service,
        client.pubsub() as pubsub,
    ):
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        client.publish("sam_in", request(id="a", prompt={"prompts": [far, BOX]}))
        reply = next_reply(pubsub)
        client.publish("sam_in", request(id="b", prompt={"prompts": [far, {}]}))
        failed = next_reply(pubsub)
        service.end()

    message = "prompt: prompts[0].box: lies outside the image of 32x24 pixels"
    skipped = {"prompt": 0, "id": "far", "field": "prompts[0].box", "message": message}
    assert reply["meta"]["skipped_prompts"] == [skipped]
    assert json.loads(reply["opex"]["meta"]["skipped"]) == [skipped]
    assert np.array_equal(mask_in(reply), box_mask())
    assert failed["meta"]["error_code"] == "bad-prompt"
    assert "none of the 2 prompts can be used" in failed["meta"]["error"]
    assert "1 bad prompt skipped" in service.log


def test_a_pattern_may_match_the_channel_of_the_replies(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    with serving(tmp_path, server.port, "--redis-in", "sam_*") as service:
        assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        client.publish("sam_out", "of somebody else")
        assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        service.end()
    assert "2 done, 0 failed" in service.log


def test_masks_are_in_the_upright_frame_unless_exif_is_ignored(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    image = turned_image()
    shapes = {}
    for exif in ("apply", "ignore"):
        with serving(tmp_path, server.port, "--exif", exif):
            good = LateSubscriber(client).ask(image, BOX)
            bad = LateSubscriber(client).ask(image, {"points": "none"})
        assert good.shape == bad.shape
        shapes[exif] = good.shape

    assert shapes == {"apply": (32, 24), "ignore": (24, 32)}
