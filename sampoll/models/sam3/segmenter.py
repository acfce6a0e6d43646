"""SAM 3 as a Segmenter: one pass of its trunk an image, for words and for all other prompts."""

from collections.abc import Sequence
from pathlib import Path

import torch

from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import Prompt
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Mask
from sampoll.models.sam3 import DETECTOR, TRACKER, TRACKER_NECK
from sampoll.models.sam3.network import TRUNK, sam3_network
from sampoll.models.sam3.words import THRESHOLD, Sam3Words
from sampoll.models.shared.checkpoint_file import read_tensors
from sampoll.models.shared.device import chosen_precision, device_named
from sampoll.models.shared.embedding import Embedding
from sampoll.models.shared.hub_directory import weights_in
from sampoll.models.shared.hub_model import imported_transformers, part_of, tokenizer_of, with_weights
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.network import Network
from sampoll.models.shared.packed_bits import packed_bits
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.torch_device import torch_device
from sampoll.models.shared.weights import filled

NORM_EPSILON = 1e-5
"""Of the trunk's norms in the authors' code; transformers has 1e-6."""


class Sam3Segmenter(PromptableSegmenter):
    """Masks of words have the detector's score: how sure it is that this is what the words name."""

    def __init__(
        self,
        network: Network,
        words: Sam3Words,
        device: torch.device,
        mask_policy: MaskPolicy = "best",
        *,
        precision: str = "fp32",
        prompt_batch: int = 1,
        image_batch: int = 1,
        checkpoint_sha256: str | None = None,
    ) -> None:
        """At most `image_batch` images are searched for the same words at once."""
        super().__init__(
            "sam3",
            network,
            device,
            mask_policy,
            precision=precision,
            prompt_batch=prompt_batch,
            checkpoint_sha256=checkpoint_sha256,
        )
        self._words = words
        self._image_batch = image_batch

    def decode_into(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]], take: TakeMasks) -> None:
        numbers = [
            [number for number, prompt in enumerate(prompts) if prompt.text is None] for _, prompts in work
        ]
        placed = [
            (embedding, [prompts[number] for number in own])
            for (embedding, prompts), own in zip(work, numbers, strict=True)
        ]

        def taken(image: int, index: int, masks: Sequence[Mask]) -> None:
            take(image, numbers[image][index], masks)

        super().decode_into(placed, taken)
        self._decode_words(work, take)

    def _decode_words(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]], take: TakeMasks) -> None:
        """Hands on the masks of all prompts with words: each text is looked for once in each image."""
        texts = [dict.fromkeys(each.text for each in prompts if each.text is not None) for _, prompts in work]
        images = [image for image, own in enumerate(texts) if own]
        for start in range(0, len(images), self._image_batch):
            some = images[start : start + self._image_batch]
            with self._calls.one():
                seen = self._words.seen([work[image][0].levels[TRUNK] for image in some])
                for text in dict.fromkeys(text for image in some for text in texts[image]):
                    rows = [row for row, image in enumerate(some) if text in texts[image]]
                    answers = self._words.candidates(seen.of(rows), text)
                    for row, scores, logits in zip(rows, *answers, strict=True):
                        image = some[row]
                        self._hand_on_words(image, work[image], text, (scores, logits), take)

    def _hand_on_words(
        self,
        image: int,
        work: tuple[Embedding, Sequence[Prompt]],
        text: str,
        candidates: tuple[torch.Tensor, torch.Tensor],
        take: TakeMasks,
    ) -> None:
        embedding, prompts = work
        scores, logits = candidates
        for number, prompt in enumerate(prompts):
            if prompt.text != text:
                continue
            threshold = THRESHOLD if prompt.score_thresh is None else prompt.score_thresh
            ordered, order = scores.sort(descending=True, stable=True)
            kept = order[ordered >= threshold]
            take(image, number, ())
            for full, rows in self._masks.upsampled(logits[kept], embedding.original_size):
                bits = packed_bits(full > self._masks.mask_threshold).cpu().numpy()
                pairs = zip(bits, scores[kept][rows].tolist(), strict=True)
                masks = [Mask.from_packed(row, embedding.original_size, score) for row, score in pairs]
                take(image, number, masks)


def loaded_segmenter(directory: Path, options: ModelSettings) -> Sam3Segmenter:
    """SAM 3 from a directory of the Hugging Face Hub. ModelUnavailable if a part of it is missing."""
    transformers = imported_transformers("--model sam3")
    device_name = device_named(options.device)
    device, precision = torch_device(device_name), chosen_precision(options.precision, device_name)
    weights, sha256 = read_tensors(weights_in(directory))
    config = part_of(transformers.AutoConfig, directory, "configuration")
    config = getattr(config, "detector_config", config)
    config.vision_config.backbone_config.layer_norm_eps = NORM_EPSILON

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {
            name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)
        }

    model = with_weights(transformers.Sam3Model, config, part(DETECTOR), directory)
    trunk, model.vision_encoder.backbone = model.vision_encoder.backbone, torch.nn.Identity()
    vision = transformers.models.sam3.modeling_sam3
    neck = filled(lambda: vision.Sam3VisionNeck(config.vision_config), part(TRACKER_NECK))
    shape = config.vision_config.backbone_config
    network = sam3_network(trunk, neck, part(TRACKER), shape.image_size, shape.patch_size)
    tokenizer = tokenizer_of(transformers, directory)
    segmenter = Sam3Segmenter(
        network,
        Sam3Words(model, tokenizer, device),
        device,
        options.mask_policy,
        precision=precision,
        prompt_batch=options.prompt_batch_on(device_name),
        image_batch=options.batch_size_on(device_name),
        checkpoint_sha256=sha256,
    )
    segmenter.check()
    return segmenter
