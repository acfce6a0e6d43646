"""Parts of a run on a device that could limit it: prompts, and a batch for which there is little memory.
`benchmarks.gpu` shows them."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import Sample, in_turns
from benchmarks.pipeline import HEIGHT, WIDTH
from sampoll.core.errors import JobError
from sampoll.core.jobs import Box, Job, Prompt
from sampoll.engine.executor import Executor
from sampoll.models.shared.decoder import Decoder, ImageSide
from sampoll.models.shared.network import Levels, Network
from sampoll.models.shared.segmenter import PromptableSegmenter

PROMPT = Prompt(box=Box(1, 1, WIDTH - 2, HEIGHT - 2))
WARM_UP_CALLS = 3


def seconds_of(act: Callable[[], object]) -> float:
    """Of a call, until the device has finished."""
    _wait()
    begun = time.perf_counter()
    act()
    _wait()
    return time.perf_counter() - begun


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_images(count: int) -> list[np.ndarray]:
    """Noise of 1080p, (H, W, 3) uint8, each with another seed."""
    return [np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for i in range(count)]


def decoding(
    ways: Mapping[str, PromptableSegmenter], batch: int, counts: Sequence[int], rounds: int
) -> dict[str, Sample]:
    """Seconds a prompt from embeddings to masks in host memory, in each of the ways: for so many prompts of
    one image, and of each of a batch."""
    acts = {}
    for way, segmenter in ways.items():
        [embedding] = segmenter.embed(random_images(1))
        for images, prompts in itertools.product(sorted({1, batch}), counts):
            work = [(embedding, [PROMPT] * prompts)] * images
            acts[f"{images} x {prompts}, {way}"] = _a_prompt(segmenter, work)
    for act in acts.values():
        act()
    return in_turns(acts, rounds)


def _a_prompt(
    segmenter: PromptableSegmenter, work: Sequence[tuple[object, Sequence[Prompt]]]
) -> Callable[[], float]:
    prompts = sum(len(some) for _, some in work)
    return lambda: seconds_of(partial(segmenter.decode, work)) / prompts  # type: ignore[arg-type]


@torch.inference_mode()
def decoder_alone(
    network: Network, device: torch.device, counts: Sequence[int], rounds: int
) -> dict[str, Sample]:
    """Seconds of one call of the decoder as it is, compiled, and as a CUDA graph, without what surrounds it:
    what either would save. On the CPU, only as it is."""
    decoder = network.decoder.to(device).eval()
    levels: Levels = tuple(torch.randn(shape, device=device) for shape in network.levels)
    images = decoder.image_side([levels])
    acts: dict[str, Callable[[], float]] = {}
    for prompts in counts:
        arguments = (
            torch.zeros(prompts, dtype=torch.int64, device=device),
            torch.full((prompts, 2, 2), 100.0, device=device),
            torch.tensor([[2, 3]] * prompts, device=device),
        )
        plain = partial(decoder, images, *arguments, "best")
        ways: dict[str, Callable[[], object]] = {"as it is": plain}
        if device.type == "cuda":
            ways["compiled"] = partial(torch.compile(decoder), images, *arguments, "best")
            ways["CUDA graph"] = _graphed(decoder, images, arguments)
        for way, act in ways.items():
            for _ in range(WARM_UP_CALLS):
                act()
            acts[f"{prompts}, {way}"] = partial(seconds_of, act)
    return in_turns(acts, rounds)


def _graphed(decoder: Decoder, images: ImageSide, arguments: tuple[Tensor, ...]) -> Callable[[], object]:
    """Replays a call that was captured with these arguments."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            decoder(images, *arguments, "best")
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        decoder(images, *arguments, "best")
    return graph.replay


def in_little_memory(segmenter: PromptableSegmenter, batch_size: int, free_bytes: int) -> list[str]:
    """The outcome of each image of one batch when no more than `free_bytes` are left on the device: "done",
    or its error. A batch that does not fit is halved, and every image alone must fit."""
    segmenter.decode([(embedding, [PROMPT]) for embedding in segmenter.embed(random_images(1))])
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(max(0, free - free_bytes), dtype=torch.uint8, device="cuda")
    jobs = [
        Job(str(number), str(number), image, f"{number:064x}", (PROMPT,), 0.0)
        for number, image in enumerate(random_images(batch_size))
    ]
    outcomes = [each for part in Executor(segmenter, batch_size).run(jobs) for each in part]
    del taken
    torch.cuda.empty_cache()
    return [str(each) if isinstance(each, JobError) else "done" for each in outcomes]
