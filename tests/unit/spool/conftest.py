"""The directories of a spool."""

from pathlib import Path

import pytest

from sampoll.spool.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    layout.input.mkdir()
    layout.output.mkdir()
    return layout
