"""What a model has found in one image: masks in memory, which become files when they are asked for."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.app.assembly import format_options
from sampoll.app.python.arguments import checked_directory, checked_name, outputs_in
from sampoll.app.python.wording import errors_in_python, in_python
from sampoll.config.settings import Settings
from sampoll.config.settings.outputs import OutputSettings
from sampoll.core.errors import UsageError, translated_os_errors
from sampoll.core.jobs import Prompt, SkippedPrompt
from sampoll.core.names import result_path
from sampoll.core.protocols import Format
from sampoll.core.results import BoolMask, Mask, ModelInfo, PackedMask, Segmentation
from sampoll.core.wording import counted
from sampoll.engine.render import rendered
from sampoll.files.atomic import replace_file
from sampoll.formats.geometry.contours import Polygon, outer_contours
from sampoll.formats.geometry.rle import Rle, rle_of
from sampoll.formats.options import FormatOptions
from sampoll.formats.overlay import Overlay
from sampoll.formats.registry import RECORD, load_format, load_formats, needs_image
from sampoll.inputs.discovery import read_image_again


@dataclass(frozen=True, eq=False)
class Result:
    """The masks of one image, N in all: those of the first prompt, then those of the second, and so on.

    A prompt has one mask or several, or, for "everything" and words, any number, even none. All properties
    that are about masks have one value for each of them, in the same order. `segmentation` is the value of
    which they are made. A result keeps its image for the overlay, unless that came from a path: then the file
    is read again.
    """

    segmentation: Segmentation = field(repr=False)
    _settings: Settings = field(repr=False)
    _image_path: Path | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """The number of masks, N."""
        return len(self._all)

    def __repr__(self) -> str:
        height, width = self.size
        masks = counted(len(self), "mask")
        return f"<Result {self.name!r}: {masks} of {width}x{height} pixels, {self.model.name}>"

    @property
    def name(self) -> str:
        """The name of the files that `save` writes, without their suffixes."""
        return self.segmentation.name

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.segmentation.size

    @property
    def model(self) -> ModelInfo:
        """The model that made the masks."""
        return self.segmentation.model

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts that were segmented."""
        return self.segmentation.prompts

    @property
    def skipped(self) -> tuple[SkippedPrompt, ...]:
        """The bad prompts that were left out, with `on_bad_prompt="skip"`."""
        return tuple(replace(each, message=in_python(each.message)) for each in self.segmentation.skipped)

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage took; those of a batch, divided by its number of images."""
        return dict(self.segmentation.seconds)

    @property
    def prompt_indexes(self) -> NDArray[np.intp]:
        """Shape (N,): the index of each mask's prompt among all that were given."""
        per_prompt = zip(self.segmentation.indexes, self.segmentation.masks, strict=True)
        return np.array([index for index, masks in per_prompt for _ in masks], np.intp)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Shape (N, H, W), bool, True on the object; unpacked by each call. `mask` unpacks a single one."""
        pixels = np.empty((len(self), *self.size), np.bool_)
        for number, mask in enumerate(self._all):
            pixels[number] = mask.pixels()
        return pixels

    def mask(self, number: int) -> BoolMask:
        """The mask with this number, shape (H, W), bool."""
        return self._all[number].pixels()

    @property
    def packed(self) -> PackedMask:
        """Shape (N, H, ceil(W / 8)), uint8: eight pixels a byte, as `numpy.packbits(masks, axis=2)`."""
        height, width = self.size
        bits = np.empty((len(self), height, (width + 7) // 8), np.uint8)
        for number, mask in enumerate(self._all):
            bits[number] = mask.packed
        return bits

    @property
    def scores(self) -> NDArray[np.float64]:
        """Shape (N,): the model's own estimate of the quality of each mask."""
        return np.array([mask.score for mask in self._all], np.float64)

    @property
    def labels(self) -> list[str]:
        """The label of each mask's prompt."""
        return [prompt.label for _, prompt, _ in self.segmentation.numbered_masks()]

    @property
    def boxes(self) -> NDArray[np.int64]:
        """Shape (N, 4): x0, y0, x1, y1 of the smallest box around each mask, as a prompt has it: x1 - x0 is
        its width. All 0 for an empty mask."""
        found = [mask.box for mask in self._all]
        rows = [
            (0,) * 4 if box is None else (box.left, box.top, box.right + 1, box.bottom + 1) for box in found
        ]
        return np.array(rows, np.int64).reshape(-1, 4)

    @property
    def polygons(self) -> list[list[Polygon]]:
        """For each mask the outlines of its connected parts, as of the record: each of shape (K, 2), x and y,
        through the centres of border pixels, without holes."""
        simplify_pixels = self._settings.masks.simplify_pixels
        return [[each.polygon for each in outer_contours(mask, simplify_pixels)] for mask in self._all]

    @property
    def rle(self) -> list[Rle]:
        """Each mask as a run-length encoding of COCO, exact."""
        return [rle_of(mask) for mask in self._all]

    @errors_in_python()
    def overlay(self) -> Image.Image:
        """The image with its masks, prompts and scores, at most 1024 pixels a side; over plain gray without
        the image. BadImage if its file is no longer what it was."""
        [picture] = Overlay().render(self._with_image(self.segmentation), ())
        return Image.open(io.BytesIO(picture.content))

    def without_image(self) -> Self:
        """The same result with its masks only, which take much less memory."""
        segmentation = replace(self.segmentation, image=b"", pixels=None)
        return replace(self, segmentation=segmentation, _image_path=None)

    @errors_in_python()
    def save(
        self,
        directory: str | PathLike[str],
        *,
        formats: Sequence[str] | str | None = None,
        name: str | None = None,
    ) -> list[Path]:
        """Writes the files that `sampoll run` writes, and returns their paths, the record last.

        `formats` are those of `--format`; those of the settings, if it is None. Files of the same name are
        replaced, each as a whole. UsageError for an unknown format, or one of data sets; StorageTrouble or
        PermissionRefused if a file cannot be written.
        """
        target = checked_directory(directory)
        segmentation = self._named(name)
        outputs = self._settings.outputs if formats is None else outputs_in(formats, self._settings.outputs)
        options = self._format_options(target, outputs)
        rendering = [*formats_of_results(outputs.names, options), load_format(RECORD, options)]
        if any(map(needs_image, rendering)):
            segmentation = self._with_image(segmentation)
        written = []
        for artifact in rendered(rendering, segmentation):
            path = target / result_path(segmentation.name, artifact.suffix)
            with translated_os_errors("write", path):
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, artifact.content)
            written.append(path)
        return written

    def _repr_png_(self) -> bytes:
        """The overlay, for notebooks."""
        file = io.BytesIO()
        self.overlay().save(file, "PNG")
        return file.getvalue()

    @property
    def _all(self) -> list[Mask]:
        return [mask for masks in self.segmentation.masks for mask in masks]

    def _named(self, name: str | None) -> Segmentation:
        """The segmentation under another name; its record then tells where the image is."""
        if name is None or name == self.name:
            return self.segmentation
        return replace(self.segmentation, name=checked_name(name), image_path=self.segmentation.image_file)

    def _with_image(self, segmentation: Segmentation) -> Segmentation:
        """The segmentation with the content of its file, if it came from one."""
        if self._image_path is None:
            return segmentation
        path, most = self._image_path, self._settings.limits.max_image_bytes
        content = read_image_again(path, most, segmentation.image_sha256, file=str(path))
        return replace(segmentation, image=content)

    def _format_options(self, directory: Path, outputs: OutputSettings) -> FormatOptions:
        settings = self._settings.model_copy(update={"outputs": outputs})
        images = None if self._image_path is None else self._image_path.absolute().parent
        return format_options(settings, directory.absolute(), images)


def formats_of_results(names: Sequence[str], options: FormatOptions) -> Sequence[Format]:
    """The formats of these names, which a result can be saved in; UsageError if it cannot."""
    chosen = load_formats(names, options)
    if chosen.of_datasets:
        raise UsageError("formats of data sets are made of many results: save these, and `sampoll export`")
    return chosen.of_results
