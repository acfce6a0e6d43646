"""`sampoll serve redis` as a process, with real servers and with clients as they are known to be."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import trustme
from fakes import POISON_HEIGHT
from opex import ObjectPredictions
from PIL import Image
from redis_clients import Annotator, LateSubscriber, classic_request, next_reply
from redis_servers import SERVERS, VALKEY, Server, proxy_to, running_server, server_name
from support import SAMPOLL, encoded, environment, image_of, sampoll, turned_image, until

BOX = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}
IMAGE = encoded(image_of(), "JPEG")


@dataclass
class Service:
    """The process, and what it has logged so far."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def serving(
    tmp_path: Path, port: int, *flags: object, model: str = "boxes", env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """The service, once it is subscribed."""
    log_file = tmp_path / "serve.log"
    command = [SAMPOLL, "serve", "redis", "--redis-port", port, "--model", f"fakes:{model}", *flags]
    with log_file.open("wb") as log:
        process = subprocess.Popen([*map(str, command)], env=environment(env), stdout=log, stderr=log)
    service = Service(process, log_file)
    try:
        until(lambda: ": ready" in service.log or process.poll() is not None, "the service to be ready")
        until(
            lambda: "subscribed to" in service.log or process.poll() is not None,
            "the service to be subscribed",
        )
        yield service
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator["redis.Redis"]:
    with server.client() as client:
        client.flushall()
        yield client


def box_mask(prompt: Any = BOX, shape: tuple[int, int] = (24, 32)) -> np.ndarray[Any, Any]:
    mask = np.zeros(shape, np.bool_)
    box = prompt["box"]
    mask[int(box["y0"]) : int(box["y1"]), int(box["x0"]) : int(box["x1"])] = True
    return mask


def mask_in(reply: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(base64.b64decode(reply["mask"]))) as image:
        assert image.mode == "1"
        return np.asarray(image)


def request(**more: object) -> str:
    return json.dumps({"image": base64.b64encode(IMAGE).decode(), "prompt": BOX, **more})


@pytest.mark.parametrize("program", SERVERS, ids=server_name)
def test_the_known_clients_get_what_they_have_always_got(tmp_path: Path, program: str) -> None:
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


