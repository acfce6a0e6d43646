"""The official checkpoints of SAM, and where they are kept on this machine."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from sampoll.core.errors import UsageError

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights as its authors publish it."""

    model: str
    file: str
    url: str
    size: int  # bytes
    sha256: str
    licence: str = "Apache-2.0"


_AT = "https://dl.fbaipublicfiles.com/segment_anything"
_LISTED = (
    Checkpoint(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        f"{_AT}/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    Checkpoint(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        f"{_AT}/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    Checkpoint(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        f"{_AT}/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)
OFFICIAL: Mapping[str, Checkpoint] = {checkpoint.model: checkpoint for checkpoint in _LISTED}
"""https://github.com/facebookresearch/segment-anything#model-checkpoints"""


def official(model: str) -> Checkpoint:
    """The checkpoint of a model; UsageError if it has none."""
    if model not in OFFICIAL:
        raise UsageError(f"no official checkpoint for {model!r}: there are {', '.join(OFFICIAL)}")
    return OFFICIAL[model]


def home_of(home: Path | None) -> Path:
    """Where sampoll keeps what can be had again: what the setting says, or the user's cache."""
    return platformdirs.user_cache_path("sampoll") if home is None else home


def kept_at(checkpoint: Checkpoint, home: Path | None) -> Path:
    """Where a checkpoint is kept; it need not be there yet."""
    return home_of(home) / FOLDER / checkpoint.file


def is_official(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether a file is the checkpoint, bit by bit."""
    if path.stat().st_size != checkpoint.size:
        return False
    return sha256_of(path) == checkpoint.sha256


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
