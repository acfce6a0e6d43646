"""Loading and rendering, by threads and by processes. `benchmarks.gpu` shows them; torch is not imported, so
that the processes start soon."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

from benchmarks.ellipses import ellipse
from benchmarks.measuring import Sample, in_turns
from benchmarks.pipeline import HEIGHT, WIDTH, photograph
from sampoll.core.jobs import Box, Prompt
from sampoll.core.results import Mask, ModelInfo, Segmentation
from sampoll.engine.render import rendered
from sampoll.formats.opex import Opex
from sampoll.formats.png import PngMask
from sampoll.inputs.decode import decode_image

IMAGES_A_ROUND = 64


def file_workers(workers: Sequence[int], rounds: int) -> dict[str, Sample]:
    """Seconds an image to decode a JPEG of 1080p, and to render a mask as PNG and OPEX, in threads and in
    processes; results of processes are sent back."""
    content = photograph(WIDTH, HEIGHT)
    segmentation = _segmentation()
    steps: Mapping[str, Callable[[], object]] = {
        "load": partial(decode_image, content, "photograph.jpg", 10**9),
        "render": partial(_rendered, segmentation),
    }
    samples: dict[str, Sample] = {}
    for count in workers:
        with (
            ThreadPoolExecutor(count) as threads,
            ProcessPoolExecutor(count, get_context("spawn")) as processes,
        ):
            pools: dict[str, Pool] = {"threads": threads, "processes": processes}
            acts = {
                f"{what}, {count} {kind}": partial(_in_pool, pool, step)
                for what, step in steps.items()
                for kind, pool in pools.items()
            }
            for act in acts.values():
                act()
            samples |= in_turns(acts, rounds)
    return samples


def _segmentation() -> Segmentation:
    mask = Mask.from_array(ellipse((HEIGHT, WIDTH)), 0.9)
    return Segmentation(
        job_id="0" * 32,
        name="photograph",
        prompts=(Prompt(box=Box(1, 1, WIDTH - 2, HEIGHT - 2)),),
        masks=((mask,),),
        model=ModelInfo("ellipses"),
        size=(HEIGHT, WIDTH),
        image_sha256="0" * 64,
        seconds={},
    )


def _rendered(segmentation: Segmentation) -> int:
    return sum(len(artifact.content) for artifact in rendered([PngMask(), Opex()], segmentation))


def _in_pool(pool: Pool, step: Callable[[], object]) -> float:
    """Seconds an image."""
    begun = time.perf_counter()
    for future in [pool.submit(step) for _ in range(IMAGES_A_ROUND)]:
        future.result()
    return (time.perf_counter() - begun) / IMAGES_A_ROUND
