"""Storage that fails: nothing is lost, no attempt is counted, it is logged once, and the pause ends.

Each script runs in its own namespace, where small filesystems can be mounted, filled and frozen.
"""

import re
import subprocess
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair, names_in
from support.oracle import GOOD, Dropped
from support.process import SAMPOLL, environment, sampoll

pytestmark = pytest.mark.usefixtures("namespaces")

BOXES = ("--model", "support.fakes:boxes")

# `await` fails the script when it waits in vain.
PRELUDE = """
set -e
await() {
    for i in $(seq 400); do if eval "$1"; then return 0; fi; sleep 0.05; done
    echo "in vain: $1" >&2; exit 20
}
"""
KEEP = """
cp -r "$IN/done" "$KEPT/done"; [ ! -e "$IN/failed" ] || cp -r "$IN/failed" "$KEPT/failed"
mkdir "$KEPT/out"; cp "$OUT"/*.* "$KEPT/out"
"""


def outage(before: str, fault: str, repair: str, service: str = '"$@"') -> str:
    """A service does one pair, pauses with the next one after `fault`, and does that one after `repair`."""
    return f"""
    {before}
    {service} 2> "$LOG" &
    pid=$!
    trap 'kill -KILL $pid 2> /dev/null || true' EXIT
    await '[ -e "$IN/done" ]'
    cp "$PAIRS"/a.* "$IN"; await '[ -e "$IN/done/a.json" ]'
    cp "$PAIRS"/b.* "$IN/.sampoll"
    {fault}
    mv "$IN"/.sampoll/b.* "$IN"
    await 'grep -q paused "$LOG"'
    sleep 2
    [ ! -e "$OUT/b.json" ] || exit 21
    {repair}
    await '[ -e "$IN/done/b.json" ]'
    kill -TERM $pid; wait $pid
    {KEEP}
    """


