"""What other users of the machine can do to a run, and what they cannot."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair
from support.process import SAMPOLL, environment, running_sampoll, sampoll, until

from sampoll.files.presence import Machine, heartbeat_file

BOXES = ("--model", "support.fakes:boxes")
OTHER = 12345
"""A user without a name."""
NODE = "host-1-0123abcd"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be another user"
)

# The other user may then read this Python and these tests, wherever they are, and has no other right of root.
_READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
AS_OTHER = ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups")


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory like /tmp: all may write there, and change only what is theirs."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


def other_user_does(script: str, directory: Path) -> None:
    subprocess.run([*AS_OTHER, "sh", "-euc", script], cwd=directory, check=True, timeout=30)


def run_and_status(folders: Folders, common: Path) -> tuple[str, str]:
    """What one run and `sampoll status` say in an environment without a runtime directory."""
    env = {"TMPDIR": str(common), "XDG_RUNTIME_DIR": ""}
    drop_pair(folders.input, "good")
    run = sampoll("run", *folders.flags, *BOXES, env=env)
    assert (run.returncode, folders.results) == (0, ["good.json", "good.png"]), run.stderr
    status = sampoll("status", env=env)
    assert (status.returncode, status.stdout) == (3, "no service runs here\n")
    return run.stderr, status.stderr


def test_a_link_in_the_place_of_the_registry_costs_no_file(folders: Folders, common: Path) -> None:
    home = common / "home"
    home.mkdir(mode=0o700)
    (home / "thesis.txt").write_text("my thesis")
    (home / NODE).write_text(f'{{"host": "h", "boot": "{Machine.this().boot}", "pid": 1}}')
    other_user_does(f"ln -s {home} sampoll-0", common)

    said = run_and_status(folders, common)

    assert all("sampoll-0 is not a directory: remove it" in text for text in said)
    assert sorted(path.name for path in home.iterdir()) == [NODE, "thesis.txt"]


def test_a_registry_of_another_user_is_neither_believed_nor_waited_for(
    folders: Folders, common: Path
) -> None:
    here = Machine.this()
    other_user_does(
        f"""
        mkdir sampoll-0
        chmod 777 sampoll-0
        cd sampoll-0
        mkfifo pipe {NODE} {heartbeat_file(Path(NODE)).name}
        echo '{{"host": "{here.host}", "boot": "{here.boot}", "pid": 1}}' >fake-1-0123abcd
        echo '{{"state": "working", "healthy": true}}' >.fake-1-0123abcd.beat
        """,
        common,
    )
    with (common / "sampoll-0" / "fake-1-0123abcd").open() as locked:
        holder = subprocess.Popen(["flock", str(locked.fileno())], pass_fds=[locked.fileno()])
        assert holder.wait(10) == 0  # the open file keeps the lock

        said = run_and_status(folders, common)

    assert all(f"sampoll-0 belongs to user {OTHER}, not to user 0" in text for text in said)
    assert len(list((common / "sampoll-0").iterdir())) == 5


def test_a_spool_that_another_user_has_prepared_delays_no_pair(folders: Folders, common: Path) -> None:
    folders = Folders(common / "in", common / "out")
    folders.input.mkdir()
    folders.input.chmod(0o1777)
    job = "0123456789abcdef" * 2
    other_user_does(
        f"""
        umask 000
        mkdir -p .sampoll/nodes .sampoll/work/{NODE}/{job} .sampoll/deferred/{job} failed
        mkfifo .sampoll/nodes/{NODE} .sampoll/nodes/.{NODE}.beat .sampoll/nodes/pipe
        mkfifo .sampoll/work/{NODE}/{job}/.state.jsonl .sampoll/deferred/{job}/.state.jsonl
        mkfifo failed/good.error.json failed/pipe.error.json
        ln -s /etc/passwd .sampoll/nodes/link-1-0123abcd
        echo x >.sampoll/nodes/thesis.txt
        """,
        folders.input,
    )
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", {})

    run = sampoll("run", *folders.flags, *BOXES, "--lease", 1)

    assert (run.returncode, folders.results) == (1, ["good.json", "good.png"]), run.stderr
    assert folders.failed == ["bad.error.json", "bad.jpg", "bad.json", "good.error.json", "pipe.error.json"]
    assert f".sampoll/deferred/{job}: passed over: cannot be taken over: " in run.stderr
    assert (folders.input / ".sampoll/nodes/thesis.txt").exists()
    assert sampoll("status", "-i", folders.input).returncode == 3
    assert sampoll("failed", "list", "-i", folders.input).returncode == 0


def test_another_user_can_neither_lock_a_spool_nor_hide_a_service(common: Path) -> None:
    folders = Folders(common / "in", common / "out")
    folders.input.mkdir(mode=0o755)
    with running_sampoll("run", *folders.flags, *BOXES, "--continuous", "--lease", 1):
        nodes = folders.input / ".sampoll" / "nodes"
        until(lambda: list(nodes.glob(".*.beat")), "a heartbeat")
        locking = f"for file in {nodes}/.lock {nodes}/*-*; do ! flock --nonblock $file true; done"
        other_user_does(locking, common)
        command = [*AS_OTHER, *_READING, str(SAMPOLL), "status", "-i", str(folders.input)]
        status = subprocess.run(
            command, env=environment({"HOME": "/"}), capture_output=True, text=True, timeout=60, check=False
        )

    assert (status.returncode, status.stdout.count("working")) == (0, 1), status.stderr


def test_a_user_without_a_name_and_without_a_home_needs_neither(common: Path) -> None:
    folders = Folders(common / "in", common / "out")
    for directory in (folders.input, folders.output):
        directory.mkdir()
        os.chown(directory, OTHER, OTHER)
    kept = {key: environment()[key] for key in ("PYTHONPATH", "PATH")}

    def run_as_other(name: str, *model: str) -> subprocess.CompletedProcess[str]:
        drop_pair(folders.input, name)
        for path in folders.input.glob(f"{name}.*"):
            os.chown(path, OTHER, OTHER)
        command = [*AS_OTHER, *_READING, str(SAMPOLL), "run", *map(str, folders.flags), *model]
        return subprocess.run(
            command, env=kept, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )

    without_weights = run_as_other("a", *BOXES)
    with_weights = run_as_other("b", "--model", "vit_b")

    assert (without_weights.returncode, folders.results) == (0, ["a.json", "a.png"]), without_weights.stderr
    assert with_weights.returncode == 69
    assert "vit_b needs its weights" in with_weights.stderr
