"""The example for Slurm under a real one: a task is queued again, and all meet their time limits."""

import json
import sys
import time
from pathlib import Path

import pytest
from support.batches import FAILED
from support.fakes import POISON_HEIGHT
from support.folders import drop_pair, files_below
from support.images import image_of
from support.process import REPOSITORY, TESTS, until
from support.slurm import Slurm, is_installed, python_path, running_slurm

SCRIPT = REPOSITORY / "configs" / "slurm" / "batch.sh"
TASKS, IMAGES = 4, 320
PAUSE_SECONDS = 5
"""The credentials of a task's last start are no longer refused then."""
NO_GPU = ("--gres=none", "--mem=0", "--cpus-per-task=1")
LIMIT = ("--time=1", "--signal=B:TERM@45")


def wait_for(slurm: Slurm, job: str) -> None:
    """Until all tasks have ended."""
    began = time.monotonic()
    waits_since: dict[str, float] = {}
    while states := slurm.states(job):
        waiting = {task for task, state in states.items() if state == "PENDING"}
        waits_since = {task: waits_since.get(task, time.monotonic()) for task in waiting}
        for task in (task for task, since in waits_since.items() if time.monotonic() - since > PAUSE_SECONDS):
            # Slurm itself waits for two minutes before it starts a task again.
            slurm.run("scontrol", "update", f"JobId={job}_{task}", "StartTime=now")
        assert time.monotonic() - began < 600
        time.sleep(1)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.skipif(not is_installed(), reason="needs root, slurmctld, slurmd and slurm-client")
def test_an_array_does_all_images_whatever_ends_its_tasks(tmp_path: Path) -> None:
    source, output, directory = tmp_path / "in", tmp_path / "out", tmp_path / "slurm"
    source.mkdir()
    for number in range(IMAGES):
        drop_pair(source, f"p{number:04}", image=image_of(seed=number % 50))
    env = {"PATH": python_path(), "PYTHONPATH": str(TESTS), "SAMPOLL_MODEL": "support.fakes:slow"}

    with running_slurm(directory) as slurm:
        arguments = ("--parsable", f"--array=0-{TASKS - 1}", *NO_GPU, *LIMIT, SCRIPT, source, output)
        job = slurm.run("sbatch", *arguments, env=env).strip()
        until(lambda: len(files_below(output)) > 20 if output.exists() else False, "results", 60)
        slurm.run("scontrol", "requeue", f"{job}_1")
        began = time.monotonic()
        wait_for(slurm, job)
        restarts = [int(slurm.field(f"{job}_{task}", "Restarts")) for task in range(TASKS)]
        codes = {slurm.field(f"{job}_{task}", "ExitCode") for task in range(TASKS)}

    done = sum(name.endswith(".json") for name in files_below(output))
    lines = [json.loads(line) for path in directory.glob("*.jsonl") for line in path.open()]
    seconds = time.monotonic() - began
    sys.stdout.write(f"{done} images, restarts {restarts}, {len(lines)} lines, {seconds:.0f} s\n")
    assert done == IMAGES
    assert codes == {"0:0"}
    assert restarts[1] >= 1
    assert sum(restarts) > 1
    assert len({line["name"] for line in lines if line["outcome"] == "done"}) <= IMAGES


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.skipif(not is_installed(), reason="needs root, slurmctld, slurmd and slurm-client")
def test_an_image_that_kills_its_task_fails_alone(tmp_path: Path) -> None:
    source, output, directory = tmp_path / "in", tmp_path / "out", tmp_path / "slurm"
    source.mkdir()
    for number in range(40):
        drop_pair(source, f"p{number:04}", image=image_of(seed=number))
    drop_pair(source, "p0020-poison", image=image_of(POISON_HEIGHT, 20))
    env = {"PATH": python_path(), "PYTHONPATH": str(TESTS), "SAMPOLL_MODEL": "support.fakes:killing"}

    with running_slurm(directory) as slurm:
        arguments = ("--parsable", "--array=0-1", *NO_GPU, "--time=5", SCRIPT, source, output)
        job = slurm.run("sbatch", *arguments, env=env).strip()
        wait_for(slurm, job)
        restarts = sorted(int(slurm.field(f"{job}_{task}", "Restarts")) for task in range(2))
        codes = sorted(slurm.field(f"{job}_{task}", "ExitCode") for task in range(2))

    sys.stdout.write(f"restarts {restarts}, exit codes {codes}\n")
    assert codes == ["0:0", "1:0"]
    assert restarts == [0, 4]
    assert sum(name.endswith(".json") for name in files_below(output)) == 40
    assert [path.name for path in (output / FAILED).iterdir()] == ["p0020-poison.error.json"]
