"""Networks in torch converted for OpenVINO, and checked; and its encoders for the decoders in torch."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.decoder import Decoder, ImageSide
from sampoll.models.shared.network import Levels, TorchEncoder
from sampoll.models.shared.openvino_decoder import OF_IMAGE, OF_PROMPTS, WITH_MASKS
from sampoll.models.shared.openvino_graph import ENGINE, compiled, imported_openvino

if TYPE_CHECKING:
    import openvino


class OpenVinoEncoder:
    """The same function as what was converted, up to rounding in `precision`, for a segmenter in torch.
    Threads may call it at the same time."""

    engine = ENGINE

    def __init__(
        self,
        model: "openvino.Model",
        img_size: int,
        precision: str,
        sha256: str | None = None,
        *,
        streams: int = 1,
    ) -> None:
        """`model` is quantized if `precision` is int8, and `sha256` then its digest. So many `streams` of
        images are computed at the same time. ModelUnavailable if the processor does not compute in the
        precision."""
        self.img_size = img_size
        self.sha256 = sha256
        self._graph = compiled(model, precision, streams=streams)

    def __call__(self, images: Tensor) -> Levels:
        """The levels, each float32 of shape (B, C, h, w), of normalised images of shape (B, 3, S, S).

        Each stream computes one image at a time: batches of OpenVINO only need more memory.
        """
        by_image = self._graph.each([[image[None].numpy()] for image in images])
        return tuple(
            torch.cat([torch.from_numpy(one) for one in level]) for level in zip(*by_image, strict=True)
        )


def converted(encoder: TorchEncoder) -> "openvino.Model":
    """The graph of an encoder in float32: for one image,
    (1, 3, img_size, img_size) to levels of (1, C, h, w)."""
    image = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
    with _converting("encoder"):
        # Exporting computes nothing; tracing, OpenVINO's own way, would run the encoder several times.
        graph = imported_openvino().convert_model(
            torch.export.export(encoder.eval().requires_grad_(False), (image,), strict=False)
        )
        graph.reshape(list(image.shape))  # which it does not keep
        return graph


def converted_decoder(decoder: Decoder, levels: Sequence[tuple[int, ...]]) -> dict[str, "openvino.Model"]:
    """The graphs of a decoder, by the names of openvino_decoder.GRAPHS; `levels` are the shapes of what it
    gets of an image. The numbers of prompts and of their tokens may be any."""
    embedding = tuple(torch.zeros(1, *shape) for shape in levels)
    with torch.inference_mode():
        tokens, projected, finer = decoder.image_side([tuple(level[0] for level in embedding)])
    masks = torch.zeros(3, *[4 * math.isqrt(tokens.shape[1])] * 2)
    numbers, places, kinds = torch.arange(3) * 0, torch.zeros(3, 4, 2), torch.zeros(3, 4, dtype=torch.int64)
    prompts = (tokens, projected, numbers, places, kinds, *finer)
    return {
        OF_IMAGE: _traced(_OfImage(decoder), embedding, [()] * len(embedding)),
        WITH_MASKS: _traced(_WithMasks(decoder), (tokens, masks), [(), (0,)]),
        OF_PROMPTS: _traced(
            _OfPrompts(decoder), prompts, [(0,), (0,), (0,), (0, 1), (0, 1), *[()] * len(finer)]
        ),
    }


def _traced(
    module: nn.Module, inputs: tuple[Tensor, ...], varying: Sequence[tuple[int, ...]]
) -> "openvino.Model":
    """The graph of a module, for inputs like these; of each, the `varying` dimensions may be of any size.

    It is traced, because exporting it with such dimensions takes several times as long.
    """
    with _converting("decoder"):
        graph = imported_openvino().convert_model(
            module.eval().requires_grad_(False), example_input=tuple(one.clone() for one in inputs)
        )
        shapes = [
            [-1 if number in free else side for number, side in enumerate(one.shape)]
            for one, free in zip(inputs, varying, strict=True)
        ]
        graph.reshape(dict(enumerate(shapes)))
        return graph


@contextmanager
def _converting(name: str) -> Iterator[None]:
    """Whatever goes wrong with a conversion, it is one message."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about how OpenVINO uses it
        try:
            yield
        except Exception as error:
            raise ModelUnavailable(
                f"the {name} could not be converted for OpenVINO: use --engine torch ({error})"
            ) from error


class _OfImage(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        """The levels of one image, (1, C, h, w) each, to its ImageSide."""
        tokens, projected, finer = self.decoder.image_side([tuple(level[0] for level in levels)])
        return tokens, projected, *finer


class _WithMasks(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.with_masks(tokens, masks)


class _OfPrompts(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens: Tensor,
        projected: Tensor,
        image_of: Tensor,
        places: Tensor,
        kinds: Tensor,
        *finer: Tensor,
    ) -> tuple[Tensor, Tensor]:
        return self.decoder.all_masks(ImageSide(tokens, projected, finer), image_of, places, kinds)
