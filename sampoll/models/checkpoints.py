"""Official checkpoints, and where they are kept on this machine. Each model family defines its own."""

import os
from dataclasses import dataclass
from pathlib import Path

from sampoll.config.plugins import SEGMENTERS, load_all
from sampoll.config.settings.model import ModelSettings
from sampoll.config.settings.values import SecretAddress
from sampoll.core.addresses import split_login
from sampoll.core.errors import ModelUnavailable, UsageError
from sampoll.core.suggestions import did_you_mean
from sampoll.files.files import sha256_of
from sampoll.files.home import user_cache_directory

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights as its authors publish it."""

    model: str
    file: str
    url: str
    size: int | None  # bytes; None if it is not known: then the digest alone says whether a file is this one
    sha256: str
    licence: str = "Apache-2.0"

    @property
    def megabytes(self) -> str:
        """The size for people, in units of a million bytes."""
        return "unknown" if self.size is None else f"{self.size / 1e6:,.0f}"


def home_of(home: Path | None) -> Path:
    """The directory for files that can be downloaded or made again: `home`, or else the user's cache."""
    return user_cache_directory() if home is None else home


def official_checkpoints() -> dict[str, Checkpoint]:
    """The official checkpoints of all families, by their models, the smallest first."""
    found = {
        name: checkpoint
        for name, factory in load_all(SEGMENTERS)
        if isinstance(checkpoint := getattr(factory, "checkpoint", None), Checkpoint)
    }
    return dict(sorted(found.items(), key=lambda entry: entry[1].size or 0))


def official_checkpoint(model: str) -> Checkpoint:
    """The official checkpoint of a model; UsageError if it has none."""
    known = official_checkpoints()
    if model not in known:
        raise UsageError(
            f"no official checkpoint for {model!r}: there are {', '.join(known)}{did_you_mean(model, known)}"
        )
    return known[model]


def kept_at(checkpoint: Checkpoint, home: Path | None) -> Path:
    """Where a checkpoint is kept; it need not be there yet."""
    return home_of(home) / FOLDER / checkpoint.file


def is_official(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether a file is the checkpoint, bit by bit."""
    if checkpoint.size not in (None, path.stat().st_size):
        return False
    return sha256_of(path) == checkpoint.sha256


def check_official(path: Path, sha256: str, official: Checkpoint) -> None:
    """ModelUnavailable if what was loaded from the place of an official checkpoint is something else."""
    if sha256 != official.sha256:
        raise ModelUnavailable(
            f"{path} is not {official.model} as published, but damaged or something else: delete it and run "
            f"`sampoll models pull {official.model}`, or name weights of your own with --checkpoint"
        )


def checkpoint_file(official: Checkpoint, options: ModelSettings) -> Path:
    """The file of weights: the one that was named, or the official one, fetched if that was asked for;
    ModelUnavailable if it is not there."""
    if options.checkpoint is not None:
        return named_checkpoint(options.checkpoint)
    path = kept_at(official, options.home)
    if not os.path.isfile(path):  # noqa: PTH113
        if not options.pull:
            raise ModelUnavailable(
                f"{official.model} needs its weights: run `sampoll models pull {official.model}`, or add "
                "--pull, or give --checkpoint FILE; --model grabcut needs none"
            )
        fetch(official, options.mirror, path)
    return path


def named_checkpoint(path: Path) -> Path:
    """The path of --checkpoint; ModelUnavailable if no file and no directory is there."""
    if os.path.isfile(path) or os.path.isdir(path):  # noqa: PTH113, PTH112  False, too, where we may not look
        return path
    raise ModelUnavailable(
        f"no checkpoint at {path}: correct --checkpoint, or use --model grabcut, which needs none"
    )


def fetch(checkpoint: Checkpoint, mirror: SecretAddress | None, path: Path) -> None:
    """Downloads a checkpoint from where its authors have it, or from a mirror; as `download`."""
    from sampoll.models.download import Download, announced_size, download

    url, login = checkpoint.url, None
    if mirror is not None:
        folder, login = split_login(mirror.get_secret_value())
        url = f"{folder.rstrip('/')}/{checkpoint.file}"
    size = announced_size(url, login) if checkpoint.size is None else checkpoint.size
    download(Download(url, size, checkpoint.sha256, login), path)
