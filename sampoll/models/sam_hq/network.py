"""SAM-HQ's network: SAM's or MobileSAM's, with the modules that make its own mask."""

from collections.abc import Mapping
from functools import partial

from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from sampoll.models.sam_hq.decoder import HqDecoder
from sampoll.models.sam_hq.encoder import HqEncoder
from sampoll.models.shared.network import Network
from sampoll.models.shared.sam_network import network_over
from sampoll.models.shared.tiny_vit import TinyViT, TinyViTSizes
from sampoll.models.shared.weights import filled


def sam_hq_of(name: str, weights: Mapping[str, Tensor]) -> Sam:
    """The modules of a model, sam_hq_vit_b for example, with these weights; ModelUnavailable if they are not
    its own."""
    return filled(partial(new_sam_hq, name.removeprefix("sam_hq_")), weights)


def sam_hq_network(sam: Sam) -> Network:
    """The network over the modules of `sam`, which it takes over."""
    decoder, prompts = sam.mask_decoder, sam.prompt_encoder
    rows, columns = prompts.image_embedding_size
    finer = (decoder.transformer_dim // 8, 4 * rows, 4 * columns)
    encoder = partial(HqEncoder, sam.image_encoder, decoder)
    return network_over(sam, encoder, HqDecoder(decoder, prompts), (finer,))


def add_hq_modules(sam: Sam, early_channels: int) -> None:
    """Gives a SAM the modules of SAM-HQ, by their official names and without weights."""
    decoder, channels = sam.mask_decoder, sam.mask_decoder.transformer_dim
    decoder.hf_token = nn.Embedding(1, channels)
    decoder.hf_mlp = MLP(channels, channels, channels // 8, 3)
    decoder.compress_vit_feat = _upscaling(early_channels, channels, channels // 8)
    decoder.embedding_encoder = _upscaling(channels, channels // 4, channels // 8)
    decoder.embedding_maskfeature = nn.Sequential(
        nn.Conv2d(channels // 8, channels // 4, 3, padding=1),
        LayerNorm2d(channels // 4),
        nn.GELU(),
        nn.Conv2d(channels // 4, channels // 8, 3, padding=1),
    )


def new_sam_hq(size: str) -> Sam:
    """The modules of a size, vit_b for example, without weights."""
    is_tiny = size == "vit_tiny"
    sam: Sam = sam_model_registry["vit_b" if is_tiny else size]()
    if is_tiny:
        sizes = TinyViTSizes()
        sam.image_encoder = TinyViT(sizes)
        add_hq_modules(sam, sizes.channels[2])
    else:
        add_hq_modules(sam, sam.image_encoder.patch_embed.proj.out_channels)
    return sam


def _upscaling(inputs: int, inside: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, inside, 2, stride=2),
        LayerNorm2d(inside),
        nn.GELU(),
        nn.ConvTranspose2d(inside, outputs, 2, stride=2),
    )
