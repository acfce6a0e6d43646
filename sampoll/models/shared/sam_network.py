"""The network of a model that keeps SAM's prompts, rules and mask decoder, or extends the decoder."""

from collections.abc import Callable

import torch
from segment_anything.modeling import Sam

from sampoll.models.shared.decoder import Decoder
from sampoll.models.shared.network import Network, TorchEncoder
from sampoll.models.shared.padded_square import PaddedSquare


def network_over(
    sam: Sam,
    encoder: Callable[[torch.dtype], TorchEncoder],
    decoder: Decoder | None = None,
    finer: tuple[tuple[int, ...], ...] = (),
) -> Network:
    """The network over the modules of `sam`, which it takes over. `decoder` replaces SAM's own; `finer` are
    the shapes of further levels that `encoder` makes, besides SAM's features."""
    prompts = sam.prompt_encoder
    return Network(
        encoder=encoder,
        decoder=decoder or Decoder(sam.mask_decoder, prompts),
        rules=PaddedSquare(sam.image_encoder.img_size, prompts.mask_input_size),
        levels=((prompts.embed_dim, *prompts.image_embedding_size), *finer),
        mask_threshold=sam.mask_threshold,
    )
