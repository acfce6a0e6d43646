"""MobileSAM's network: SAM's, with TinyViT as its image encoder."""

from collections.abc import Mapping
from functools import partial

from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

from sampoll.models.shared.network import Network
from sampoll.models.shared.sam_network import network_over
from sampoll.models.shared.tiny_vit import TinyViT, TinyViTEncoder, TinyViTSizes
from sampoll.models.shared.weights import filled


def mobile_sam_of(weights: Mapping[str, Tensor]) -> Sam:
    """The modules of MobileSAM with these weights; ModelUnavailable if they are not its own."""
    return filled(new_mobile_sam, weights)


def mobile_sam_network(sam: Sam) -> Network:
    """The network over the modules of `sam`, which it takes over."""
    return network_over(sam, partial(TinyViTEncoder, sam.image_encoder))


def new_mobile_sam() -> Sam:
    """The modules without weights."""
    sam: Sam = sam_model_registry["vit_b"]()  # all but the encoder is the same in each size
    sam.image_encoder = TinyViT(TinyViTSizes())
    return sam
