"""SAM's mask decoder and prompt encoder over the weights of `segment_anything`, for prompts of many images in
one call, with nothing computed twice and nothing read back from the device. Families whose decoders are
extensions of it are subclasses.

Shapes: I images, P prompts, T tokens a prompt, S x S = L image tokens (64 x 64), D channels (256), E channels
inside attention over the image (D / 2).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import MaskDecoder, PromptEncoder
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn

from sampoll.models.shared.mask_choice import CANDIDATES, MaskPolicy
from sampoll.models.shared.prompt_tokens import PADDING


class ImageSide(NamedTuple):
    """What the decoder computes from images only, shared by all their prompts."""

    tokens: Tensor  # (I, L, D)
    projected: Tensor  # (I, L, 3 E)
    finer: tuple[Tensor, ...] = ()
    """Further levels of the families that have some, each (I, ...) as that family's decoder takes it."""


class Decoder(nn.Module):
    """Low-res logits and predicted IoUs, those of the original up to rounding in float32.

    Families override what differs: `image_side`, where they have further levels; `forward` and
    `every_candidate`, where their masks are chosen or made otherwise.
    """

    def __init__(
        self, original: MaskDecoder, prompts: PromptEncoder, extra_tokens: Tensor | None = None
    ) -> None:
        """`extra_tokens` (X, D) are a family's own output tokens. They follow SAM's, whose indices stay."""
        super().__init__()
        self.places = prompts.pe_layer
        self.input_size: tuple[int, int] = prompts.input_image_size  # (H, W)
        kinds = [prompts.not_a_point_embed, *prompts.point_embeddings]
        self.kinds = nn.Parameter(torch.cat([kind.weight for kind in kinds]), requires_grad=False)  # (5, D)
        self.no_mask: nn.Embedding = prompts.no_mask_embed
        self.mask_downscaling: nn.Module = prompts.mask_downscaling

        tokens = [original.iou_token.weight, original.mask_tokens.weight]
        tokens += [] if extra_tokens is None else [extra_tokens]
        self.output_tokens = nn.Parameter(torch.cat(tokens), requires_grad=False)
        # (5 + X, D): one for the predicted IoUs, four for masks, and a family's own
        image_places = prompts.get_dense_pe()[0].flatten(1).T  # (L, D)
        transformer = original.transformer
        self.first, *rest = (_TwoWayBlock(block, image_places) for block in transformer.layers)
        self.rest = nn.ModuleList(rest)
        self.final = _TokenToImage(transformer.final_attn_token_to_image, image_places)
        self.final_norm: nn.LayerNorm = transformer.norm_final_attn
        self.upscaling = Upscaling(original.output_upscaling)
        self.hypernetworks = StackedMlps(original.output_hypernetworks_mlps)
        self.iou_head: nn.Module = original.iou_prediction_head

    def image_side(self, embeddings: Sequence[tuple[Tensor, ...]]) -> ImageSide:
        """Of the levels of each image; the first one is (D, S, S)."""
        return self.side_of([levels[0] for levels in embeddings])

    def side_of(self, features: Sequence[Tensor]) -> ImageSide:
        """Of one map (D, S, S) for each image, without finer levels."""
        stacked = torch.stack([one.flatten(1) for one in features])  # (I, D, L)
        tokens = (stacked + self.no_mask.weight[..., None]).transpose(1, 2)
        return ImageSide(tokens, self.first.projected(tokens))

    def forward(
        self,
        images: ImageSide,
        image_of: Tensor,
        places: Tensor,
        kinds: Tensor,
        policy: MaskPolicy,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, 4 S, 4 S) and predicted IoUs (P,), of the mask that `policy` chooses.

        `image_of` (P,) is the index of each prompt's image; `places` (P, T, 2) are in pixels of the resized
        image, with `kinds` (P, T); `masks` (P, 4 S, 4 S) are logits too.
        """
        queries, image = self.attended(images, image_of, places, kinds, masks)
        candidates = CANDIDATES[policy]
        scores = self.iou_head(queries[:, 0])[:, candidates]  # (P, C)
        best = scores.argmax(dim=1)
        weights = self.hypernetworks(queries[:, 1:5].transpose(0, 1))[candidates]  # (C, P, D / 8)
        rows = torch.arange(len(queries), device=best.device)
        return self.upscaling(image, weights[best, rows][:, None])[:, 0], scores[rows, best]

    def every_candidate(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same, of each mask from which "best" chooses: (P, C, 4 S, 4 S) and (P, C), C = 3."""
        return self._several(images, image_of, places, kinds, CANDIDATES["best"])

    def all_masks(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same, of all four masks. Other engines are given this to convert, because it chooses nothing:
        their arrays are chosen from by a `mask_choice.Choice`."""
        return self._several(images, image_of, places, kinds, slice(0, 4))

    def _several(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor, which: slice
    ) -> tuple[Tensor, Tensor]:
        queries, image = self.attended(images, image_of, places, kinds)
        weights = self.hypernetworks(queries[:, 1:5].transpose(0, 1))[which]  # (C, P, D / 8)
        return self.upscaling(image, weights.transpose(0, 1)), self.iou_head(queries[:, 0])[:, which]

    def attended(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The output and prompt tokens (P, 5 + X + T, D), and the image tokens (P, L, D), after attention
        between them."""
        prompts = self._prompt_embeddings(places, kinds)  # (P, T, D)
        tokens = torch.cat([self.output_tokens.expand(prompts.shape[0], -1, -1), prompts], dim=1)
        image, projected = images.tokens[image_of], images.projected[image_of]
        if masks is not None:
            image, projected = self.with_masks(image, masks)
        queries, image = self.first(tokens, tokens, image, projected)
        for block in self.rest:
            queries, image = block(queries, tokens, image)
        return self.final_norm(queries + self.final(queries + tokens, image)), image

    def with_masks(self, image: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """An ImageSide's tokens and projections for prompts with masks (P, h, w), each for one prompt."""
        dense = self.mask_downscaling(masks[:, None])  # (P, D, S, S)
        image = image - self.no_mask.weight + dense.flatten(2).transpose(1, 2)
        return image, self.first.projected(image)

    def _prompt_embeddings(self, places: Tensor, kinds: Tensor) -> Tensor:
        encoded = self.places.forward_with_coords(places + 0.5, self.input_size)  # centres of pixels
        encoded = torch.where((kinds == PADDING)[..., None], 0.0, encoded)
        embeddings: Tensor = encoded + self.kinds[kinds + 1]
        return embeddings


class _TokenToImage(nn.Module):
    """Attention of tokens to the image, whose keys and values come in one product.

    Positions are added to keys only: k = (x + p) Kᵀ = x Kᵀ + p Kᵀ, and p Kᵀ is the same for all images.
    """

    def __init__(self, original: Attention, image_places: Tensor) -> None:
        super().__init__()
        self.original = original
        self.weight, self.bias = _stacked([original.k_proj, original.v_proj], [True, False], image_places)

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        """(P, T, D) and (P, L, D) to (P, T, D)."""
        keys, values = product(image, self.weight, self.bias).chunk(2, dim=-1)
        return _attended(self.original, self.original.q_proj(tokens), keys, values)


class _TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the image, then the image to the tokens."""

    def __init__(self, original: TwoWayAttentionBlock, image_places: Tensor) -> None:
        super().__init__()
        self.original = original
        to_image, to_tokens = original.cross_attn_token_to_image, original.cross_attn_image_to_token
        self.weight, self.bias = _stacked(
            [to_image.k_proj, to_image.v_proj, to_tokens.q_proj], [True, False, True], image_places
        )

    def projected(self, image: Tensor) -> Tensor:
        """(B, L, D) to (B, L, 3 E): keys and values for the tokens, and queries to them."""
        return product(image, self.weight, self.bias)

    def forward(
        self, queries: Tensor, tokens: Tensor, image: Tensor, projected: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`queries` and `tokens`, which stand for their positions, are (P, T, D), `image` is (P, L, D), and
        `projected`, unless it is made here, (P, L, 3 E)."""
        block = self.original
        projected = self.projected(image) if projected is None else projected
        keys, values, image_queries = projected.chunk(3, dim=-1)
        if block.skip_first_layer_pe:
            queries = block.self_attn(queries, queries, queries)
        else:
            q = queries + tokens
            queries = queries + block.self_attn(q, q, queries)
        queries = block.norm1(queries)

        to_image = block.cross_attn_token_to_image
        attended = _attended(to_image, to_image.q_proj(queries + tokens), keys, values)
        queries = block.norm2(queries + attended)
        queries = block.norm3(queries + block.mlp(queries))

        to_tokens = block.cross_attn_image_to_token
        keys, values = to_tokens.k_proj(queries + tokens), to_tokens.v_proj(queries)
        return queries, block.norm4(image + _attended(to_tokens, image_queries, keys, values))


class Upscaling(nn.Module):
    """Upsamples the image tokens by a factor of four, to masks. Transposed convolutions whose stride is their
    kernel size are computed as matrix products; channels stay last until the masks are computed."""

    def __init__(self, original: nn.Sequential, dtype: torch.dtype = torch.float32) -> None:
        """`original` may lack the activation at its end. Matrix products are in `dtype`, the norm in
        float32."""
        super().__init__()
        self.first, self.first_bias = _as_product(original[0].to(dtype))
        self.norm: LayerNorm2d = original[1]
        self.activation: nn.Module = original[2]
        self.second, self.second_bias = _as_product(original[3].to(dtype))
        self.last: nn.Module = original[4] if len(original) > 4 else nn.Identity()

    def forward(self, image: Tensor, weights: Tensor) -> Tensor:
        """(P, L, D) and the weights of C masks (P, C, D / 8) to (P, C, 4 S, 4 S)."""
        return as_planes(self.pixels(image) @ weights.transpose(1, 2))

    def pixels(self, image: Tensor) -> Tensor:
        """(P, L, D) to (P, 16 L, D / 8), the pixels of low-res masks in the order that `as_planes` takes."""
        count, tokens, _ = image.shape
        dtype = self.first.dtype
        x = F.linear(image.to(dtype), self.first, self.first_bias)
        x = x.view(count, tokens, 4, -1).float()  # (P, L, 2·2, D / 4)
        x = F.layer_norm(x, x.shape[-1:], self.norm.weight, self.norm.bias, self.norm.eps)
        x = F.linear(self.activation(x.to(dtype)), self.second, self.second_bias)
        upscaled: Tensor = self.last(x)
        return upscaled.view(count, tokens * 16, -1)


def as_planes(pixels: Tensor) -> Tensor:
    """(P, S · S · 2·2 · 2·2, C), each image token's pixels together, to (P, C, 4 S, 4 S)."""
    # An int, because the side must be a constant where this is traced; the number of prompts must not.
    count, side = pixels.shape[0], math.isqrt(int(pixels.shape[1])) // 4
    planes = pixels.view(count, side, side, 2, 2, 2, 2, -1).permute(0, 7, 1, 3, 5, 2, 4, 6)
    return planes.reshape(count, -1, 4 * side, 4 * side)


class StackedMlps(nn.Module):
    """Several MLPs of one shape, each with an input of its own, at once."""

    def __init__(self, originals: Iterable[MLP]) -> None:
        super().__init__()
        layers = list(zip(*(mlp.layers for mlp in originals), strict=True))
        self.weights = nn.ParameterList(torch.stack([one.weight.T for one in layer]) for layer in layers)
        self.biases = nn.ParameterList(torch.stack([one.bias[None] for one in layer]) for layer in layers)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(M, P, D), of M MLPs, to (M, P, D / 8)."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = F.relu(x) if number < last else x
        return x


def is_traced() -> bool:
    """Whether what is computed now is being recorded for another engine."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call]


def product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x Wᵀ + b, where the bias may have any shape that fits."""
    products = F.linear(x, weight)
    # In place, because products are large; what is traced for other engines cannot be.
    return products + bias if is_traced() else products.add_(bias)


def _stacked(
    projections: list[nn.Linear], with_places: list[bool], image_places: Tensor
) -> tuple[nn.Parameter, nn.Parameter]:
    """Several projections as one: weights (n E, D), and biases (L, n E) that hold what positions add."""
    weights = torch.cat([projection.weight for projection in projections])
    biases = [
        projection(image_places) if placed else projection.bias.expand(len(image_places), -1)
        for projection, placed in zip(projections, with_places, strict=True)
    ]
    return nn.Parameter(weights, False), nn.Parameter(torch.cat(biases, dim=1), False)


def _as_product(convolution: Any) -> tuple[nn.Parameter, nn.Parameter]:
    """An nn.ConvTranspose2d whose 2 x 2 kernel is its stride: weights (4 out, in) and biases (4 out)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # rows, columns, out; in
    return nn.Parameter(weight, False), nn.Parameter(convolution.bias.repeat(4), False)


def _attended(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attention` of what is projected already, each of shape (P, any, E); then its output projection."""
    q, k, v = (x.view(*x.shape[:2], attention.num_heads, -1).transpose(1, 2) for x in (q, k, v))
    attended = F.scaled_dot_product_attention(q, k, v)  # (P, heads, any, E / heads)
    out: Tensor = attention.out_proj(attended.transpose(1, 2).flatten(2))
    return out
