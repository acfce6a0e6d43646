"""The names and shapes of the tensors of a checkpoint, without torch."""

from pathlib import Path

from sampoll.models.shared.file_header import Shapes, read_header
from sampoll.models.shared.hub_directory import weight_files
from sampoll.models.shared.hub_names import with_official_names


def read_shapes(checkpoint: Path) -> Shapes:
    """The shapes of the tensors of a file, or of a directory as the Hub has it, under the authors' names.

    The content of tensors is not read. ModelUnavailable if there is none, or something else than tensors.
    """
    shapes = {
        name: shape for file in weight_files(checkpoint) for name, shape in read_header(file).shapes.items()
    }
    return with_official_names(shapes, lambda shape, _: (1, *shape[1:]))
