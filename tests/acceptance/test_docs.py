"""What the documentation shows works as shown."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from support.folders import BOX, Folders, drop_pair
from support.images import iou, read_mask
from support.process import REPOSITORY, environment, sampoll

import sampoll as sampoll_package
from sampoll.app.demo import demo_pairs, write_demo
from sampoll.cli.main import app
from sampoll.config.resolve import resolve
from sampoll.config.schema import settings_schema
from sampoll.config.settings.limits import LimitSettings
from sampoll.config.template import SCHEMA_FILE
from sampoll.core.errors import JobError, SampollError
from sampoll.inputs.prompt_errors import MESSAGES, POINT_LABELS, UNKNOWN_KEY
from sampoll.inputs.prompt_file import parse_prompts
from sampoll.inputs.prompt_schema import SCHEMA_FILE as PROMPT_SCHEMA_FILE
from sampoll.inputs.prompt_schema import prompt_file_schema
from sampoll.models.checkpoints import official_checkpoints
from sampoll.models.shared.factory import FamilyModel
from sampoll.models.shared.network import Network

DOCS = REPOSITORY / "docs"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readme_has_exactly_two_lines_to_copy_before_the_details() -> None:
    first_part = (REPOSITORY / "README.md").read_text().partition("\n## ")[0]

    assert re.findall(r"```sh\n(.*?)```", first_part, re.DOTALL) == [
        "pip install . && sampoll demo demo && sampoll run demo/in demo/out --model grabcut\n",
        "pip install '.[dev]' && pytest\n",
    ]


def test_the_segmenter_that_is_shown_works(folders: Folders, tmp_path: Path) -> None:
    [code] = blocks(DOCS / "how-to" / "own-segmenter.md", "python")
    (tmp_path / "colours.py").write_text(code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    pair = next(pair for pair in demo_pairs() if pair.name == "box")
    drop_pair(folders.input, "ball", {"points": [{"x": 220, "y": 270, "label": 1}]}, image=pair.image)

    run = sampoll("run", *folders.flags, "--model", "colours:build", cwd=tmp_path)

    assert run.returncode == 0, run.stderr
    assert iou(read_mask(folders.output / "ball.png"), pair.truths[0]) > 0.5
    assert json.loads((folders.output / "ball.json").read_text())["meta"]["model"] == "same-colour"


def test_the_family_that_is_shown_is_one_and_the_page_names_all_that_a_network_is() -> None:
    page = DOCS / "how-to" / "family.md"
    [code] = blocks(page, "python")
    shown: dict[str, Any] = {}
    exec(code, shown)

    wide = shown["wide"]
    assert isinstance(wide, FamilyModel)
    assert (wide.name, wide.family) == ("wide", "wide-sam")
    assert wide.holds({"image_encoder.patch_embed.proj.weight": (2048, 3, 16, 16)})
    assert not wide.holds({})
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"(?m)^\| (`[^|]*) \|", page.read_text())))
    assert named == [each.name for each in fields(Network)]


@pytest.mark.parametrize("prompt", blocks(DOCS / "prompts.md", "json"))
def test_the_prompts_that_are_shown_are_prompts(prompt: str) -> None:
    assert parse_prompts(prompt.encode(), "shown.json", LimitSettings())


@pytest.mark.parametrize(
    ("packaged", "schema"), [(PROMPT_SCHEMA_FILE, prompt_file_schema), (SCHEMA_FILE, settings_schema)]
)
def test_the_schemas_of_the_package_and_of_the_documentation_are_what_the_code_says(
    packaged: Path, schema: Callable[[], Any]
) -> None:
    for file in (packaged, DOCS / packaged.name):
        assert json.loads(file.read_text()) == schema(), "run python docs/reference.py"


def test_every_official_checkpoint_is_documented_as_it_is_checked() -> None:
    page = (DOCS / "how-to" / "models.md").read_text()

    for checkpoint in official_checkpoints().values():
        of = f"| `{checkpoint.model}` | `{checkpoint.file}` | {checkpoint.megabytes} |"
        assert f"{of} `{checkpoint.sha256}` |" in page
        assert checkpoint.url.removesuffix(checkpoint.file) in page


def test_the_settings_are_documented_as_the_code_says() -> None:
    check = subprocess.run(
        [sys.executable, DOCS / "reference.py", "--check"], capture_output=True, text=True, check=False
    )

    # What typer writes about commands differs between its versions: the next test looks at what counts.
    assert "settings.md" not in check.stdout, f"run python docs/reference.py: {check.stdout}{check.stderr}"
    assert not check.stderr


def test_the_pictures_and_what_stands_around_them_are_what_sampoll_makes() -> None:
    check = subprocess.run(
        [sys.executable, DOCS / "pictures.py", "--check"], capture_output=True, text=True, check=False
    )

    assert check.returncode == 0, f"run python docs/pictures.py: {check.stdout}{check.stderr}"


def leaves(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Each command, with the words by which it is called."""
    commands = getattr(command, "commands", None)
    if commands is None:
        yield " ".join(path), command
    for name, below in (commands or {}).items():
        yield from leaves(below, *path, name)


