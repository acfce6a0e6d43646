"""Plug-ins of other packages are found by entry points; one that is broken does not affect the others."""

from collections.abc import Mapping

import pytest
from support.folders import Folders, drop_pair
from support.process import TESTS, sampoll

MODULE = """
import numpy as np
from sampoll import Artifact, Mask, ModelInfo

class Everywhere:
    info = ModelInfo("everywhere")
    def __init__(self, options):
        self.checkpoint, self.device = options.checkpoint, options.device
    def embed(self, images):
        return [image.shape[:2] for image in images]
    def decode(self, work):
        return [[[Mask.from_array(np.ones(size, bool), 1.0)] for _ in prompts] for size, prompts in work]

class Named(Everywhere):
    checkpoint, original, quantize, reply_type = "weights.pt", None, "no", 7

class Sizes:
    needs_image = True
    thumbnails = {"sizes/.txt": 0}
    def __init__(self, options):
        self.options = options
    def suffixes(self, segmentation):
        return ["sizes/.txt"]
    def render(self, segmentation, earlier):
        return [Artifact("sizes/.txt", repr(segmentation.size).encode())]

class Names:
    folder = "names"
    def __init__(self, options):
        pass
    def write(self, results, directory):
        directory.mkdir(exist_ok=True)
        (directory / "all.txt").write_text(",".join(result.name for result in results))

def read(source, images):
    from sampoll import AnnotatedImage, Box, Prompt
    for path in sorted(source.glob("*.jpg")):
        yield AnnotatedImage(path.name, path, (Prompt(box=Box(1, 1, 9, 9), label="thing"),))
"""
ENTRY_POINTS = """
[sampoll.segmenters]
everywhere = beside:Everywhere
named = beside:Named
broken = beside.nothing:build
grabcut = beside:Everywhere

[sampoll.formats]
sizes = beside:Sizes
torn = beside:Nothing

[sampoll.datasets]
names = beside:Names

[sampoll.importers]
folder = beside:read
"""


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment in which a package beside ours is installed."""
    place = tmp_path_factory.mktemp("beside")
    (place / "beside.py").write_text(MODULE)
    info = place / "beside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return {"PYTHONPATH": f"{place}:{TESTS}"}


def test_a_package_can_add_a_model_a_format_and_a_data_set_format(
    folders: Folders, beside: Mapping[str, str]
) -> None:
    drop_pair(folders.input, "a")
    chosen = ("--model", "everywhere", "--format", "sizes", "--format", "names")

    run = sampoll("run", *folders.flags, *chosen, env=beside)

    assert run.stdout.startswith("1 done, 0 failed"), run.stderr
    assert (folders.output / "sizes/a.txt").read_text() == "(24, 32)"
    assert (folders.output / "names/all.txt").read_text() == "a"


def test_a_format_can_declare_that_it_needs_the_image_and_its_thumbnails(
    folders: Folders, beside: Mapping[str, str]
) -> None:
    drop_pair(folders.input, "a")
    run = sampoll("run", *folders.flags, "--model", "everywhere", "--format", "sizes", env=beside)
    assert run.returncode == 0, run.stderr

    exported = sampoll("export", folders.output, "--format", "sizes", env=beside)
    reported = sampoll("report", folders.output, env=beside)

    assert exported.returncode == 2
    assert "sizes needs the images, which an export does not open: use sampoll run" in exported.stderr
    assert reported.returncode == 0, reported.stderr
    assert '<img src="sizes/a.txt"' in (folders.output / "report.html").read_text()


def test_a_package_can_add_an_importer(folders: Folders, beside: Mapping[str, str]) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("prompts", "import", folders.input, "--from", "folder", "--to", folders.output, env=beside)

    assert (run.returncode, run.stdout) == (
        0,
        f"1 pair with 1 prompt in {folders.output}, 0 passed over\n",
    ), run.stderr
    assert (folders.output / "a.json").is_file()
    unknown = sampoll("prompts", "import", folders.input, "--from", "x", "--to", folders.output, env=beside)
    assert unknown.returncode == 2
    assert "no 'x' among importers (--from): coco, csv, folder, labelme, opex, yolo" in unknown.stderr


def test_help_names_what_is_installed_and_imports_none_of_it(beside: Mapping[str, str]) -> None:
    shown = sampoll("run", "--help", env={**beside, "COLUMNS": "200", "TERMINAL_WIDTH": "200"})

    assert shown.returncode == 0
    assert "broken, edgetam, everywhere, grabcut, mobile_sam, named, " in shown.stdout
    assert "indexed, labelme, png, png8, sizes, torn, coco, names, yolo" in shown.stdout


def test_attributes_of_a_class_are_those_of_its_segmenters(
    folders: Folders, beside: Mapping[str, str]
) -> None:
    doctor = sampoll("doctor", *folders.flags, "--model", "named", env=beside)
    compared = sampoll("models", "compare", folders.input, "--model", "named", env=beside)

    assert doctor.returncode == 0, doctor.stdout
    assert compared.returncode == 2
    assert "--model named is none of edgetam, mobile_sam, " in compared.stderr


def test_a_plugin_with_a_name_of_ours_is_not_used_and_its_package_is_named(
    folders: Folders, beside: Mapping[str, str]
) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, "--model", "grabcut", env=beside)

    assert run.stdout.startswith("1 done"), run.stderr
    said = "the package beside brings 'grabcut' for sampoll.segmenters, which sampoll has already"
    assert said in run.stderr


def test_a_plugin_that_cannot_be_imported_is_named_and_the_others_work(
    folders: Folders, beside: Mapping[str, str]
) -> None:
    drop_pair(folders.input, "a")

    model = sampoll("run", *folders.flags, "--model", "broken", env=beside)
    form = sampoll("run", *folders.flags, "--model", "grabcut", "--format", "torn", env=beside)
    listed = sampoll("models", "list", env=beside)

    assert (model.returncode, form.returncode, listed.returncode) == (69, 78, 0)
    assert "--model 'broken' of the package beside cannot be imported" in model.stderr
    assert "--format torn: 'torn' of the package beside cannot be imported: AttributeError" in form.stderr
    assert "vit_b" in listed.stdout
    assert "'broken' of the package beside cannot be imported" in listed.stderr
    assert folders.waiting == ["a.jpg", "a.json"]
