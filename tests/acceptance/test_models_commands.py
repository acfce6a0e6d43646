"""`sampoll models list, pull, verify, path`, and models without --checkpoint: weights from our own server."""

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from support.folders import Folders, drop_pair, read_opex
from support.images import image_of
from support.process import TESTS, sampoll
from support.seeded import seeded

from sampoll.models.checkpoints import official_checkpoints
from sampoll.models.mobile_sam.network import new_mobile_sam

FILE = "mobile_sam.pt"
PUBLISHED = """
import sampoll.models.mobile_sam as family
from dataclasses import replace
published = replace(family.mobile_sam.checkpoint, size={size}, sha256="{sha256}")
family.mobile_sam = replace(family.mobile_sam, checkpoint=published)
"""
"""Makes the file on our server the official one for sampoll."""


@dataclass(frozen=True)
class Mirror:
    """A server with the smallest checkpoint, and an environment in which that one is official."""

    url: str
    file: Path
    env: dict[str, str]

    def run(self, home: Path, *arguments: object) -> tuple[int, str, str]:
        done = sampoll("models", *arguments, env={**self.env, "SAMPOLL_HOME": str(home)})
        return done.returncode, done.stdout, done.stderr

    def segment(self, home: Path, folders: Folders, *flags: str) -> subprocess.CompletedProcess[str]:
        model = ("--model", "mobile_sam", "--device", "cpu", "--engine", "torch")
        return sampoll("run", *folders.flags, *model, *flags, env={**self.env, "SAMPOLL_HOME": str(home)})


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    folder, patches = tmp_path_factory.mktemp("mirror"), tmp_path_factory.mktemp("patches")
    torch.save(seeded(new_mobile_sam()).state_dict(), folder / FILE)
    with (folder / FILE).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    published = PUBLISHED.format(size=(folder / FILE).stat().st_size, sha256=sha256)
    (patches / "sitecustomize.py").write_text(published)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Mirror(
        f"http://127.0.0.1:{server.server_port}", folder / FILE, {"PYTHONPATH": f"{patches}:{TESTS}"}
    )
    server.shutdown()
    server.server_close()
    (folder / FILE).unlink()