def in_namespace(script: str, folders: Folders, *flags: object) -> str:
    """Runs a script with its own mounts; "$@" is the service. Returns what the service logged."""
    log = folders.input.parent / "log"
    log.touch()
    folders.output.mkdir(exist_ok=True)
    pairs = folders.input.parent / "pairs"
    kept = folders.input.parent / "kept"
    for directory in (pairs, kept):
        directory.mkdir()
    drop_pair(pairs, "a")
    drop_pair(pairs, "b")
    places = {"IN": folders.input, "OUT": folders.output, "PAIRS": pairs, "KEPT": kept, "LOG": log}
    arguments = map(str, (SAMPOLL, "run", *folders.flags, *BOXES, "--min-free", 0, *flags))
    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", PRELUDE + script, "sh", *arguments],
        env=environment({name: str(path) for name, path in places.items()}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, f"{run.stderr}\n{log.read_text()}"
    return log.read_text()


def assert_done_at_the_first_counted_attempt(folders: Folders, log: str, reason: str) -> None:
    """Both pairs are done, at the first attempt that counts, and the trouble was logged once."""
    kept = folders.input.parent / "kept"
    assert names_in(kept / "out") == ["a.json", "a.png", "b.json", "b.png"]
    assert names_in(kept / "done") == ["a.jpg", "a.json", "b.jpg", "b.json"]
    assert names_in(kept / "failed") == []
    assert len(re.findall("paused: .*" + reason, log)) == 1, log
    assert "trying again" in log


SERVICE = ("--continuous", "--max-attempts", 1)


@pytest.mark.parametrize("full", ["OUT", "IN"])
def test_a_full_disk_pauses_the_service_until_there_is_room(folders: Folders, full: str) -> None:
    # On the input, only the journal needs room, once its last page is full.
    fill_page = 'truncate -s %4096 "$IN"/.sampoll/work/*/.journal.jsonl'
    script = outage(
        before=f'mount -t tmpfs -o size=1m tmpfs "${full}"',
        fault=f'{fill_page}; dd if=/dev/zero of="${full}/.filler" bs=4k 2> /dev/null || true',
        repair=f'rm "${full}/.filler"',
    )

    assert_done_at_the_first_counted_attempt(
        folders, in_namespace(script, folders, *SERVICE), "No space left on device"
    )


def test_inodes_that_run_out_pause_the_service_until_there_are_some(folders: Folders) -> None:
    script = outage(
        before='mount -t tmpfs -o nr_inodes=40 tmpfs "$OUT"',
        fault='mkdir "$OUT/.filler"; (cd "$OUT/.filler"; for i in $(seq 99); do : > $i; done) || true',
        repair='rm -r "$OUT/.filler"',
    )

    assert_done_at_the_first_counted_attempt(
        folders, in_namespace(script, folders, *SERVICE), "has room for . more files only"
    )


def test_an_output_that_becomes_read_only_pauses_the_service(folders: Folders) -> None:
    script = outage(
        before='mount -t tmpfs tmpfs "$OUT"',
        fault='mount -o remount,ro "$OUT"',
        repair='mount -o remount,rw "$OUT"',
    )

    assert_done_at_the_first_counted_attempt(
        folders, in_namespace(script, folders, *SERVICE), "Read-only file system"
    )


def test_an_output_that_loses_its_write_permission_pauses_the_service(folders: Folders) -> None:
    script = outage(
        before="",
        fault='chmod 0500 "$OUT"',
        repair='chmod 0700 "$OUT"',
        service='setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all "$@"',
    )

    assert_done_at_the_first_counted_attempt(
        folders, in_namespace(script, folders, *SERVICE), "Permission denied"
    )


MOUNTED_AGAIN = {
    "tmpfs": "mount -t tmpfs -o size=20m tmpfs",
    "a bind mount of the same filesystem": 'mkdir -p "$PAIRS/../disk"; mount --bind "$PAIRS/../disk"',
}


@pytest.mark.parametrize("gone", ["OUT", "DONE", "PARENT"])
@pytest.mark.parametrize("mounting", MOUNTED_AGAIN.values(), ids=MOUNTED_AGAIN)
def test_a_mount_of_results_or_inputs_that_goes_away_pauses_and_nothing_is_written_below_it(
    folders: Folders, tmp_path: Path, mounting: str, gone: str
) -> None:
    """PARENT: the output is a folder of the mount, and not the mount itself."""
    mount = tmp_path / "mount"
    place = {"OUT": folders.output, "DONE": mount, "PARENT": mount}[gone]
    output = mount / "out" if gone == "PARENT" else folders.output
    done = mount / "archive" if gone == "DONE" else folders.input / "done"
    mount.mkdir()
    (mount / "out").mkdir()  # below the mount
    script = f"""
    {mounting} "{place}"; mkdir -p "{output}" "{done}"
    "$@" --done "{done if gone == "DONE" else "keep"}" 2> "$LOG" &
    pid=$!
    trap 'kill -KILL $pid 2> /dev/null || true' EXIT
    cp "$PAIRS"/a.* "$IN"; await '[ -e "{done}/a.json" ]'
    umount -l "{place}"
    cp "$PAIRS"/b.* "$IN"
    await 'grep -q paused "$LOG"'
    sleep 2
    [ -z "$(find "{place}" -type f)" ] || {{ find "{place}" >&2; exit 21; }}
    {mounting} "{place}"; mkdir -p "{output}"
    await '[ -e "{done}/b.json" ]'
    [ -e "{output}/b.json" ] || exit 22
    kill -TERM $pid; wait $pid
    [ ! -e "$IN/failed" ] || exit 23
    """
    flags = [*SERVICE, "-o", output]

    log = in_namespace(script, folders, *flags)

    assert len(re.findall("paused: the (output|filesystem of) .* has gone or was replaced", log)) == 1, log
    assert "another process" not in log


def test_nothing_is_taken_while_less_than_min_free_is_free(folders: Folders) -> None:
    script = outage(
        before='mount -t tmpfs -o size=64m tmpfs "$OUT"',
        fault='dd if=/dev/zero of="$OUT/.filler" bs=1M count=50 2> /dev/null',
        repair='rm "$OUT/.filler"',
    )
    log = in_namespace(script, folders, *SERVICE, "--min-free", 30 * 2**20)

    assert_done_at_the_first_counted_attempt(folders, log, "bytes free, less than 31457280 ")


def test_a_one_shot_run_that_a_storage_error_ends_exits_with_74_and_loses_nothing(folders: Folders) -> None:
    script = """
    mount -t tmpfs -o size=300k tmpfs "$OUT"
    cp "$PAIRS"/a.* "$IN"
    dd if=/dev/zero of="$OUT/filler" bs=4k 2> /dev/null || true
    truncate -s -150000 "$OUT/filler"
    printf 'x%.0s' $(seq 150000) > "$OUT/filler2" 2> /dev/null || true
    code=0; "$@" 2> "$LOG" || code=$?
    [ $code = 74 ] || exit 22
    """
    log = in_namespace(script, folders)

    assert "No space left on device" in log
    assert folders.waiting == ["a.jpg", "a.json"]
    assert folders.failed == []


def test_too_little_free_space_at_the_start_is_exit_code_74(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, *BOXES, "--min-free", 2**62)

    assert (run.returncode, "less than 4611686018427387904 (--min-free)" in run.stderr) == (74, True)


def test_input_and_output_may_lie_on_different_filesystems(folders: Folders) -> None:
    script = """
    mount -t tmpfs tmpfs "$IN"; mount -t tmpfs tmpfs "$OUT"
    cp "$PAIRS"/* "$IN"
    "$@" 2> "$LOG"
    """
    in_namespace(script + KEEP, folders)

    assert names_in(folders.input.parent / "kept" / "out") == ["a.json", "a.png", "b.json", "b.png"]


def test_done_may_lie_on_another_filesystem(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    script = """
    mount -t tmpfs tmpfs "$IN"
    cp "$PAIRS"/* "$IN"
    "$@" 2> "$LOG"
    """
    in_namespace(script, folders, "--done", tmp_path / "archive")

    assert names_in(tmp_path / "archive") == ["a.jpg", "a.json", "b.jpg", "b.json"]


def test_a_spool_that_is_a_mount_of_its_own_is_refused_with_the_reason(folders: Folders) -> None:
    script = """
    mkdir "$IN/.sampoll"; mount -t tmpfs tmpfs "$IN/.sampoll"
    cp "$PAIRS"/a.* "$IN"
    code=0; "$@" 2> "$LOG" || code=$?
    [ $code = 78 ] || exit 23
    """
    log = in_namespace(script, folders)

    assert ".sampoll must not be a mount of its own, because pairs move there by renames" in log
    assert folders.waiting == ["a.jpg", "a.json"]


@pytest.mark.parametrize("call", ["rename", "mkdir", "fsync", "syncfs", "unlink"])
@pytest.mark.parametrize(
    "error",
    ["ENOSPC", *(pytest.param(error, marks=pytest.mark.slow) for error in ("EIO", "EDQUOT", "EROFS"))],
)
def test_an_error_of_any_call_loses_nothing(strace: str, folders: Folders, call: str, error: str) -> None:
    dropped = Dropped(folders)
    for name in "abc":
        dropped.pair(name, GOOD)
    inject = f"--inject={call}:error={error}:when=6+3"  # every third of a thread's calls, from the sixth on
    command = [strace, "-f", "-qq", "-o", "/dev/null", f"--trace={call}", inject, str(SAMPOLL), "run"]
    arguments = [*map(str, folders.flags), *BOXES, "--durability", "file" if call == "fsync" else "batch"]

    run = subprocess.run(
        [*command, *arguments], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )

    # 1: an I/O error of one rename alone is taken for that of the file, which is passed over.
    assert run.returncode in ((0, 1, 74) if error == "EIO" else (0, 74)), run.stderr
    dropped.assert_nothing_is_lost_or_torn()
    assert sampoll("run", *folders.flags, *BOXES).returncode == 0
    dropped.assert_everything_ended_once()


@pytest.mark.parametrize(
    "limit", ["fsize=100", "fsize=66000", "nofile=5", "nofile=6", "nofile=7", "nofile=9"]
)
def test_a_limit_on_the_process_loses_nothing_and_counts_no_attempt(folders: Folders, limit: str) -> None:
    dropped = Dropped(folders)
    for name in "abc":
        dropped.pair(name, GOOD)
    dropped.pair("large", {"prompts": [GOOD] * 2000})  # its record is larger than 66 kB
    command = ["prlimit", f"--{limit}", str(SAMPOLL), "run", *map(str, folders.flags), *BOXES]

    run = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)

    # How many open files are too few depends on the machine.
    assert run.returncode in ((74,) if limit.startswith("fsize") else (0, 74)), run.stderr
    dropped.assert_nothing_is_lost_or_torn()
    assert sampoll("run", *folders.flags, *BOXES, "--max-attempts", 1).returncode == 0
    dropped.assert_everything_ended_once()
