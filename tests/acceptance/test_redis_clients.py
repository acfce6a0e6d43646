"""`sampoll send` and `sampoll recv`, and the old test commands, with real servers and services."""

import base64
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from support.folders import BOX, Folders, drop_pair, names_in, read_opex
from support.images import encoded, image_of, read_mask
from support.process import environment, running_sampoll, sampoll, until
from support.redis_clients import classic_request, next_reply
from support.redis_servers import Server, running_server
from support.stream_working import worker

from sampoll.core.wording import counted

BIN = Path(sys.executable).parent
IMAGE = encoded(image_of(), "JPEG")


SERVED = ("--model", "support.fakes:words", "--default-prompt", "text:cat")


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """A server with a service on it."""
    with (
        running_server() as server,
        running_sampoll("serve", "redis", "--redis-port", server.port, *SERVED),
        server.client() as client,
    ):
        until(lambda: client.pubsub_numpat() == 1, "the service")
        yield server


def send(server: Server, *arguments: object) -> subprocess.CompletedProcess[str]:
    return sampoll("send", "--redis-port", server.port, *arguments)


def test_images_without_a_prompt_get_the_default_one_of_the_service(served: Server, folders: Folders) -> None:
    (folders.input / "a.jpg").write_bytes(IMAGE)
    drop_pair(folders.input, "own", {**BOX, "label": "own"})

    run = send(served, folders.input, "--without-prompt", "-o", folders.output)

    assert run.returncode == 0, run.stderr
    labels = [read_opex(folders.output / f"{name}.json").objects[0].label for name in ("a", "own")]
    assert labels == ["cat", "own"]


def test_a_folder_comes_back_as_sampoll_run_would_have_written_it(
    served: Server, folders: Folders, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    (photos / "below").mkdir(parents=True)
    for number in range(20):
        drop_pair(photos, f"p{number}")
    drop_pair(photos / "below", "several", {"prompts": [BOX, BOX, {**BOX, "label": "cat"}]})
    shutil.copytree(photos, folders.input, dirs_exist_ok=True)

    sent = send(served, photos, "-o", tmp_path / "results")
    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--recursive")

    assert sent.returncode == run.returncode == 0, sent.stderr
    assert sent.stdout == "21 done, 0 failed\n"
    assert names_in(tmp_path / "results") == folders.results
    assert names_in(tmp_path / "results" / "below") == names_in(folders.output / "below")
    for path in sorted((tmp_path / "results").rglob("*.png")):
        assert path.read_bytes() == (folders.output / path.relative_to(tmp_path / "results")).read_bytes()
    opex = read_opex(tmp_path / "results" / "below" / "several.json")
    assert [o.label for o in opex.objects] == ["object", "object", "cat"]
    assert opex.id == "below/several"


def test_failed_images_are_named_and_the_others_are_done(served: Server, tmp_path: Path) -> None:
    drop_pair(tmp_path, "good")
    drop_pair(tmp_path, "bad", {"points": "none"})
    drop_pair(tmp_path, "broken")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "alone.jpg").write_bytes(IMAGE)

    run = send(served, tmp_path, "-o", tmp_path / "results")

    assert run.returncode == 1
    assert run.stdout == "1 done, 3 failed\n"
    assert names_in(tmp_path / "results") == ["good.json", "good.png"]
    assert "bad: prompt: points: must be a list" in run.stderr
    assert "broken.json: is not JSON in UTF-8" in run.stderr
    assert "alone.jpg: has no prompt: one is needed beside it, alone and .json or .prompt" in run.stderr


