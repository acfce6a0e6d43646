"""The commands that the documentation shows.

Blocks are run page by page, in order, in a folder that has the files they name. A comment before a block says
why it is not run, or how it ends; the commands in such a block are parsed only.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from skimage import data
from support.cvat import write_task
from support.folders import drop_pair
from support.images import encoded
from support.process import REPOSITORY, environment, until
from support.redis_servers import Server, free_port
from support.redis_serving import serving

from sampoll.cli.main import app
from sampoll.cli.sam_image import predict_poll, predict_redis, redis_recv, redis_send

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
MADE = "commands.md"
BLOCK = re.compile(r"(?:<!-- (?P<comment>[^>]*) -->\n)?```sh\n(?P<code>.*?)```", re.DOTALL)
UNTIL_STOPPED = "runs until it is stopped"
BESIDE_A_SERVICE, BESIDE_A_RUN = "while a service runs", "while a run watches the input"
BESIDE_HTTP, HTTP_PORT = "while HTTP is served", ":8000"
WITHOUT_COMMENT_BUT_NOT_RUN = ("pip install .", "pip install '.[dev]'")
"""The two lines of the README, which CI itself runs."""

OF_THE_SYSTEM = ("install", "useradd", "systemctl")
"""Commands that name sampoll as a user, a folder or a unit."""

PARSERS: dict[str, Callable[[], ArgumentParser]] = {
    "sam_predict_poll": predict_poll.parser,
    "sam_predict_redis": predict_redis.parser,
    "sam_test_redis_send": redis_send.parser,
    "sam_test_redis_recv": redis_recv.parser,
}

WITH_A_TINY_MODEL = f"""#!{sys.executable}
# The command itself, but for the size of the model behind vit_b.
import importlib
import sampoll.models.registry
import sampoll.models.sam
from sampoll.cli.main import main
def tiny(model, path):
    network = importlib.import_module("sampoll.models.sam.network").sam_network
    return network(importlib.import_module("support.tiny").tiny_sam()), model.checkpoint.sha256
sampoll.models.sam.SamModel.network = tiny
widths_of_vit_b = {{"image_encoder.patch_embed.proj.weight": (768, 3, 16, 16)}}
sampoll.models.registry.read_shapes = lambda path: widths_of_vit_b
main()
"""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    comment: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match["comment"], match["code"])
        for match in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES if page.name != MADE for block in blocks_of(page)]


def commands_in(code: str) -> Iterator[list[str]]:
    """The words of each command of ours, wherever it begins on its line."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] and words[0] in OF_THE_SYSTEM:
            continue
        for start, word in enumerate(words):
            if word == "sampoll" and start + 1 < len(words) and words[start + 1] != "sampoll":
                ends = [end for end in range(start, len(words)) if words[end] in ("&&", "|", ";", ">")]
                yield words[start : min(ends, default=len(words))]
                break
            if word in PARSERS:
                yield words[start:]


