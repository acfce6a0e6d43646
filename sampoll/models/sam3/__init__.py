"""SAM 3: words, points and boxes, by Carion et al., https://arxiv.org/abs/2511.16719, with the modules of
transformers. Its weights stand under a licence of their own, and are given out on request only: nothing here
fetches them, and nothing chooses this model unless it, or a directory with it, is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import PROMPT_KINDS
from sampoll.models.checkpoints import named_checkpoint
from sampoll.models.shared.detection import check_model
from sampoll.models.shared.tensor_shapes import read_shapes

if TYPE_CHECKING:
    from sampoll.models.sam3.segmenter import Sam3Segmenter

DETECTOR, TRACKER, TRACKER_NECK = "detector_model.", "tracker_model.", "tracker_neck."
"""How the names of tensors begin: of the part for words, of that for points, and of what that one sees."""


@dataclass(frozen=True)
class Sam3:
    """The factory. Its attributes are those that `models.registry.Factory` describes."""

    family: ClassVar[str] = "sam3"
    licence: ClassVar[str] = "SAM License"
    needs_checkpoint: ClassVar[bool] = True
    embedding_bytes: ClassVar[int] = 4 * (32 * 288**2 + 64 * 144**2 + 256 * 72**2 + 1024 * 72**2)
    prompts: ClassVar[tuple[str, ...]] = PROMPT_KINDS
    reply_type: ClassVar[str] = "sam"

    def holds(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        return all(
            any(name.startswith(part) for name in shapes) for part in (DETECTOR, TRACKER, TRACKER_NECK)
        )

    def __call__(self, options: ModelSettings) -> "Sam3Segmenter":
        """ModelUnavailable if the directory, transformers or the device cannot be used."""
        if options.checkpoint is None:
            raise ModelUnavailable(
                "sam3 needs --checkpoint DIR, the files of facebook/sam3 on the Hugging Face Hub: its owner "
                "gives them out on request, under the SAM License"
            )
        if options.engine == "openvino" or options.precision == "int8" or options.compile:
            raise ModelUnavailable(
                "sam3 runs in torch only: leave --engine openvino, --precision int8 and --compile out"
            )
        directory = named_checkpoint(options.checkpoint)
        if not directory.is_dir():
            raise ModelUnavailable(
                f"{directory} is a file: sam3 needs --checkpoint DIR, a directory of the Hugging Face Hub"
            )
        check_model("sam3", directory, read_shapes(directory))
        from sampoll.models.sam3.segmenter import loaded_segmenter

        return loaded_segmenter(directory, options)


build = Sam3()