@pytest.mark.slow
def test_pulled_once_a_checkpoint_is_listed_verified_found_and_used(
    mirror: Mirror, folders: Folders, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    kept = home / "checkpoints" / FILE
    drop_pair(folders.input, "a", image=image_of(64, 64))

    assert mirror.run(home, "path", "mobile_sam") == (
        69,
        "",
        f"sampoll: {kept} is not there: run `sampoll models pull mobile_sam`\n",
    )
    code, out, err = mirror.run(home, "pull", "mobile_sam", "--mirror", mirror.url)
    assert (code, out) == (0, f"{kept}\n"), err
    assert kept.read_bytes() == mirror.file.read_bytes()
    assert mirror.run(home, "path", "mobile_sam")[:2] == (0, f"{kept}\n")
    assert mirror.run(home, "verify")[:2] == (0, f"{kept}: as published\n")
    listed = mirror.run(home, "list")[1].splitlines()
    here = {line.split()[0]: not line.endswith("not here") for line in listed if line.endswith("here")}
    assert [model for model, is_here in here.items() if is_here] == ["mobile_sam"]

    # It is there, so nobody is asked.
    assert mirror.run(home, "pull", "mobile_sam", "--mirror", "http://127.0.0.1:9")[:2] == (0, f"{kept}\n")
    run = mirror.segment(home, folders)
    assert run.stdout.startswith("1 done, 0 failed"), run.stderr
    assert read_opex(folders.output / "a.json").meta["model"] == "mobile_sam"

    with kept.open("r+b") as file:
        file.seek(10**7)  # weights; they would be loaded without a word
        file.write(b"spoilt")
    spoilt = f"{kept} is not mobile_sam as published, but damaged or something else: delete it and run"
    assert mirror.run(home, "pull", "mobile_sam")[0] == 69
    again = mirror.segment(home, folders)
    assert again.returncode == 0, again.stderr  # nothing to do
    drop_pair(folders.input, "b", image=image_of(64, 64))
    again = mirror.segment(home, folders)
    assert again.returncode == 69
    assert spoilt in again.stderr
    assert folders.waiting == ["b.jpg", "b.json"]
    assert mirror.run(home, "verify", "mobile_sam")[:2] == (
        69,
        f"{kept}: NOT as published: delete it, and pull again\n",
    )


@pytest.mark.slow
def test_a_run_can_pull_its_model(mirror: Mirror, folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a", image=image_of(64, 64))

    run = mirror.segment(tmp_path / "home", folders, "--pull", "--mirror", mirror.url)

    assert run.stdout.startswith("1 done, 0 failed"), run.stderr
    assert (tmp_path / "home/checkpoints" / FILE).is_file()


def test_the_models_are_one_table_for_people_and_for_programs(tmp_path: Path) -> None:
    people = sampoll("models", "list", "--home", tmp_path).stdout.splitlines()
    programs = json.loads(sampoll("models", "list", "--home", tmp_path, "--json").stdout)

    lines = {line.split()[0]: re.split(r" {2,}", line) for line in people[:-1]}
    assert lines["vit_b"] == ["vit_b", "sam", "375", "4.2", "all but text", "Apache-2.0", "not here"]
    assert lines["grabcut"] == ["grabcut", "grabcut", "-", "-", "points, box", "-", "none needed"]
    assert lines["sam3"] == ["sam3", "sam3", "-", "42.5", "all", "SAM License", "--checkpoint"]
    assert people[-1] == f"weights are kept in {tmp_path}/checkpoints"
    assert [model["model"] for model in programs] == list(lines)
    of_sam = [model for model in programs if model["family"] == "sam"]
    assert [model["model"] for model in of_sam] == ["vit_b", "vit_l", "vit_h"]
    assert of_sam[0] == {
        "model": "vit_b",
        "family": "sam",
        "embedding_bytes": 256 * 64 * 64 * 4,
        "prompts": ["points", "box", "mask", "refine", "everything"],
        "licence": "Apache-2.0",
        "checkpoint": {
            "path": f"{tmp_path}/checkpoints/sam_vit_b_01ec64.pth",
            "is_here": False,
            "url": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
            "bytes": 375042383,
            "sha256": "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "licence": "Apache-2.0",
        },
    }


def test_the_table_of_models_does_not_wait_for_torch() -> None:
    code = "import sys; sys.argv[1:] = ['models', 'list']; from sampoll.cli.main import main\ntry: main()\n"
    code += "finally: print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    "command",
    [
        ("run", "in", "out"),
        ("embed", "in", "--embedding-cache", "cache"),
        ("doctor",),
        ("serve", "redis", "--embedded"),
        ("models", "compare", "in"),
    ],
)
def test_a_checkpoint_of_no_known_model_ends_every_command_in_one_sentence(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "in").mkdir()
    drop_pair(tmp_path / "in", "a", image=image_of(64, 64))
    video = {"memory_attention.norm.weight": torch.zeros(2), "maskmem_tpos_enc": torch.zeros(2)}
    torch.save({"model": video}, tmp_path / "video.pt")
    places = {"in": tmp_path / "in", "out": tmp_path / "out", "cache": tmp_path / "cache"}

    words = [places.get(word, word) for word in command]
    done = sampoll(*words, "--checkpoint", tmp_path / "video.pt")

    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 69, said
    assert "video.pt holds none of " in said
    assert "it has no image encoder (no tensor image_encoder.…), but memory_attention, maskmem_tpos" in said
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.jpg", "a.json"]


def test_without_weights_the_message_names_the_command_that_downloads_them(
    folders: Folders, tmp_path: Path
) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, "--model", "vit_l", "--home", tmp_path)

    assert run.returncode == 69
    assert run.stderr.splitlines()[-1] == (
        "sampoll: vit_l needs its weights: run `sampoll models pull vit_l`, or add --pull, or give "
        "--checkpoint FILE; --model grabcut needs none"
    )
    assert folders.waiting == ["a.jpg", "a.json"]


def test_a_file_that_is_not_the_official_one_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    home = {"SAMPOLL_HOME": str(tmp_path)}

    run = sampoll("models", "pull", "mobile_sam", "--mirror", mirror.url, env=home)

    assert run.returncode == 69
    assert "has another file" in run.stderr
    assert not (tmp_path / "checkpoints" / FILE).exists()


def test_a_model_without_an_official_checkpoint_is_a_wrong_argument(tmp_path: Path) -> None:
    run = sampoll("models", "pull", "vit_x")

    assert (run.returncode, run.stderr) == (
        2,
        f"sampoll: no official checkpoint for 'vit_x': there are {', '.join(official_checkpoints())}\n",
    )
