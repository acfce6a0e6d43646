import os
from pathlib import Path

import pytest
from hypothesis import settings
from support import Folders

# No deadlines: machines are shared. On CI every run tries the same examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "in", tmp_path / "out")
    folders.input.mkdir()
    return folders
