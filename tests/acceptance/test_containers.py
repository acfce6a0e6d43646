"""The Dockerfile and the Compose files: all that they name exists. No container engine is needed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.folders import Folders, drop_pair
from support.http_serving import TOKEN
from support.images import image_of
from support.process import REPOSITORY, SAMPOLL, SOURCE_TREE, children_of, environment, running_sampoll, until

from sampoll.config.fields import ENVIRONMENT_PREFIX, all_settings
from sampoll.config.resolve import resolve
from sampoll.transports.http.openapi import openapi_document

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = sorted((REPOSITORY / "configs" / "compose").glob("*.yaml"))
INSTRUCTIONS = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
VARIABLES = {"USER": None, "HOME": "/nonexistent", "SAMPOLL_HOME": "/nonexistent/cache"}
AS_A_NUMBER = ("unshare", "-U", "--map-user=12345", "--map-group=12345")


def of_kind(instruction: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in INSTRUCTIONS if line.startswith(f"{instruction} ")]


def commands() -> set[str]:
    """Every command that the package installs."""
    return set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"])


def copied(source: str) -> Path:
    return SOURCE_TREE if source == "sampoll" else REPOSITORY / source


def ran(*arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """A command in an environment with some variables changed or removed."""
    changed = {**environment(), **variables}
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={key: value for key, value in changed.items() if value is not None},
    )


def test_every_file_that_is_copied_exists_in_the_build_context() -> None:
    context = (REPOSITORY / ".dockerignore").read_text().splitlines()
    copies = [line for line in of_kind("COPY") if not line.startswith("--from")]

    assert copies
    for line in copies:
        for source in line.split()[:-1]:
            assert copied(source).exists(), source
            assert f"!{source}" in context


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed from nothing but what the Dockerfile copies."""
    context, target = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("installed")
    for line in of_kind("COPY"):
        for source in () if line.startswith("--from") else line.split()[:-1]:
            path = copied(source)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, context / source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*install, str(context)], check=True, capture_output=True, timeout=240)
    return target


def test_what_is_copied_is_all_that_the_package_needs(installed: Path, tmp_path: Path) -> None:
    version = ran(str(installed / "bin" / "sampoll"), "--version", PYTHONPATH=str(installed))
    demo = ran(str(installed / "bin" / "sampoll"), "demo", str(tmp_path), PYTHONPATH=str(installed))

    assert version.returncode == demo.returncode == 0, version.stderr + demo.stderr
    assert {path.name for path in (installed / "bin").iterdir()} >= commands()
    assert (tmp_path / "in" / "coffee.jpg").exists()
    for name in ("report.html.jinja", "report.css", "report.js"):
        assert (installed / "sampoll" / "app/report" / name).exists()
    assert (installed / "sampoll" / "transports/redis/streams/lua/commit.lua").exists()


@pytest.mark.parametrize(
    ("variables", "installs"),
    [
        ({}, ["pip install torch torchvision", "pip install ."]),
        (
            {"DEVICE": "cpu"},
            [
                "pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision",
                "pip install .[openvino]",
            ],
        ),
        (
            {"DEVICE": "cpu", "TORCH_INDEX": "https://here", "TORCH_VERSION": "2.9.1", "EXTRAS": "embedded"},
            [
                "pip install --index-url https://here torch==2.9.1 torchvision",
                "pip install .[openvino,embedded]",
            ],
        ),
        ({"EXTRAS": "embedded"}, ["pip install torch torchvision", "pip install .[embedded]"]),
        ({"DEVICE": "tpu"}, []),
    ],
)
def test_the_build_installs_what_its_arguments_say(variables: Mapping[str, str], installs: list[str]) -> None:
    defaults = dict(line.split("=", 1) for line in of_kind("ARG") if "=" in line)
    [shell] = of_kind("SHELL")
    said = []
    for step in of_kind("RUN"):
        if "pip install" not in step:
            continue
        body = re.sub(r"^--mount=\S+", "", step)
        shown = f'pip() {{ echo "pip $*"; }}; {body}'
        result = ran(*json.loads(shell), shown, **{**defaults, **variables})
        said += result.stdout.splitlines()
        if result.returncode:
            assert "DEVICE must be cpu or cuda, got tpu" in result.stderr
            break

    assert said == installs


def test_the_image_has_the_settings_that_its_users_expect() -> None:
    assert not of_kind("ENTRYPOINT")
    assert of_kind("CMD") == ['["bash"]']
    assert of_kind("USER") == ["999"]
    assert of_kind("STOPSIGNAL") == ["SIGTERM"]
    assert not re.search(r"\.pth|models pull|VOLUME", "\n".join(INSTRUCTIONS))
    [labels] = of_kind("LABEL")
    labelled = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert (labelled["title"], labelled["licenses"]) == (project["name"], project["license"])
    assert (labelled["version"], labelled["revision"]) == ("$VERSION", "$REVISION")
    [final] = [line for line in of_kind("ENV") if "SAMPOLL_HOME" in line]
    set_there = {assignment.partition("=")[0] for assignment in final.split()}
    settings = {setting.variable for setting in all_settings()}
    assert {name for name in set_there if name.startswith(ENVIRONMENT_PREFIX)} <= settings