def test_every_command_is_documented_with_every_flag() -> None:
    page = (DOCS / "commands.md").read_text()
    sections = dict(re.findall(r"^#+ `sampoll ([^`]+)`\n(.*?)(?=^#+ `|\Z)", page, re.DOTALL | re.MULTILINE))

    for name, command in leaves(typer.main.get_command(app)):
        assert name in sections, f"sampoll {name}: run python docs/reference.py"
        for parameter in command.params:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                if flag.startswith("-"):
                    assert re.search(rf"{flag}\b", sections[name]), f"sampoll {name} {flag}"


def test_every_configuration_file_names_a_command_that_takes_it() -> None:
    files = sorted((REPOSITORY / "configs").rglob("*.*"))
    # test_containers.py and test_systemd.py have the others.
    assert {file.suffix for file in files} == {".toml", ".yaml", ".yml", ".service", ".timer", ".sh"}

    for file in files:
        if file.suffix == ".toml":
            [command] = re.findall(r"^# *sampoll (.+) --config ", file.read_text(), re.MULTILINE)
            shown = sampoll(*command.split(), "--config", file, "--print-config")
            assert shown.returncode == 0, shown.stderr


def test_the_crontab_and_its_how_to_are_one_text() -> None:
    crontab = (REPOSITORY / "configs" / "cron" / "sampoll").read_text()

    assert crontab in blocks(DOCS / "how-to" / "cron.md", "text")
    assert crontab.rstrip().endswith("--exclusive --quiet")


def test_no_example_deletes_inputs() -> None:
    examples = [*(REPOSITORY / "configs").rglob("*.*"), REPOSITORY / "README.md", *DOCS.rglob("how-to/*.md")]

    for example in examples:
        assert not re.search(r"(--done|SAMPOLL_DONE|\bdone)[\s:=\"]+delete\b", example.read_text()), example


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_the_settings_files_that_are_shown_load(page: Path, tmp_path: Path) -> None:
    for shown in blocks(page, "toml"):
        if "[project" not in shown:
            (tmp_path / "shown.toml").write_text(shown)
            assert resolve({}, {}, tmp_path / "shown.toml").origins


