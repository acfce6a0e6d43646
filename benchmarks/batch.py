"""Images a second from a bucket into a bucket, against a plain loop with boto3.

python -m benchmarks.batch [--images 200] [--size 640x480] [--latency 0,40] [--rounds 3] [--json FILE]

The server imitates S3 (moto), in a process of its own on loopback, and answers each request only after so
many milliseconds, as a store does that is far away. It does some hundred requests a second itself, which
bounds both. The loop reads an image and its prompt, segments it, and writes a mask and a record, one after
the other.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from PIL import Image

from benchmarks.ellipses import Ellipses, ellipse
from benchmarks.measuring import Sample, in_turns, markdown, write_json
from benchmarks.pipeline import photograph
from benchmarks.reference import opex_record
from sampoll.app.batch import run_batch
from sampoll.config.resolve import resolve
from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import RgbImage

BUCKET = "benchmark"
SLOW_SECONDS = 0.05
MODELS = {"free": 0.0, "slow": SLOW_SECONDS}
"""Seconds an image."""
PUTS_AT_ONCE = 8


class _Slow(Ellipses):
    def embed(self, images: Sequence[RgbImage]) -> list[tuple[int, int]]:
        time.sleep(SLOW_SECONDS * len(images))
        return super().embed(images)


def free(_: ModelSettings) -> Ellipses:
    """Costs nothing."""
    return Ellipses()


def slow(_: ModelSettings) -> Ellipses:
    """Takes as long as an encoder on a GPU."""
    return _Slow()


def serve(latency_seconds: float) -> None:
    """Imitates S3 until the process is ended."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):  # type: ignore[misc]
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None:
            pass

    application = DomainDispatcherApplication(create_backend_app)

    def late(environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        time.sleep(latency_seconds)
        return application(environ, start_response)  # type: ignore[no-any-return]

    server = make_server("127.0.0.1", 0, late, threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def store(latency_seconds: float) -> Iterator[Any]:
    """A client of a server of its own, with one empty bucket; the environment names it to sampoll."""
    command = [sys.executable, "-m", "benchmarks.batch", "--serve", str(latency_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        os.environ.update(
            keys, AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=endpoint, AWS_ALLOW_HTTP="true"
        )
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket=BUCKET)
        try:
            yield client
        finally:
            process.terminate()


def fill(client: Any, images: int, size: tuple[int, int]) -> None:
    content, (width, height) = photograph(*size), size
    prompt = json.dumps({"box": {"x0": 1, "y0": 1, "x1": width - 2, "y1": height - 2}}).encode()

    def put(number: int) -> None:
        client.put_object(Bucket=BUCKET, Key=f"in/image{number:06d}.jpg", Body=content + b"%d" % number)
        client.put_object(Bucket=BUCKET, Key=f"in/image{number:06d}.json", Body=prompt)

    with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
        list(pool.map(put, range(images)))


def by_the_loop(client: Any, outputs: Iterator[str], model: str) -> float:
    """Seconds for all images."""
    output, begun = next(outputs), time.perf_counter()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="in/")
    for key in (each["Key"] for page in pages for each in page["Contents"]):
        stem, _, suffix = key.removeprefix("in/").rpartition(".")
        if suffix != "jpg":
            continue
        image = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        json.loads(client.get_object(Bucket=BUCKET, Key=f"in/{stem}.json")["Body"].read())
        pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
        time.sleep(MODELS[model])
        mask = ellipse((pixels.shape[0], pixels.shape[1]))
        png = io.BytesIO()
        Image.fromarray(mask).save(png, "PNG", bits=1, optimize=False)
        client.put_object(Bucket=BUCKET, Key=f"{output}/{stem}.png", Body=png.getvalue())
        client.put_object(
            Bucket=BUCKET, Key=f"{output}/{stem}.json", Body=opex_record(stem, mask, 0.9).encode()
        )
    return time.perf_counter() - begun


def by_sampoll(outputs: Iterator[str], model: str, images: int) -> float:
    """Seconds for all images; the model is loaded in that time, too."""
    settings = resolve({"model": f"benchmarks.batch:{model}"}, {}).settings
    source, output, begun = f"s3://{BUCKET}/in", f"s3://{BUCKET}/{next(outputs)}", time.perf_counter()
    outcome = run_batch(settings, source, output, [], show_progress=False)
    taken = time.perf_counter() - begun
    assert outcome.summary.figures["done"] == images, outcome.summary
    return taken


def rows_of(
    model: str, latency: int, images: int, samples: Mapping[str, Sample]
) -> Iterator[tuple[object, ...]]:
    loop = samples["loop"].median
    for name, sample in samples.items():
        rates = [images / seconds for seconds in reversed(sample.range)]
        spread = f"{rates[0]:.1f}..{rates[1]:.1f}"
        yield (
            model,
            f"{latency} ms",
            name,
            f"{images / sample.median:.1f}",
            spread,
            f"{loop / sample.median:.2f}",
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--latency", default="0,40", help="milliseconds before each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve is not None:
        serve(given.serve)
    width, height = map(int, given.size.split("x"))
    rows: list[tuple[object, ...]] = []
    seconds: dict[str, Any] = {}
    for latency in map(int, given.latency.split(",")):
        with store(latency / 1000) as client:
            fill(client, given.images, (width, height))
            outputs = (f"out{number}" for number in range(10**6))
            for model in MODELS:
                variants: dict[str, Callable[[], float]] = {
                    "loop": partial(by_the_loop, client, outputs, model),
                    "sampoll batch": partial(by_sampoll, outputs, model, given.images),
                }
                samples = in_turns(variants, given.rounds)
                rows += rows_of(model, latency, given.images, samples)
                seconds |= {f"{model}, {latency} ms, {name}": s.seconds for name, s in samples.items()}
    print(f"{given.images} images of {given.size}, {given.rounds} rounds\n")
    header = ("model", "latency", "", "images/s", "range", "x loop")
    print(markdown(header, rows))
    write_json(given.json, {"images": given.images, "seconds": seconds})


if __name__ == "__main__":
    main()
