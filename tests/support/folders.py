"""Pairs in an input directory, and their results."""

import json
from dataclasses import dataclass
from pathlib import Path

from opex import ObjectPredictions

from sampoll.core.jobs import RgbImage
from support.images import encoded, image_of

BOX = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}


def drop_pair(
    directory: Path, name: str, prompt: object = BOX, *, image: RgbImage | None = None, suffix: str = ".jpg"
) -> None:
    """Puts a pair into a directory, as someone who uses sampoll would."""
    kind = {".jpg": "JPEG", ".png": "PNG"}[suffix.lower()]
    (directory / f"{name}{suffix}").write_bytes(encoded(image_of() if image is None else image, kind))
    (directory / f"{name}.json").write_text(json.dumps(prompt))


@dataclass(frozen=True)
class Folders:
    """The directories that a user of `sampoll run` sees."""

    input: Path
    output: Path

    @property
    def flags(self) -> tuple[object, ...]:
        return ("-i", self.input, "-o", self.output, "--settle", 0.1, "--rescan", 0.5)

    @property
    def done(self) -> list[str]:
        return names_in(self.input / "done")

    @property
    def failed(self) -> list[str]:
        return names_in(self.input / "failed")

    @property
    def results(self) -> list[str]:
        return names_in(self.output)

    @property
    def waiting(self) -> list[str]:
        return [name for name in names_in(self.input) if name not in ("done", "failed")]


def read_opex(path: Path) -> ObjectPredictions:
    return ObjectPredictions.from_json_string(path.read_text())


def names_in(directory: Path) -> list[str]:
    """The visible names in a directory; none where it does not exist."""
    return sorted(p.name for p in directory.glob("*") if not p.name.startswith("."))


def files_below(directory: Path) -> list[str]:
    """The visible files and links in a directory and its folders, by their paths relative to it."""
    paths = (p.relative_to(directory) for p in directory.rglob("*") if p.is_symlink() or p.is_file())
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))