def parse(words: list[str]) -> None:
    """Raises the error of the command if its flags are wrong."""
    name, *arguments = words
    if name in PARSERS:
        PARSERS[name]().parse_args(arguments)
        return
    command: Any = typer.main.get_command(app)
    while commands := getattr(command, "commands", None):
        assert arguments[:1], f"{words}: which command?"
        command = commands.get(arguments[0])
        assert command is not None, f"{words}: no command {arguments[0]}"
        arguments = arguments[1:]
    command.make_context(name, arguments)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_command_that_is_shown_exists(block: Block) -> None:
    for words in commands_in(block.code):
        parse(words)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert len(BLOCKS) > 40
    assert sum(1 for block in BLOCKS for _ in commands_in(block.code)) >= 60
    for wrong in ("sampoll runs", "sampoll run --colour red", "sam_predict_poll --nothing"):
        [words] = commands_in(f"docker run image \\\n  {wrong}  # wrong")
        with pytest.raises((Exception, SystemExit), match=r"runs|colour|2"):
            parse(words)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name: pairs, results, failures, photographs, a data set, weights."""
    here = tmp_path_factory.mktemp("template")
    command = here / "bin" / "sampoll"
    command.parent.mkdir()
    command.write_text(WITH_A_TINY_MODEL)
    command.chmod(0o755)
    for folder in ("photographs", "unlabelled", "photos", "more/below", "in/failed"):
        (here / folder).mkdir(parents=True)
    for name in ("astronaut", "rocket"):
        picture = encoded(getattr(data, name)()[::4, ::4], "JPEG")
        for folder in ("photographs", "unlabelled", "photos", "more/below"):
            (here / folder / f"{name}.jpg").write_bytes(picture)
        box = {"box": {"x0": 10, "y0": 10, "x1": 60, "y1": 60}}
        for folder in ("photos", "more/below"):
            (here / folder / f"{name}.json").write_text(json.dumps(box))
    (here / "box.json").write_text(json.dumps(box))
    (here / "common.json").write_text(json.dumps({"points": [{"x": 40, "y": 40, "label": 1}]}))
    coco = {
        "images": [{"id": 1, "file_name": "rocket.jpg", "width": 160, "height": 107}],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 60, 50]}],
    }
    (here / "instances.json").write_text(json.dumps(coco))
    write_task(here / "task", "cup.jpg", encoded(data.coffee()[::4, ::4], "JPEG"), (100, 150))
    for weights in ("sam_vit_b_01ec64.pth", "home/checkpoints/sam_vit_b_01ec64.pth"):
        (here / weights).parent.mkdir(parents=True, exist_ok=True)
        (here / weights).write_bytes(b"those of a tiny model are made when it is loaded")
    drop_pair(here / "in", "cat", prompt={})
    shell(here, "sampoll demo . && sampoll run -i in -o out --model grabcut || true; sampoll demo .")
    return here


def variables(here: Path, redis_port: int | None = None) -> dict[str, str]:
    changed = {
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
        "SAMPOLL_HOME": str(here / "home"),
        "SAMPOLL_ENGINE": "torch",
        "SAMPOLL_SETTLE": "0.1",
        "SAMPOLL_GIVE_UP": "5",
        "SAMPOLL_BIND": f"127.0.0.1:{free_port()}",  # for those that leave the port to the default
        "XDG_RUNTIME_DIR": str(here / "runtime"),
    }
    return environment(changed | ({"SAMPOLL_REDIS_PORT": str(redis_port)} if redis_port else {}))


def shell(here: Path, code: str, redis_port: int | None = None) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=here,
        env=variables(here, redis_port),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{code}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"


@contextmanager
def ready(here: Path, code: str) -> Iterator[None]:
    """The one command of a block, from when it says that it is ready; ended in order afterwards."""
    log = here / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            ["bash", "-c", f"exec {code}"],
            cwd=here,
            env=variables(here, free_port()),
            stderr=file,
            stdout=file,
        ) as process,
    ):
        until(lambda: ": ready" in log.read_text() or process.poll() is not None, f"{code} to be ready")
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.page == page for block in BLOCKS)],
    ids=lambda page: page.stem,
)
def test_the_blocks_of_a_page_work_in_order(
    page: Path, template: Path, tmp_path: Path, server: Server
) -> None:
    here = tmp_path / "here"
    shutil.copytree(template, here)
    for name in ("configs", "docs"):
        (here / name).symlink_to(REPOSITORY / name)

    port = f":{free_port()}"
    for shown in blocks_of(page):
        block = replace(shown, code=shown.code.replace(HTTP_PORT, port))
        if block.comment == UNTIL_STOPPED:
            with ready(here, block.code):
                pass
        elif block.comment == BESIDE_A_SERVICE:
            with serving(here, server.port):
                shell(here, block.code, server.port)
        elif block.comment == BESIDE_A_RUN:
            with ready(here, "sampoll run -i in -o out --model grabcut --continuous"):
                shell(here, block.code)
        elif block.comment == BESIDE_HTTP:
            with ready(here, f"sampoll serve http --model grabcut --bind 127.0.0.1{port}"):
                shell(here, block.code)
        elif block.comment is None and not block.code.startswith(WITHOUT_COMMENT_BUT_NOT_RUN):
            shell(here, block.code)


def test_comments_before_blocks_are_those_that_are_known() -> None:
    known = (
        UNTIL_STOPPED,
        BESIDE_A_SERVICE,
        BESIDE_A_RUN,
        BESIDE_HTTP,
        "needs ",
        "takes minutes",
        "runs until something comes",
    )
    for block in BLOCKS:
        assert block.comment is None or block.comment.startswith(known), block
