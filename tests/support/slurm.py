"""A real Slurm on one machine, alone in a network namespace: Debian's slurmctld, slurmd and slurm-client."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.process import until

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "ip", "unshare")
ADDRESS = "10.77.0.1"
CPUS = 4
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}({address})
AuthType=auth/none
CredType=cred/none
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
NodeName={host} NodeAddr={address} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    """Whether all programs are there, and this user may make a network."""
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


class Slurm:
    """Runs commands in the namespace."""

    def __init__(self, directory: Path, holder: int) -> None:
        self._directory = directory
        self._holder = holder

    def run(self, *command: object, env: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            ["nsenter", "-t", str(self._holder), "-n", *map(str, command)],
            env={**os.environ, **(env or {}), "SLURM_CONF": str(self._directory / "slurm.conf")},
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def states(self, job: str) -> dict[str, str]:
        """The states of the tasks of an array that have not ended, by their numbers."""
        lines = self.run("squeue", "-h", "-r", "-j", job, "-o", "%K %T").splitlines()
        return dict(line.split() for line in lines)

    def field(self, job: str, name: str) -> str:
        """A field of what scontrol shows about a job."""
        shown = self.run("scontrol", "-o", "show", "job", job).split()
        return next(each.partition("=")[2] for each in shown if each.startswith(f"{name}="))


@contextmanager
def running_slurm(directory: Path) -> Iterator[Slurm]:
    """Slurm with one node, whose files are in `directory`."""
    for name in ("state", "spool"):
        (directory / name).mkdir(parents=True)
    facts = {"host": socket.gethostname(), "address": ADDRESS, "directory": directory, "cpus": CPUS}
    (directory / "slurm.conf").write_text(CONFIGURATION.format(**facts))
    setup = f"ip link set lo up && ip address add {ADDRESS}/32 dev lo && exec sleep infinity"
    processes = [subprocess.Popen(["unshare", "-n", "sh", "-c", setup])]
    slurm = Slurm(directory, processes[0].pid)
    try:
        until(lambda: ADDRESS in slurm.run("ip", "address"), "the network is there")
        for daemon in (("slurmctld", "-D"), ("slurmd", "-D")):
            with (directory / f"{daemon[0]}.out").open("wb") as log:
                command = ["nsenter", "-t", str(processes[0].pid), "-n", *daemon]
                env = {**os.environ, "SLURM_CONF": str(directory / "slurm.conf")}
                processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
        until(lambda: "idle" in _nodes(slurm), "the node is idle")
        yield slurm
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _nodes(slurm: Slurm) -> str:
    try:
        return slurm.run("sinfo", "-h", "-o", "%t")
    except AssertionError:  # the daemons are starting
        return ""


def python_path() -> str:
    """Where jobs find this interpreter's programs."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
