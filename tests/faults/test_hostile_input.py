"""Hostile files in the input: nothing outside is touched, and the other pairs are done."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.folders import BOX, Folders, drop_pair, names_in
from support.images import encoded, image_of
from support.process import SAMPOLL, environment, sampoll

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import JobError
from sampoll.core.jobs import Job
from sampoll.core.names import printable
from sampoll.inputs.decode import decode
from sampoll.inputs.options import DecodingOptions
from sampoll.transports.memory import submission

BOXES = ("--model", "support.fakes:boxes")
PROMPT = json.dumps(BOX).encode()


def no_regular_file(path: Path, kind: str, outside: Path) -> None:
    """Puts something that is no regular file where an image would lie."""
    match kind:
        case "link":
            path.symlink_to(outside / "hushhush.jpg")
        case "link to itself":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize("kind", ["link", "link to itself", "pipe", "directory", "device"])
def test_what_is_not_a_regular_file_is_never_opened_and_delays_no_pair(
    folders: Folders, tmp_path: Path, kind: str
) -> None:
    drop_pair(tmp_path, "hushhush")
    try:
        no_regular_file(folders.input / "x.jpg", kind, tmp_path)
    except PermissionError:
        pytest.skip("only root makes devices")
    (folders.input / "x.json").write_bytes(PROMPT)
    drop_pair(folders.input, "good")

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.returncode == 0
    assert "1 done, 0 failed, 1 half pair left" in run.stdout
    assert folders.results == ["good.json", "good.png"]
    assert folders.waiting == ["x.jpg", "x.json"]


NAMES = [
    b"new\nline",
    b"\x1b[2Jescape",
    "right\u202eto left".encode(),
    b"-rf",
    b"[a-z]*?",
    b"$(touch owned)`id`;'\"\\",
    b"%s%n{0}",
    b"trailing space ",
    b"caf\xe9",
    b"x" * 250,
    "\u9e45".encode() * 80,
    b"a~2",
    b"state",
]


def test_special_characters_in_file_names_have_no_effect(folders: Folders) -> None:
    for number, name in enumerate(map(os.fsdecode, NAMES)):
        (folders.input / f"{name}.png").write_bytes(encoded(image_of(seed=number)))
        (folders.input / f"{name}.json").write_bytes(PROMPT)

    run = sampoll("run", *folders.flags, *BOXES)

    pairs = len(NAMES)
    assert run.returncode == 0
    assert f"{pairs} done, 0 failed" in run.stdout
    assert len([name for name in folders.results if name.endswith(".json")]) == pairs
    assert len(folders.done) == 2 * pairs
    assert names_in(folders.input.parent) == ["in", "out"]
    for line in run.stderr.splitlines():
        assert line.isprintable(), line
    assert len([line for line in run.stderr.splitlines() if ": done [" in line]) == pairs


def test_names_of_255_bytes_fail_and_succeed_like_others(folders: Folders) -> None:
    for stem, prompt in (("g" * 250, PROMPT), ("b" * 250, b"{}")):
        (folders.input / f"{stem}.png").write_bytes(encoded(image_of()))
        (folders.input / f"{stem}.json").write_bytes(prompt)

    run = sampoll("run", *folders.flags, *BOXES)

    assert (run.returncode, "1 done, 1 failed" in run.stdout) == (1, True)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--max-pixels", 24 * 32 - 1, "a.jpg: is 32x24, more than 767 pixels (--max-pixels)"),
        ("--max-image-bytes", 100, "more than 100 (--max-image-bytes)"),
        ("--max-prompt-bytes", 10, "more than 10 (--max-prompt-bytes)"),
        ("--max-prompts", 1, "a.json: prompts: has 2 prompts, at most 1 are allowed"),
    ],
)
def test_what_is_larger_than_a_limit_is_refused_and_the_message_names_the_limit(
    folders: Folders, flag: str, value: int, message: str
) -> None:
    drop_pair(folders.input, "a", {"prompts": [BOX, BOX]})

    run = sampoll("run", *folders.flags, *BOXES, flag, value)

    assert run.returncode == 1
    assert message in run.stderr
    assert folders.failed == ["a.error.json", "a.jpg", "a.json"]


def test_nothing_outside_the_two_directories_is_opened_for_writing_and_no_secret_at_all(
    strace: str, folders: Folders, tmp_path: Path
) -> None:
    drop_pair(tmp_path, "hushhush")
    (folders.input / "a.jpg").symlink_to(tmp_path / "hushhush.jpg")
    (folders.input / "a.json").write_text(json.dumps({**BOX, "id": "../../hushhush", "label": "/etc/passwd"}))
    drop_pair(folders.input, "b", {**BOX, "id": "../../../hushhush", "label": "../x"})
    drop_pair(folders.input, "c", {"image": "/etc/passwd"})
    log = tmp_path / "strace.log"
    calls = "openat,open,creat,rename,renameat,renameat2,mkdir,unlink,link,symlink,truncate,chmod"
    command = [strace, "-f", "-qq", "-s", "4096", "-o", str(log), f"--trace={calls}", str(SAMPOLL), "run"]
    env = environment({"PYTHONDONTWRITEBYTECODE": "1"})

    run = subprocess.run(
        [*command, *map(str, folders.flags), *BOXES], env=env, capture_output=True, check=False
    )

    assert run.returncode == 1
    text = log.read_text(errors="replace")
    assert "hushhush" not in text
    assert "passwd" not in text
    writing = re.findall(r'(?:openat|open)\([^"\n]*"([^"]+)", [^)\n]*(?:O_WRONLY|O_RDWR|O_CREAT)', text)
    changing = re.findall(r'\b(?:rename\w*|mkdir|unlink|link|truncate|chmod)\([^"\n]*"([^"]+)"', text)
    changing += re.findall(r'\bsymlink\("[^"\n]*", "([^"]+)"', text)  # the first is what it says
    assert len(writing) > 5
    assert len(changing) > 5
    # In the runtime directory the process makes known that it is alive, and nothing else.
    runtime = os.environ["XDG_RUNTIME_DIR"]
    roots = (f"{folders.input}/", f"{folders.output}", runtime, "/dev/null")
    assert [path for path in writing + changing if not path.startswith(roots)] == []


LIMITS = DecodingOptions(LimitSettings(max_pixels=10_000, max_prompts=10))
IMAGES = {kind: encoded(image_of(8, 8), kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP")}


@st.composite
def damaged_images(draw: st.DrawFn) -> bytes:
    """An image with a few bytes changed, removed or added."""
    content = bytearray(IMAGES[draw(st.sampled_from(sorted(IMAGES)))])
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["change", "cut", "add"])):
            case "change" if content:
                content[place] = draw(st.integers(0, 255))
            case "cut":
                del content[place:]
            case "add":
                content[place:place] = draw(st.binary(max_size=8))
    return bytes(content)


@settings(max_examples=300)
@given(st.binary(max_size=200) | damaged_images(), st.binary(max_size=100) | st.just(PROMPT))
@example(IMAGES["PNG"], PROMPT)
def test_any_bytes_are_a_job_or_a_job_error(image: bytes, prompt: bytes) -> None:
    try:
        job = decode(submission("a", image, prompt), LIMITS)
    except JobError as error:
        assert printable(str(error)).startswith(("a.jpg", "a.json"))  # noqa: PT017  either outcome is right
    else:
        assert isinstance(job, Job)
        assert len(job.size) == 2