def test_sixty_large_messages_at_once_are_all_answered(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    """At 0.4 s each, the server's limit for a subscriber that falls behind is reached many times over."""
    padding = bytes(2 * 10**6 - len(IMAGE))  # after a JPEG's end, anything may come
    with serving(tmp_path, server.port, model="slow") as service, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        for _ in range(60):
            client.publish("sam_in", classic_request(IMAGE + padding, BOX))

        replies = [next_reply(pubsub) for _ in range(60)]

        assert service.end() == 0
    assert all("error" not in reply["meta"] for reply in replies)
    assert "60 done, 0 failed" in service.log
    assert "0 gaps" in service.log


def test_a_server_that_is_killed_is_found_again_and_the_gap_is_told(tmp_path: Path) -> None:
    with running_server() as server, serving(tmp_path, server.port) as service:
        with server.client() as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        server.kill()
        until(lambda: "no subscription to" in service.log, "the loss to be noticed")
        server.start()
        until(lambda: "again; what was published in the last" in service.log, "the new subscription")
        with server.client() as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1

        assert service.end() == 0
    assert "2 done, 0 failed" in service.log
    assert "1 gaps in the subscription" in service.log


def test_a_service_may_start_before_its_server(tmp_path: Path) -> None:
    with running_server() as server:
        server.kill()
        command = [SAMPOLL, "serve", "redis", "--redis-port", server.port, "--model", "fakes:boxes"]
        log_file = tmp_path / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen([*map(str, command)], env=environment(), stdout=log, stderr=log)
        try:
            until(lambda: "no subscription to" in log_file.read_text(), "the service to say so")
            server.start()
            with server.client() as client:
                until(lambda: client.pubsub_numpat() == 1, "the subscription")
                assert len(Annotator(client).ask(IMAGE, BOX)) == 1
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def test_a_password_is_needed_and_is_never_shown(tmp_path: Path) -> None:
    secret = "open-sesame"
    (tmp_path / "secret").write_text(f"{secret}\n")
    (tmp_path / "wrong").write_text("open-barley")
    with running_server(VALKEY, "--requirepass", secret) as server:
        flags = ("serve", "redis", "--redis-port", server.port, "--model", "fakes:boxes")
        without = sampoll(*flags)
        wrong = sampoll(*flags, "--redis-password-file", tmp_path / "wrong")
        url = f"redis://:{secret}@127.0.0.1:{server.port}/0"
        shown = sampoll("serve", "redis", "--print-config", env={"SAMPOLL_REDIS_PASSWORD": secret})
        shown_url = sampoll("serve", "redis", "--print-config", "--redis-url", url)
        with serving(tmp_path, server.port, "--redis-password-file", tmp_path / "secret") as by_file:
            assert by_file.end() == 0
        with serving(tmp_path, server.port, env={"SAMPOLL_REDIS_PASSWORD": secret}) as service:
            with server.client(password=secret) as client:
                assert len(Annotator(client).ask(IMAGE, BOX)) == 1
            assert service.end() == 0

    assert without.returncode == wrong.returncode == 77
    assert "refuses: Authentication required" in without.stderr
    assert "--redis-password-file" in without.stderr
    assert shown.returncode == shown_url.returncode == 0
    for text in (wrong.stderr, shown.stdout, shown_url.stdout, service.log, by_file.log):
        assert secret not in text
        assert "open-barley" not in text


def test_the_rights_to_subscribe_and_publish_are_enough_and_less_is_fatal(tmp_path: Path) -> None:
    rights = "reset on >p +psubscribe +publish"
    with running_server() as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "sam", *rights.split(), "&sam_in", "&sam_out")
        client.execute_command("ACL", "SETUSER", "deaf", *rights.split(), "&sam_out")
        client.execute_command("ACL", "SETUSER", "mute", *rights.split(), "&sam_in")
        env = {"SAMPOLL_REDIS_PASSWORD": "p"}
        deaf = sampoll(
            *("serve", "redis", "--redis-port", server.port, "--redis-username", "deaf"),
            *("--model", "fakes:boxes"),
            env=env,
        )
        with serving(tmp_path, server.port, "--redis-username", "mute", env=env) as mute:
            client.publish("sam_in", classic_request(IMAGE, BOX))
            assert mute.process.wait(30) == 77
        assert "No permissions" in mute.log or "no permissions" in mute.log
        with serving(tmp_path, server.port, "--redis-username", "sam", env=env) as service:
            with client.pubsub() as pubsub:
                pubsub.subscribe("sam_out", "elsewhere")
                client.publish("sam_in", request(id="kept"))
                reply = next_reply(pubsub)
                client.publish("sam_in", request(id="lost", reply_to="elsewhere"))
                until(lambda: "a reply for elsewhere is lost" in service.log, "the loss to be told")
                client.publish("sam_in", request(id="next"))
                following = next_reply(pubsub)
            assert service.end() == 0

    assert deaf.returncode == 77
    assert "error" not in reply["meta"]
    assert following["id"] == "next"
    assert "replies are not kept for late subscribers" in service.log
    assert "1 replies lost" in service.log


def test_while_the_server_loads_its_data_the_service_waits(tmp_path: Path) -> None:
    with running_server(VALKEY, "--save", "3600 1") as server, serving(tmp_path, server.port) as service:
        with server.client() as client:
            for number in range(100):
                client.set(f"key{number}", os.urandom(1000))
            client.save()
        server.kill()
        server.start(
            *("--key-load-delay", "15000", "--loading-process-events-interval-bytes", "1024"), wait=False
        )
        until(lambda: "again; what was published" in service.log, "the new subscription")
        with server.client() as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        assert service.end() == 0
    assert "1 gaps in the subscription" in service.log
    assert "1 done, 0 failed" in service.log


def fill(client: "redis.Redis") -> None:
    for number in range(10_000):
        client.set(f"key{number}", bytes(1000))