def package_shown(page: Path, module: str, place: Path) -> Mapping[str, str]:
    """An environment in which the module of a page is installed as the page says."""
    [code], [registered] = blocks(page, "python"), blocks(page, "toml")
    installed = place / f"{module}-1.dist-info"
    installed.mkdir(parents=True)
    (place / f"{module}.py").write_text(code)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    [(group, points)] = tomllib.loads(registered)["project"]["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    return {"PYTHONPATH": os.pathsep.join([str(place), environment()["PYTHONPATH"]])}


def test_the_importer_that_is_shown_can_be_added(folders: Folders, tmp_path: Path) -> None:
    env = package_shown(DOCS / "how-to" / "importer.md", "box_lines", tmp_path / "package")
    (source := tmp_path / "annotations").mkdir()
    drop_pair(source, "a")
    (source / "a.json").unlink()
    (source / "a.txt").write_text("4 4 20 16 thing\n4 4 20\n")

    run = sampoll("prompts", "import", "--from", "lines", source, "--to", folders.input, env=env)

    assert run.returncode == 1
    assert f"{source / 'a.txt'}: line 2: must be x0 y0 x1 y1 label" in run.stderr
    assert json.loads((folders.input / "a.json").read_bytes())["box"] == BOX["box"]


def test_the_format_that_is_shown_can_be_added(folders: Folders, tmp_path: Path) -> None:
    env = package_shown(DOCS / "how-to" / "format.md", "box_table", tmp_path / "package")
    drop_pair(folders.input, "a", {"label": "thing", **BOX})

    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--format", "boxes", env=env)

    assert run.returncode == 0, run.stderr
    assert (folders.output / "boxes" / "a.csv").read_text().splitlines() == [
        "prompt,label,score,x0,y0,x1,y1",
        ",thing,0.500,4,4,20,16",
    ]


def test_the_transport_that_is_shown_works(tmp_path: Path) -> None:
    [code] = blocks(DOCS / "how-to" / "transport.md", "python")
    (tmp_path / "zips.py").write_text(code + '\nprint(run("pairs.zip", "results.zip", model="grabcut"))\n')
    write_demo(tmp_path)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "in" / "bad.json").write_text(json.dumps(BOX))
    shutil.make_archive(str(tmp_path / "pairs"), "zip", tmp_path / "in")

    done = subprocess.run(
        [sys.executable, "zips.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "{'bad': 'bad.jpg: is no image that can be read" in done.stdout
    with zipfile.ZipFile(tmp_path / "results.zip") as results:
        assert {"box.json", "box.png", "two.0.png", "two.1.png", "two.json"} < set(results.namelist())


def subclasses(kind: type[SampollError]) -> list[type[SampollError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]


def test_every_exit_code_and_every_job_error_is_documented() -> None:
    page = (DOCS / "errors.md").read_text()

    for kind in subclasses(SampollError):
        if not kind.__module__.startswith("sampoll."):
            continue  # a plug-in's, of another test
        assert f"| {kind.exit_code} |" in page, kind
        if issubclass(kind, JobError) and not kind.__subclasses__():
            assert f"`{kind.code}`" in page, kind


PEOPLE_S_VALUES = (
    "config/settings/",
    "core/jobs.py",
    "inputs/prompt_file.py",
    "inputs/mask_prompt.py",
    "inputs/importers/",
)
"""Modules in which a ValueError is about a user's input."""


def literal_parts(message: ast.expr) -> list[str]:
    """The parts of a message that are always the same."""
    values = message.values if isinstance(message, ast.JoinedStr) else [message]
    return [str(value.value) for value in values if isinstance(value, ast.Constant)]


def test_every_message_is_documented() -> None:
    page = (DOCS / "messages.md").read_text().replace("`", "")
    errors = {kind.__name__ for kind in subclasses(SampollError)} | {"BadStructure", "InvalidPrompt"}
    package = Path(sampoll_package.__file__).parent
    missing = []

    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        names = errors | ({"ValueError"} if module.startswith(PEOPLE_S_VALUES) else set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                parts = [part for message in node.args[:1] for part in literal_parts(message)]
                texts = [part.strip(" :;,.()").replace("`", "") for part in parts]
                missing += [(module, text) for text in texts if len(text) >= 8 and text not in page]

    assert missing == []


def test_every_message_about_a_field_of_a_prompt_is_documented() -> None:
    page = (DOCS / "messages.md").read_text()

    shown = [message.replace("{max_length}", "…") for message in MESSAGES.values()]
    assert [message for message in (*shown, UNKNOWN_KEY, POINT_LABELS) if f"| {message}" not in page] == []


def test_the_tests_that_are_named_exist() -> None:
    pages = [*DOCS.rglob("*.md"), REPOSITORY / "CONTRIBUTING.md"]
    named = {path for page in pages for path in re.findall(r"tests/[\w/]+\.py", page.read_text())}

    assert [path for path in sorted(named) if not (REPOSITORY / path).is_file()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text()

    for page in DOCS.rglob("*.md"):
        assert f": {page.relative_to(DOCS)}\n" in navigation, page


def test_the_versions_agree() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert sampoll("--version").stdout.split()[1] == project["version"]
    package = Path(sampoll_package.__file__).parent
    assert [path for path in package.rglob("*.py") if f'"{project["version"]}"' in path.read_text()] == []


def test_what_is_tested_is_what_is_installed() -> None:
    """On CI, where the source tree was moved away."""
    if "SOURCE_TREE" not in os.environ:
        assert importlib.metadata.version("sampoll")
        return
    package = Path(sampoll_package.__file__).parent
    assert not (REPOSITORY / "sampoll").exists()
    assert not package.is_relative_to(REPOSITORY)
    installed = {path.relative_to(package) for path in package.rglob("*") if path.suffix != ".pyc"}
    source = Path(os.environ["SOURCE_TREE"])
    built = {path.relative_to(source) for path in source.rglob("*") if path.suffix != ".pyc"}
    built |= {
        path.relative_to(REPOSITORY)
        for path in (REPOSITORY / "configs", *(REPOSITORY / "configs").rglob("*"))
    }
    assert {path for path in built ^ installed if "__pycache__" not in path.parts} == set()
