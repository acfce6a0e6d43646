from dataclasses import dataclass
from pathlib import Path

import pytest
from support import names_in


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


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "in", tmp_path / "out")
    folders.input.mkdir()
    return folders
