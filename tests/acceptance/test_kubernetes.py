"""The examples for Kubernetes: the API knows all that they say, and sampoll knows the commands in them.

The types of the API tell unknown fields and wrong types, and not whether a cluster does what is meant.
"""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.kubernetes_schema import faults
from support.process import REPOSITORY, sampoll

FILES = sorted((REPOSITORY / "configs" / "kubernetes").glob("*.yaml"))
MODELS = {"Deployment": "apps_v1.Deployment", "Service": "core_v1.Service", "Job": "batch_v1.Job"}
RETRIED = {69, 70, 71, 73, 74, 75}
"""Exit codes after which another try, on another node, may succeed."""


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def read(name: str) -> dict[str, Any]:
    [document] = documents(REPOSITORY / "configs" / "kubernetes" / name)
    return document


def templates(document: Any) -> list[dict[str, Any]]:
    """The pods that an object makes."""
    if isinstance(document, list):
        return [each for part in document for each in templates(part)]
    if not isinstance(document, dict):
        return []
    own = [document["template"]] if "template" in document else []
    return own + [each for key, part in document.items() if key != "template" for each in templates(part)]


PODS = [
    pytest.param(template, id=f"{path.stem} {document['kind']} {number}")
    for path in FILES
    for document in documents(path)
    for number, template in enumerate(templates(document))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_api_knows_every_field(path: Path) -> None:
    for document in documents(path):
        if document["kind"] in MODELS:
            assert list(faults(document, MODELS[document["kind"]])) == []
        else:
            assert document["kind"] == "RayJob"


@pytest.mark.parametrize("template", PODS)
def test_every_pod_has_a_gpu_or_no_model_and_may_write_to_its_volumes_only(template: dict[str, Any]) -> None:
    assert list(faults(template, "core_v1.PodTemplateSpec")) == []
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    [container] = spec["containers"]
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/cache", "/tmp"}
    assert all("emptyDir" in volume for volume in spec["volumes"])
    assert set(container["resources"]["limits"]) <= {"memory", "nvidia.com/gpu"}


def test_what_the_api_does_not_know_is_found() -> None:
    job = read("batch.yaml")
    job["spec"]["completionsMode"] = job["spec"].pop("completionMode")
    job["spec"]["parallelism"] = "8"
    del job["spec"]["template"]["spec"]["containers"][0]["name"]

    assert sorted(faults(job, "batch_v1.Job")) == [
        "Job.spec.completionsMode is not known",
        "Job.spec.parallelism: str instead of int",
        "Job.spec.template.spec.containers[0].name is missing",
    ]


def shown_by(command: list[str], variables: dict[str, str]) -> str:
    """What sampoll says about its settings."""
    assert command[0] == "sampoll"
    shown = sampoll(*command[1:], "--print-config", env=variables)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_the_job_shares_its_work_among_as_many_as_it_completes() -> None:
    spec = read("batch.yaml")["spec"]
    [container] = spec["template"]["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    [share] = [each for each in command if each.startswith("--shard=")]

    assert share == f"--shard=$(JOB_COMPLETION_INDEX)/{spec['completions']}"
    assert spec["completionMode"] == "Indexed"
    last = [each.replace("$(JOB_COMPLETION_INDEX)", str(spec["completions"] - 1)) for each in command]
    variables = {each["name"]: each["value"] for each in container["env"]}
    shown = shown_by(last, variables)
    for variable in variables:
        assert f"# {variable}" in shown


def test_the_job_tries_again_what_another_try_can_change() -> None:
    [ignored, failed] = read("batch.yaml")["spec"]["podFailurePolicy"]["rules"]

    assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert failed["action"] == "FailIndex"
    assert RETRIED.isdisjoint(failed["onExitCodes"]["values"])
    assert {1, 2, 77, 78} <= set(failed["onExitCodes"]["values"])


def test_the_job_of_ray_has_an_actor_for_each_gpu() -> None:
    spec = read("ray.yaml")["spec"]
    [workers] = spec["rayClusterSpec"]["workerGroupSpecs"]
    [container] = workers["template"]["spec"]["containers"]
    shown = shown_by(shlex.split(spec["entrypoint"]), {})

    gpus = workers["replicas"] * container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"ray-actors = {gpus}" in shown
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
