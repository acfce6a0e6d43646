"""What the documentation shows works as shown."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from support import Folders, drop_pair, iou, read_mask, sampoll

from sampoll.checkpoints import OFFICIAL
from sampoll.demo import demo_pairs
from sampoll.errors import JobError, SampollError
from sampoll.prompts import parse_prompts, prompt_file_schema
from sampoll.settings import Settings, all_settings

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readme_has_exactly_two_lines_to_copy_before_the_details() -> None:
    first_part = (REPOSITORY / "README.md").read_text().partition("\n## ")[0]

    assert re.findall(r"```sh\n(.*?)```", first_part, re.DOTALL) == [
        "pip install . && sampoll demo demo && sampoll run -i demo/in -o demo/out --model grabcut\n",
        "pip install '.[dev]' && pytest\n",
    ]


def test_the_segmenter_of_ones_own_works_as_it_stands(folders: Folders, tmp_path: Path) -> None:
    [code] = blocks(DOCS / "how-to" / "own-segmenter.md", "python")
    (tmp_path / "colours.py").write_text(code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    pair = next(pair for pair in demo_pairs() if pair.name == "box")
    drop_pair(folders.input, "ball", {"points": [{"x": 220, "y": 270, "label": 1}]}, image=pair.image)

    run = sampoll("run", *folders.flags, "--model", "colours:build", cwd=tmp_path)

    assert run.returncode == 0, run.stderr
    assert iou(read_mask(folders.output / "ball.png"), pair.truths[0]) > 0.5
    assert json.loads((folders.output / "ball.json").read_text())["meta"]["model"] == "same-colour"


@pytest.mark.parametrize("prompt", blocks(DOCS / "prompts.md", "json"))
def test_the_prompts_that_are_shown_are_prompts(prompt: str) -> None:
    assert parse_prompts(prompt.encode(), "shown.json", 10)


def test_the_schema_that_is_shown_is_the_one_that_is_printed() -> None:
    assert json.loads((DOCS / "prompt.schema.json").read_text()) == prompt_file_schema()


def test_every_official_checkpoint_is_documented_as_it_is_checked() -> None:
    page = (DOCS / "how-to" / "models.md").read_text()

    for checkpoint in OFFICIAL.values():
        size = f"{checkpoint.size / 1e6:,.0f}"
        assert f"| `{checkpoint.model}` | `{checkpoint.file}` | {size} | `{checkpoint.sha256}` |" in page
        assert checkpoint.url.removesuffix(checkpoint.file) in page


def test_every_setting_is_documented_with_its_default() -> None:
    page = (DOCS / "settings.md").read_text()

    for setting in all_settings():
        pattern = rf"\| `{setting.key}`[^|]*\| `?{re.escape(setting.default)}`? ?\|"
        assert re.search(pattern, page), setting.key
    assert set(re.findall(r"^\| (\w+) \| `", page, re.MULTILINE)) == set(Settings.model_fields)


def subclasses(kind: type[SampollError]) -> list[type[SampollError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]


def test_every_exit_code_and_every_job_error_is_documented() -> None:
    page = (DOCS / "errors.md").read_text()

    for kind in subclasses(SampollError):
        assert f"| {kind.exit_code} |" in page, kind
        if issubclass(kind, JobError) and not kind.__subclasses__():
            assert f"`{kind.code}`" in page, kind


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text()

    for page in DOCS.rglob("*.md"):
        assert f": {page.relative_to(DOCS)}\n" in navigation, page


def test_the_versions_agree() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert sampoll("--version").stdout.split()[1] == project["version"]
    assert sys.version_info >= (3, 11)