def health(**variables: str) -> int:
    [check] = of_kind("HEALTHCHECK")
    path = f"{SAMPOLL.parent}:{os.environ['PATH']}"
    return ran(*json.loads(check.partition("CMD ")[2]), PATH=path, **variables).returncode


def test_the_health_check_fails_only_for_a_service_that_should_be_restarted(
    folders: Folders, tmp_path: Path, gate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, _ = gate
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert health() == 0  # nobody is there: a shell
    drop_pair(folders.input, "a", image=image_of(height=13))
    hangs = ("--continuous", "--model", "support.fakes:waiting", "--stall", 3)
    with running_sampoll("run", *folders.flags, *hangs):
        until(started.exists, "the model to work")
        assert health() == 0
        until(lambda: health() == 1, "the verdict")
    assert health() == 0


def test_a_run_needs_no_user_name_no_home_and_no_cache(folders: Folders, namespaces: None) -> None:
    drop_pair(folders.input, "a")

    run = ran(*AS_A_NUMBER, str(SAMPOLL), "run", *map(str, folders.flags), "--model", "grabcut", **VARIABLES)
    missing = ran(
        *AS_A_NUMBER, str(SAMPOLL), "run", *map(str, folders.flags), "--skip-done", "--dry-run", **VARIABLES
    )

    assert run.returncode == 0, run.stderr
    assert folders.results == ["a.json", "a.png"]
    assert missing.returncode == 69
    assert "sampoll models pull vit_b" in missing.stderr


def test_the_first_process_of_a_container_stops_on_sigterm(folders: Folders, namespaces: None) -> None:
    flags = [*map(str, folders.flags), "--continuous", "--model", "support.fakes:boxes"]
    container = ["unshare", "-Urpf", "--mount-proc", "--kill-child", str(SAMPOLL), "run", *flags]
    with subprocess.Popen(container, env=environment()) as outside:
        until(lambda: (folders.input / "done").exists(), "the service")
        drop_pair(folders.input, "a")
        until(lambda: folders.results == ["a.json", "a.png"], "the pair")
        [first] = children_of(outside.pid)

        os.kill(first, signal.SIGTERM)

        assert outside.wait(30) == 0


def interpolated(text: str) -> str:
    """The defaults that Compose uses for variables that are not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def services() -> list[Any]:
    return [
        pytest.param(service, id=f"{path.stem}-{name}")
        for path in COMPOSE
        for name, service in yaml.safe_load(interpolated(path.read_text()))["services"].items()
        if str(service["image"]).startswith("sampoll")
    ]


@pytest.mark.parametrize("service", services())
def test_every_service_is_a_command_with_settings_that_exist(service: Mapping[str, Any]) -> None:
    variables = service["environment"]
    shown = ran(str(SAMPOLL), *service["command"][1:], "--print-config", **variables)

    assert service["command"][0] in commands()
    assert shown.returncode == 0, shown.stderr
    assert "no setting of sampoll" not in shown.stderr
    for variable in variables:
        assert f"# {variable}" in shown.stdout
    inside = {volume.rpartition(":")[2] for volume in service["volumes"]}
    spool = resolve({}, variables).settings.spool
    assert {str(path) for path in (spool.input, spool.output) if path} | {"/cache"} == inside
    assert service["image"] == f"sampoll:{'cpu' if 'deploy' not in service else 'cuda'}"


def test_the_image_and_every_service_say_how_they_log() -> None:
    assert "SAMPOLL_LOG_FORMAT=text" in DOCKERFILE
    formats = {
        path.stem: service["environment"]["SAMPOLL_LOG_FORMAT"]
        for path in COMPOSE
        for name, service in yaml.safe_load(path.read_text())["services"].items()
        if "sampoll" in service["image"]
    }
    assert formats == {"folder-gpu": "json", "one-shot": "text", "redis-workers": "json", "http": "json"}


def test_the_deployment_for_kubernetes_is_a_command_with_settings_and_paths_that_exist() -> None:
    file = REPOSITORY / "configs" / "kubernetes" / "http.yaml"
    deployment, service = yaml.safe_load_all(file.read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value", TOKEN) for each in container["env"]}

    shown = ran(str(SAMPOLL), *container["command"][1:], "--print-config", **variables)

    assert shown.returncode == 0, shown.stderr
    for variable in variables:
        assert f"# {variable}" in shown.stdout
    [port] = container["ports"]
    assert variables["SAMPOLL_BIND"] == f"0.0.0.0:{port['containerPort']}"
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [port["name"]]
    described = openapi_document(needs_token=True)["paths"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in described


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.stem)
def test_compose_files_name_volumes_that_they_declare(path: Path) -> None:
    document = yaml.safe_load(path.read_text())

    used = {volume.partition(":")[0] for s in document["services"].values() for volume in s["volumes"]}
    named = {volume for volume in used if not volume.startswith((".", "/", "$"))}
    assert named == set(document["volumes"])
    for needed in (name for s in document["services"].values() for name in s.get("depends_on", ())):
        assert "healthcheck" in document["services"][needed]
