"""SAM's network over segment_anything's own modules."""

from collections.abc import Mapping
from functools import partial

from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

from sampoll.models.shared.network import Network
from sampoll.models.shared.sam_network import network_over
from sampoll.models.shared.vit import Encoder
from sampoll.models.shared.weights import filled


def sam_of(name: str, weights: Mapping[str, Tensor]) -> Sam:
    """segment_anything's model `name` with these weights; ModelUnavailable if they are not its own."""
    sam: Sam = filled(sam_model_registry[name], weights)
    return sam


def sam_network(sam: Sam) -> Network:
    """The network over the modules of `sam`, which it takes over."""
    return network_over(sam, partial(Encoder, sam.image_encoder))
