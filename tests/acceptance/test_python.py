"""The Python API beside the commands: the same files, on any system, and what the pages about it show."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from support.folders import Folders, files_below
from support.process import REPOSITORY, environment
from support.process import sampoll as command

import sampoll
from sampoll.inputs.photograph import photograph

PROMPTS: dict[str, Any] = {
    "prompts": [
        {"box": {"x0": 72, "y0": 10, "x1": 488, "y1": 392}, "label": "cup", "id": "7"},
        {"points": [{"x": 300, "y": 200, "label": 1}, {"x": 20, "y": 20, "label": 0}]},
    ]
}
FORMATS = ("png", "png8", "indexed", "labelme", "overlay")
SETTINGS: dict[str, Any] = {"fill_holes": 50, "simplify": 1.5}
PAGE = REPOSITORY / "docs" / "how-to" / "python.md"


def without_id_and_times(path: Path) -> bytes:
    """The content of a file; of a record, without what differs between two runs."""
    content = path.read_bytes()
    if path.suffix != ".json":
        return content
    return re.sub(rb'"(timestamp|job_id|seconds)": "(\\.|[^"\\])*"', b"", content)


def flags_of(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.parametrize("name", ["grabcut", "support.tiny_models:sam"])
def test_save_writes_the_files_of_a_run(name: str, folders: Folders, tmp_path: Path) -> None:
    image = folders.input / "coffee.jpg"
    image.write_bytes(photograph().content)
    image.with_suffix(".json").write_text(json.dumps(PROMPTS))
    formats = [word for name in FORMATS for word in ("--format", name)]

    run = command("run", *folders.flags, "--model", name, *formats, *flags_of(SETTINGS))
    with sampoll.load(name, **SETTINGS) as model:
        result = model.segment(folders.input / "done" / "coffee.jpg", **PROMPTS)
    again = folders.output.with_name("again")
    written = result.save(again, formats=FORMATS)

    assert run.returncode == 0, run.stderr
    assert files_below(again) == files_below(folders.output)
    assert sorted(map(str, written)) == [str(again / path) for path in files_below(again)]
    for path in files_below(again):
        assert without_id_and_times(again / path) == without_id_and_times(folders.output / path), path


def python(code: str, folder: Path, *, without_posix: bool = False) -> subprocess.CompletedProcess[str]:
    start = ["-m", "support.without_posix", code] if without_posix else ["-c", code]
    return subprocess.run(
        [sys.executable, *start],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


USE = """
import sampoll
model = sampoll.load("grabcut", device="cpu")
result = model.segment("docs/images/coffee.jpg", box=(72, 10, 488, 392))
print(result, [path.name for path in result.save("out")])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the images that the page names."""
    shutil.copytree(REPOSITORY / "docs" / "images", tmp_path / "docs" / "images")
    return tmp_path


@pytest.mark.parametrize("without_posix", [False, True])
def test_a_program_that_forgets_its_model_ends_in_order_on_any_system(
    without_posix: bool, folder: Path
) -> None:
    done = python(USE, folder, without_posix=without_posix)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "<Result 'coffee': 1 mask of 600x400 pixels, grabcut> ['coffee.png', 'coffee.json']\n"
    )


def test_a_program_that_ends_while_its_model_works_ends_in_order(folder: Path) -> None:
    done = python(
        "import contextlib, threading, sampoll\n"
        "model, began = sampoll.load('grabcut'), threading.Event()\n"
        "def work():\n"
        "    with contextlib.suppress(Exception):\n"
        "        while True:\n"
        "            model.segment('docs/images/coffee.jpg', box=(72, 10, 488, 392))\n"
        "            began.set()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "began.wait()\n",
        folder,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_code_of_the_page_works(folder: Path) -> None:
    first, many = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

    shown, saved = python(first, folder), python(many, folder)

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("(1, 400, 600) [0.9")
    assert saved.returncode == 0, saved.stderr
    assert {"coffee.png", "overlay/coffee.jpg", "coffee-overlay.png"} <= set(files_below(folder / "out"))


def test_the_notebook_runs_and_holds_no_output(tmp_path: Path) -> None:
    notebook = nbformat.read(PAGE.with_suffix(".ipynb"), as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)

    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert "points[0]: (700, 3) lies outside the image of 600x400 pixels" in str(outputs)
    assert (tmp_path / "results" / "cup.json").exists()
