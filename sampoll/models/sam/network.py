"""SAM's network over segment_anything's own modules."""

from collections.abc import Mapping
from functools import partial

from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

from sampoll.models.sam.encoder import Encoder
from sampoll.models.shared.decoder import Decoder
from sampoll.models.shared.network import Network
from sampoll.models.shared.padded_square import PaddedSquare
from sampoll.models.shared.weights import filled


def sam_of(name: str, weights: Mapping[str, Tensor]) -> Sam:
    """segment_anything's model `name` with these weights; ModelUnavailable if they are not its own."""
    sam: Sam = filled(sam_model_registry[name], weights)
    return sam


def sam_network(sam: Sam) -> Network:
    """The network over the modules of `sam`, which it takes over."""
    prompts = sam.prompt_encoder
    return Network(
        encoder=partial(Encoder, sam.image_encoder),
        decoder=Decoder(sam.mask_decoder, prompts),
        rules=PaddedSquare(sam.image_encoder.img_size, prompts.mask_input_size),
        levels=((prompts.embed_dim, *prompts.image_embedding_size),),
        mask_threshold=sam.mask_threshold,
    )