def test_a_full_server_keeps_no_replies_but_passes_them_on(tmp_path: Path) -> None:
    options = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with (
        running_server(VALKEY, *options) as server,
        server.client() as client,
        serving(tmp_path, server.port) as service,
        client.pubsub() as pubsub,
    ):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client)
        pubsub.subscribe("sam_out")
        client.publish("sam_in", request(id="a"))
        assert "error" not in next_reply(pubsub)["meta"]
        client.publish("sam_in", request(id="b"))
        assert "error" not in next_reply(pubsub)["meta"]
        assert client.get("sam_out:reply:a") is None
        assert service.end() == 0
    assert service.log.count("replies are not kept for late subscribers") == 1


def test_a_network_that_stalls_loses_nothing(tmp_path: Path, server: Server, client: "redis.Redis") -> None:
    with proxy_to(server.port) as proxy, serving(tmp_path, proxy.port) as service, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        proxy.stall()
        for number in range(20):
            client.publish("sam_in", request(id=f"stalled {number}"))
        assert pubsub.get_message(timeout=2) is None
        proxy.resume()

        ids = [next_reply(pubsub)["id"] for _ in range(20)]

        assert service.end() == 0
    assert ids == [f"stalled {number}" for number in range(20)]
    assert "0 gaps" in service.log


def test_a_reply_is_kept_for_those_who_never_subscribed(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    with serving(tmp_path, server.port, "--reply-ttl", 100) as service:
        client.publish("sam_in", request(id="late"))
        until(lambda: client.exists("sam_out:reply:late"), "the reply to be kept")
        kept = json.loads(client.get("sam_out:reply:late") or b"")
        seconds = client.ttl("sam_out:reply:late")
        until(lambda: "was heard by no one" in service.log, "the log to say that nobody heard it")
        service.end()

    assert np.array_equal(mask_in(kept), box_mask())
    assert 90 < seconds <= 100


def test_the_replies_of_two_users_do_not_cross(tmp_path: Path, server: Server, client: "redis.Redis") -> None:
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


def test_who_waits_when_the_service_stops_is_told(
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


def test_a_pattern_may_match_the_channel_of_the_replies(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    with serving(tmp_path, server.port, "--redis-in", "sam_*") as service:
        assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        client.publish("sam_out", "of somebody else")
        assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        service.end()
    assert "2 done, 0 failed" in service.log


def test_tls(tmp_path: Path, server: Server, client: "redis.Redis") -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with proxy_to(server.port, (tmp_path / "cert.pem", tmp_path / "key.pem")) as proxy:
        command = ("serve", "redis", "--model", "fakes:boxes", "--redis-url")
        url = f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        log_file = tmp_path / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen([SAMPOLL, *command, url], env=environment(), stdout=log, stderr=log)
        try:
            until(lambda: ": ready" in log_file.read_text(), "the service")
            until(lambda: client.pubsub_numpat() == 1, "the subscription")
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def test_the_upright_frame_or_the_frame_of_the_file(
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


def test_an_embedded_server_is_nowhere_else() -> None:
    run = sampoll("serve", "redis", "--embedded", "--redis-url", "redis://b", "--model", "fakes:boxes")

    assert run.returncode == 2
    assert "leave redis-url and redis-host out" in run.stderr


def test_two_places_at_once_are_refused() -> None:
    run = sampoll(
        "serve", "redis", "--redis-url", "redis://a:p@b/0", "--redis-port", 1, "--model", "fakes:boxes"
    )

    assert run.returncode == 78
    assert run.stderr == "sampoll: redis-url says where Redis is, and redis-port too: leave one of them out\n"


def test_an_embedded_server_needs_nothing_else(tmp_path: Path) -> None:
    port = Server().port
    with serving(tmp_path, port, "--embedded") as service:
        with redis.Redis(port=port) as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        assert service.end(signal.SIGINT) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_an_embedded_server_finds_its_port_taken(server: Server) -> None:
    run = sampoll("serve", "redis", "--embedded", "--redis-port", server.port, "--model", "fakes:boxes")

    assert run.returncode == 69
    assert "perhaps another one has the port" in run.stderr