def test_images_of_a_pattern_share_one_prompt_and_equal_names_are_versioned(
    served: Server, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.jpg").write_bytes(IMAGE)
    (tmp_path / "prompt.json").write_text(json.dumps(BOX))

    run = send(
        served, tmp_path / "*" / "*.jpg", "--prompt", tmp_path / "prompt.json", "-o", tmp_path / "results"
    )

    assert run.returncode == 0, run.stderr
    assert names_in(tmp_path / "results") == ["same.json", "same.png", "same~2.json", "same~2.png"]


def test_without_an_output_send_leaves_the_replies_to_recv(served: Server, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b", "c"):
        drop_pair(photos, name)
    drop_pair(photos, "spoiled", {"points": "none"})
    received = tmp_path / "received"
    with (
        served.client() as client,
        running_sampoll("recv", "--redis-port", served.port, "-o", received, "--count", 4) as receiver,
    ):
        until(lambda: client.pubsub_numpat() == 2, "the receiver")

        run = send(served, photos)

        assert receiver.wait(30) == 1  # one of the replies is an error
    assert run.stdout == "4 sent, 0 failed\n"
    assert names_in(received) == ["a.json", "a.png", "b.json", "b.png", "c.json", "c.png"]
    assert read_mask(received / "a.png").sum() == 16 * 12
    assert read_opex(received / "a.json").id == "a"


def assert_records_name_what_is_there(results: Path, photos: Path) -> None:
    """Every record has its own name as its id, and its files and its image are where it says."""
    for path in results.rglob("*.json"):
        document = json.loads(path.read_text())
        meta = document["meta"]
        assert document["id"] == path.relative_to(results).with_suffix("").as_posix()
        files = json.loads(meta["files"])
        assert set(files) == {
            str(mask.relative_to(results)) for mask in path.parent.glob(f"{path.stem}.*") if mask != path
        }
        for name, sha256 in files.items():
            assert hashlib.sha256((results / name).read_bytes()).hexdigest() == sha256
        image = photos / meta["image_path"]
        assert image.name == meta["image_file"]
        assert hashlib.sha256(image.read_bytes()).hexdigest() == meta["image_sha256"]


def assert_exports_fit(results: Path, photos: Path, count: int) -> None:
    formats = ("--format", "coco", "--format", "yolo", "--format", "labelme")
    run = sampoll("export", *formats, "--images", photos, results)
    report = sampoll("report", results, "--images", photos)

    assert report.stderr == ""
    assert (run.returncode, report.returncode) == (0, 0), run.stderr + report.stderr
    assert report.stdout == f"{results}/report.html: {counted(count, 'result')}\n"
    pictures = re.findall(r'<img[^>]* src="([^"]+)"', (results / "report.html").read_text())
    assert len(pictures) == count
    assert all((results / unquote(picture)).is_file() for picture in pictures)
    document = json.loads((results / "coco/instances.json").read_text())
    assert len(document["images"]) == count
    assert all((photos / image["file_name"]).is_file() for image in document["images"])
    for path in (results / "labelme").rglob("*.json"):
        assert (path.parent / json.loads(path.read_text())["imagePath"]).resolve().is_file()


def test_results_that_were_sent_for_can_be_reported_and_exported(served: Server, tmp_path: Path) -> None:
    photos, results = tmp_path / "photos", tmp_path / "results"
    (photos / "below").mkdir(parents=True)
    drop_pair(photos, "a", suffix=".JPG")
    drop_pair(photos / "below", "several", {"prompts": [BOX, {**BOX, "label": "cat"}]}, suffix=".png")
    assert send(served, photos, "-o", results).returncode == 0
    (photos / "a.json").write_text(json.dumps({**BOX, "label": "dog"}))

    run = send(served, photos / "a.JPG", "-o", results)

    assert run.returncode == 0
    assert "a: done as a~2" in run.stderr
    shutil.move(results, tmp_path / "moved")
    assert_records_name_what_is_there(tmp_path / "moved", photos)
    assert_exports_fit(tmp_path / "moved", photos, 3)


def test_results_that_were_received_can_be_reported_and_exported(served: Server, tmp_path: Path) -> None:
    photos, results = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    drop_pair(photos, "a")
    drop_pair(photos, "b", {"prompts": [BOX, BOX]})
    receiving = ("recv", "--redis-port", served.port, "-o", results, "--count", 4)
    with running_sampoll(*receiving) as receiver, served.client() as client:
        until(lambda: client.pubsub_numpat() == 2, "the receiver")
        for label in ("one", "two"):
            (photos / "a.json").write_text(json.dumps({**BOX, "label": label}))
            assert send(served, photos).returncode == 0
        assert receiver.wait(60) == 0

    assert {"a.json", "a~2.json", "b.json", "b~2.json"} <= set(names_in(results))
    assert_records_name_what_is_there(results, photos)
    assert_exports_fit(results, photos, 4)


def test_results_of_a_stream_can_be_reported_and_exported(tmp_path: Path) -> None:
    photos, results = tmp_path / "photos", tmp_path / "results"
    (photos / "below").mkdir(parents=True)
    far = {"points": [{"x": 99, "y": 1, "label": 1}]}
    drop_pair(photos / "below", "a", {"prompts": [far, BOX]})
    with running_server() as server, worker(tmp_path / "log", server.port, "--on-bad-prompt", "skip"):
        flags = ("--redis-port", server.port, "--stream", "sam")
        sent = sampoll("send", photos, *flags)
        with server.client() as client:
            client.xadd("sam", {"id": "below/a", "image": IMAGE, "prompt": json.dumps(BOX)})
            client.xadd("sam", {"path": "below/a.jpg", "prompt": json.dumps(BOX)})
        received = sampoll("recv", "-o", results, *flags, "--count", 3)

    assert sent.returncode == 0
    assert received.stdout == "2 written, 1 failed, 1 bad prompt skipped\n"
    assert "below/a: skipped: prompt: prompts[0].points[0]: (99, 1) lies outside" in received.stderr
    unnamed = json.loads((results / "below/a~2.json").read_text())["meta"]
    assert (unnamed["image_file"], "image_path" in unnamed) == ("", False)
    (results / "below/a~2.json").unlink()
    assert_records_name_what_is_there(results, photos)
    assert_exports_fit(results, photos, 1)


def test_recv_ends_when_nothing_comes(served: Server, tmp_path: Path) -> None:
    base = ("recv", "--redis-port", served.port, "-o", tmp_path / "none", "--timeout", 0.5)

    assert sampoll(*base).returncode == 0
    expected = sampoll(*base, "--count", 2)

    assert expected.returncode == 75
    assert expected.stdout == "0 written, 0 failed; 2 were expected\n"


NO_REPLIES: list[object] = [
    "not json {",
    "",
    "[1]",
    json.dumps({"contours": [], "mask": "QUJD", "meta": [1]}),
    json.dumps({"contours": [], "mask": 1, "meta": {}}),
    json.dumps({"contours": [[["a"]]], "mask": "", "meta": {}}),
    json.dumps({"contours": [], "mask": "QUJD", "meta": {}}),  # no PNG
    json.dumps({"id": "a", "contours": [], "mask": "", "meta": {"error": {}}}),
    b"\xff\xfe",
]


def test_messages_that_are_no_replies_are_counted_and_the_others_are_written(
    served: Server, tmp_path: Path
) -> None:
    received, log = tmp_path / "received", tmp_path / "log"
    place = ("--redis-port", served.port, "--redis-out", "odd_out", "-o", received)
    with (
        log.open("wb") as output,
        served.client() as client,
        running_sampoll("recv", *place, "--count", 2, log=output) as receiver,
    ):
        until(lambda: client.pubsub_numpat() == 2, "the receiver")
        for number in range(2):
            for message in NO_REPLIES:
                client.publish("odd_out", message)
            request = {"image": base64.b64encode(IMAGE).decode(), "prompt": BOX, "reply_to": "odd_out"}
            client.publish("sam_in", json.dumps({**request, "id": f"good {number}"}))

        assert receiver.wait(30) == 1

    assert names_in(received) == ["good 0.json", "good 0.png", "good 1.json", "good 1.png"]
    assert "2 written, 0 failed, 18 unreadable" in log.read_text()
    assert log.read_text().count("a message on odd_out: a message that is no reply: ") == 18


def test_an_odd_reply_fails_its_own_request_alone(tmp_path: Path) -> None:
    photos, log = tmp_path / "photos", tmp_path / "log"
    photos.mkdir()
    for name in ("bad", "good"):
        drop_pair(photos, name)
    with (
        running_server() as server,
        server.client() as client,
        client.pubsub() as service,
        log.open("wb") as output,
    ):
        service.subscribe("sam_in")
        service.get_message(timeout=5)
        command = ("send", "--redis-port", server.port, photos, "-o", tmp_path / "results")
        with running_sampoll(*command, log=output) as sender:
            asked = {request["id"]: request for request in (next_reply(service), next_reply(service))}
            channel = asked["bad"]["reply_to"]
            for message in NO_REPLIES:
                client.publish(channel, message)
            client.publish(channel, json.dumps({"id": "bad", "contours": 1, "mask": "", "meta": {}}))
            good = {"contours": [], "mask": base64.b64encode(encoded(image_of())).decode(), "meta": {}}
            client.publish(channel, json.dumps({**good, "id": "good"}))

            assert sender.wait(30) == 1

    assert names_in(tmp_path / "results") == ["good.json", "good.png"]
    assert "bad: a message that is no reply: contours: must be lists of points" in log.read_text()
    assert "1 done, 1 failed" in log.read_text()


@pytest.mark.parametrize("kept", ["not json {", '{"id": "b", "contours": [], "mask": "", "meta": {}}'])
def test_an_odd_reply_that_is_kept_is_not_read_for_ever(tmp_path: Path, kept: str) -> None:
    drop_pair(tmp_path, "a")
    with (
        running_server() as server,
        server.client() as client,
        client.pubsub() as service,
        running_sampoll("send", "--redis-port", server.port, tmp_path, "--wait", "--timeout", 2) as sender,
    ):
        service.subscribe("sam_in")
        channel = next_reply(service)["reply_to"]
        client.set(f"{channel}:reply:a", kept)

        assert sender.wait(30) == 1


def test_what_cannot_be_sent_is_named_and_the_others_go(served: Server, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    drop_pair(photos, "good")
    drop_pair(photos, "\udcff")
    drop_pair(photos, "deep")
    drop_pair(photos, "large")
    with (photos / "large.jpg").open("ab") as file:
        file.truncate(2**40)
    (photos / "deep.json").write_text("[" * 300 + "]" * 300)
    (photos / "good.json").write_bytes(b"\xef\xbb\xbf" + (photos / "good.json").read_bytes())

    run = send(served, photos, "-o", tmp_path / "results")
    queued = send(served, photos, "--stream", "odd_names")

    assert (run.returncode, run.stdout) == (1, "1 done, 3 failed\n"), run.stderr
    assert (queued.returncode, queued.stdout) == (1, "2 queued, 0 known, 2 failed\n"), queued.stderr
    assert r"\xff.jpg: its name is not UTF-8: rename the file to send it" in run.stderr
    assert "large.jpg: has more than 393216000 bytes, and cannot be sent" in run.stderr
    assert "deep.json: cannot be sent: Recursion limit reached" in run.stderr


def test_sending_without_a_subscriber_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_pair(tmp_path, "a")
    with running_server() as server:
        nobody = send(server, tmp_path)
        port = server.port
    nowhere = sampoll("send", "--redis-port", port, tmp_path, "--wait")
    missing = sampoll("send", tmp_path / "missing.jpg")

    assert nobody.returncode == nowhere.returncode == 69
    assert "no service is subscribed to sam_in" in nobody.stderr
    assert "cannot be reached" in nowhere.stderr
    assert missing.returncode == 66


def test_a_folder_is_sent_completely_although_the_server_is_killed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        drop_pair(photos, f"p{number}")
    serve = ("serve", "redis", "--model", "support.fakes:slow", "--redis-port")
    with running_server() as server, running_sampoll(*serve, server.port):
        with server.client() as client:
            until(lambda: client.pubsub_numpat() == 1, "the service")
        command = ("send", "--redis-port", server.port, photos, "-o", tmp_path / "results")
        with running_sampoll(*command, "--in-flight", 4) as sender:
            until(lambda: len(names_in(tmp_path / "results")) > 4, "some results")
            server.kill()
            server.start()
            assert sender.wait(120) == 0

    assert names_in(tmp_path / "results") == sorted(
        f"p{number}{suffix}" for number in range(20) for suffix in (".json", ".png")
    )


def test_requests_to_a_service_that_was_restarted_or_full_are_sent_again(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        drop_pair(photos, f"p{number}")
    serve = ("serve", "redis", "--model", "support.fakes:slow", "--queue-bytes", 1, "--redis-port")
    log = tmp_path / "log"
    with running_server() as server, server.client() as client, log.open("wb") as output:
        with running_sampoll(*serve, server.port) as first:
            until(lambda: client.pubsub_numpat() == 1, "the service")
            command = ("send", "--redis-port", server.port, photos, "-o", tmp_path / "results")
            with running_sampoll(*command, "--in-flight", 6, log=output) as sender:
                until(lambda: len(names_in(tmp_path / "results")) > 4, "some results")
                first.terminate()
                with running_sampoll(*serve, server.port):
                    assert sender.wait(120) == 0
        first.wait()

    assert len(names_in(tmp_path / "results")) == 24
    assert "the service was stopped before it was done" in log.read_text()


@contextmanager
def old_receiver(
    served: Server, output: Path, *flags: str, channel: str = "old_out"
) -> Iterator[tuple[subprocess.Popen[str], object]]:
    output.mkdir()
    command = [BIN / "sam_test_redis_recv", "-p", str(served.port), "-c", channel, "-o", output, *flags]
    receiver = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=environment())
    try:
        with served.client() as client:
            until(lambda: client.pubsub_numpat() == 2, "the receiver")
        yield receiver, receiver.stdout
    finally:
        receiver.terminate()
        receiver.wait()


def old_send(served: Server, image: Path, prompt: Path, channel: str = "sam_in") -> str:
    command = [BIN / "sam_test_redis_send", "-p", served.port, "-c", channel, "-I", image, "-P", prompt]
    run = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=True, env=environment(), timeout=60
    )
    assert run.stdout == ""
    return run.stderr


def test_the_old_test_commands_send_a_request_and_receive_the_reply(served: Server, tmp_path: Path) -> None:
    drop_pair(tmp_path, "a")
    with old_receiver(served, tmp_path / "results", "-f", "result") as (receiver, _):
        with served.client() as client, client.pubsub() as pubsub:
            pubsub.subscribe("sam_out")
            pubsub.get_message(timeout=5)
            assert old_send(served, tmp_path / "a.jpg", tmp_path / "a.json") == ""
            client.publish("old_out", json.dumps(next_reply(pubsub)))
        assert receiver.stdout is not None
        printed = [receiver.stdout.readline().strip() for _ in range(4)]
    assert old_send(served, tmp_path / "a.jpg", tmp_path / "a.json", "nobody") == (
        "no service is subscribed to nobody: the request was lost\n"
    )

    assert printed[:2] == ["", "Data received..."]
    assert printed[2:] == [str(tmp_path / "results" / name) for name in ("result.png", "result.json")]
    assert read_mask(tmp_path / "results" / "result.png").sum() == 16 * 12
    opex = read_opex(tmp_path / "results" / "result.json")
    assert opex.id == "result"
    mask = (tmp_path / "results" / "result.png").read_bytes()
    assert json.loads(opex.meta["files"]) == {"result.png": hashlib.sha256(mask).hexdigest()}
    assert (
        sampoll("export", "--format", "coco", tmp_path / "results").stdout == "1 exported as coco, 0 failed\n"
    )
    assert [(o.score, o.bbox.left, o.bbox.top, o.bbox.right, o.bbox.bottom) for o in opex.objects] == [
        (0.5, 4, 4, 19, 15)
    ]


def test_the_old_receiver_understands_replies_of_the_old_service(served: Server, tmp_path: Path) -> None:
    """Such replies have no OPEX, and their files are named by the time."""
    with served.client() as client, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        client.publish("sam_in", classic_request(IMAGE, BOX))
        reply = next_reply(pubsub)
        del reply["opex"]
        with old_receiver(served, tmp_path / "results") as (receiver, _):
            before = time.strftime("%Y%m%d_%H%M")
            client.publish("old_out", json.dumps(reply))
            assert receiver.stdout is not None
            _, _, path, _ = (Path(receiver.stdout.readline().strip()) for _ in range(4))

    assert path.stem.startswith(before[:8])
    [thing] = read_opex(path.with_suffix(".json")).objects
    assert thing.label == "object"
    assert (thing.bbox.left, thing.bbox.right) == (4, 19)
    assert np.count_nonzero(read_mask(path)) == 16 * 12


def test_the_channel_of_the_old_receiver_is_a_pattern(served: Server, tmp_path: Path) -> None:
    reply = {"contours": [], "mask": base64.b64encode(encoded(image_of())).decode(), "meta": {}}
    with (
        served.client() as client,
        old_receiver(served, tmp_path / "results", "-f", "result", channel="rc_*") as (receiver, _),
    ):
        assert client.publish("other", json.dumps(reply)) == 0
        assert client.publish("rc_1", json.dumps(reply)) == 1
        assert receiver.stdout is not None
        printed = [receiver.stdout.readline() for _ in range(4)]
        receiver.send_signal(signal.SIGINT)
        assert receiver.wait(60) == 0

    assert printed[:2] == ["\n", "Data received...\n"]
    assert names_in(tmp_path / "results") == ["result.json", "result.png"]
