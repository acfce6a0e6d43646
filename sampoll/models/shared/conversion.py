"""Makes what `converted_models` keeps: a network's encoder and decoder for OpenVINO, compared with torch on a
photograph before they are used."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.inputs.photograph import photograph
from sampoll.models.shared.conventions import Conventions
from sampoll.models.shared.converted_models import (
    DECODER,
    ENCODER,
    ENCODERS,
    Kept,
    Models,
    Part,
    keep,
    kept,
    quantized,
)
from sampoll.models.shared.mask_choice import Floats
from sampoll.models.shared.network import ImageRules, Network
from sampoll.models.shared.openvino import converted, converted_decoder
from sampoll.models.shared.openvino_decoder import OpenVinoDecoder, compiled_decoder
from sampoll.models.shared.openvino_graph import ENGINE, CompiledGraph, compiled, version
from sampoll.models.shared.prompt_tokens import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

LARGEST_ERROR = 1e-3
"""Relative L2 of an output, between torch and OpenVINO in float32. Rounding gives 1e-6; wrong graphs that
were seen, 0.26."""
LARGEST_ERROR_IN_FLOAT16 = 1e-2
"""The same, of weights that are stored in float16: vit_b has 4e-3. Computing in bfloat16 adds 1e-2."""


def convert(
    network: Network,
    conventions: Conventions,
    precision: str,
    streams: int,
    checkpoint_sha256: str,
    cache: Path,
) -> Models:
    """The graphs of a checkpoint: those that are kept, and those that are made, and then kept."""
    if precision == "int8":
        int8 = quantized(checkpoint_sha256, cache)
        encoder, encoder_sha256 = int8.graphs[ENCODER], int8.sha256
    else:
        encoder, encoder_sha256 = encoder_graph(network, precision, checkpoint_sha256, cache), None
    graph = compiled(encoder, precision, streams=streams)
    decoder = decoder_graphs(network, conventions, graph, checkpoint_sha256, cache)
    return Models(graph, compiled_decoder(decoder), encoder_sha256)


def encoder_graph(network: Network, precision: str, checkpoint_sha256: str, cache: Path) -> "openvino.Model":
    """The graph of a checkpoint's encoder: the one that is kept, or one that is made, and then kept.

    ModelUnavailable if it cannot be converted, or computes something else. If the cache is not writable,
    every start converts again.
    """
    part = ENCODERS[precision]
    if (found := kept(part, checkpoint_sha256, cache)) is not None:
        return found.graphs[ENCODER]
    with _logged("encoder"):
        encoder, images = network.encoder(torch.float32), prepared_photograph(network.rules)
        graphs = {ENCODER: converted(encoder)}
        with torch.inference_mode():
            expected = encoder(images)

        def check(graphs: Mapping[str, "openvino.Model"], largest_error: float) -> None:
            found = compiled(graphs[ENCODER], "fp32")(images.numpy())
            _compare("encoder", found, expected, largest_error)

        return _kept_now(part, graphs, checkpoint_sha256, cache, check)[ENCODER]


def decoder_graphs(
    network: Network, conventions: Conventions, encoder: CompiledGraph, checkpoint_sha256: str, cache: Path
) -> Mapping[str, "openvino.Model"]:
    """The graphs of a checkpoint's decoder, in the same way; it is compared on what the encoder makes of the
    photograph."""
    if (found := kept(DECODER, checkpoint_sha256, cache)) is not None:
        return found.graphs
    with _logged("decoder"):
        graphs = converted_decoder(network.decoder, network.levels)
        levels = tuple(level[0] for level in encoder(prepared_photograph(network.rules).numpy()))

        def check(graphs: Mapping[str, "openvino.Model"], largest_error: float) -> None:
            decoder = OpenVinoDecoder(compiled_decoder(graphs), conventions)
            check_decoder(decoder, network, levels, largest_error)

        return _kept_now(DECODER, graphs, checkpoint_sha256, cache, check)


def _kept_now(
    part: Part,
    graphs: Mapping[str, "openvino.Model"],
    checkpoint_sha256: str,
    cache: Path,
    check: Callable[[Mapping[str, "openvino.Model"], float], None],
) -> Mapping[str, "openvino.Model"]:
    """The graphs as they were written and read back, or themselves where that is impossible; checked."""
    limit = LARGEST_ERROR_IN_FLOAT16 if part.in_float16 else LARGEST_ERROR

    def check_written(written: Kept) -> None:
        check(written.graphs, limit)

    try:
        return keep(part, graphs, checkpoint_sha256, cache, check=check_written).graphs
    except (OSError, RuntimeError) as error:
        log.warning("cannot keep the converted %s in %s: %s", part.what, cache, error)
    check(graphs, LARGEST_ERROR)
    return graphs


def prepared_photograph(rules: ImageRules) -> Tensor:
    """The photograph that ships with sampoll, as an encoder gets it: (1, 3, S, S)."""
    return rules.prepared(photograph().pixels(), torch.device("cpu"), exact=True)[None]


def check_decoder(
    decoder: OpenVinoDecoder, network: Network, levels: Sequence[Floats], largest_error: float
) -> None:
    """ModelUnavailable if a decoder gives other masks than that of the network: for prompts of no, one and
    several tokens, one and several at once, with masks and without."""
    with torch.inference_mode():
        side = network.decoder.image_side([tuple(map(torch.from_numpy, levels))])
        ours = decoder.image_side([tuple(levels)])
        for places, kinds, masks in _probes(network.rules.img_size, 4 * math.isqrt(side.tokens.shape[1])):
            image_of, theirs, of_image = torch.zeros(len(places), dtype=torch.int64), side, None
            if masks is not None:
                of_image = masks.numpy()
                tokens, projected = network.decoder.with_masks(side.tokens, masks)
                theirs, image_of = (
                    side._replace(tokens=tokens, projected=projected),
                    torch.arange(len(places)),
                )
            expected = network.decoder.all_masks(theirs, image_of, places, kinds)
            rows = np.zeros(len(places), np.int64)
            found = decoder.all_masks(ours, rows, places.numpy(), kinds.numpy(), of_image)
            _compare("decoder", found, expected, largest_error)


def _probes(side: int, mask_side: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Prompts for a square of `side`: places (P, T, 2), kinds (P, T) and masks (P, h, w)."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, 1], [1, 0, PADDING], [0, 1, 1]])
    places = torch.rand(3, 3, 2, generator=generator) * side
    masks = torch.randn(3, mask_side, mask_side, generator=generator) * 8
    yield places, kinds, None
    yield places[:1, :2], kinds[:1, :2], None
    yield places[:, :1], kinds[:, :1], masks
    yield places[:1, :0], kinds[:1, :0], masks[:1]  # a mask alone has no tokens


def _compare(name: str, found: Sequence[Floats], expected: Sequence[Tensor], largest_error: float) -> None:
    """ModelUnavailable if an output of a graph is something else than that of the module in torch.

    For some forms of attention, OpenVINO makes graphs that compute something else, without any error.
    """
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True), 1):
        error = float((torch.from_numpy(ours) - theirs).norm() / theirs.norm())
        if not error <= largest_error:  # also if it is not a number
            raise ModelUnavailable(
                f"OpenVINO {version()} converts this {name} wrongly: "
                f"on a photograph, output {number} of {len(expected)} is {error:.1%} off that of torch. "
                "The graph was not kept: use --engine torch, or another version of OpenVINO"
            )


@contextmanager
def _logged(name: str) -> Iterator[None]:
    began = time.monotonic()
    log.info(
        "converting the %s for OpenVINO, once for this checkpoint; this takes a while",
        name,
        extra={"event": "converting", "engine": ENGINE},
    )
    yield
    seconds = time.monotonic() - began
    log.info(
        "converted and checked in %.0f s", seconds, extra={"event": "converted", "seconds": round(seconds, 3)}
    )
