"""Replies as files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sampoll.app.client.reply_files import write_files
from sampoll.app.client.reply_record import ReplyFiles, files_of, mask_of
from sampoll.inputs.image_files import png
from sampoll.transports.redis.replies import NoReply, Reply

OPEX = {"id": "asked for", "timestamp": "t", "objects": [], "meta": {"files": "{}", "image_file": ""}}
FILES = ReplyFiles({".png": b"mask"}, OPEX)
OTHER = ReplyFiles({".png": b"mask"}, {**OPEX, "timestamp": "later"})
PNG = png.SIGNATURE + b"..."


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def listed(record: bytes) -> Any:
    return json.loads(json.loads(record)["meta"]["files"])


def reply(*, opex: Any = OPEX, record: bytes | None = None, mask: bytes = PNG, **meta: Any) -> Reply:
    files = {} if record is None else {".json": record, ".png": PNG}
    return Reply("cat", [[[1, 1], [5, 1], [5, 5]]], mask, opex, files, meta)


def test_a_reply_is_written_once_and_another_of_its_name_as_a_version(tmp_path: Path) -> None:
    assert [write_files(tmp_path, "cat", FILES) for _ in range(2)] == ["cat", "cat"]
    assert [write_files(tmp_path, "cat", OTHER) for _ in range(2)] == ["cat~2", "cat~2"]

    assert contents(tmp_path) == {
        "cat.png": b"mask",
        "cat.json": FILES.record("cat"),
        "cat~2.png": b"mask",
        "cat~2.json": OTHER.record("cat~2"),
    }


@pytest.mark.parametrize("name", ["cat.png", "cat.json", "cat.png.new"])
def test_no_file_is_replaced_or_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"somebody else's")

    stem = write_files(tmp_path, "cat", FILES)

    written = {f"{stem}.png": b"mask", f"{stem}.json": FILES.record(stem)}
    assert contents(tmp_path) == {name: b"somebody else's", **written}


def test_a_link_to_nothing_takes_its_name(tmp_path: Path) -> None:
    (tmp_path / "cat.png").symlink_to(tmp_path / "elsewhere.png")

    assert write_files(tmp_path, "cat", FILES) == "cat~2"

    assert not (tmp_path / "elsewhere.png").exists()


def test_the_record_names_the_files_that_are_there(tmp_path: Path) -> None:
    for files in (FILES, OTHER):
        name = write_files(tmp_path, "sub/cat", files)
        record = (tmp_path / f"{name}.json").read_bytes()

        assert json.loads(record)["id"] == name
        assert listed(record) == {f"{name}.png": hashlib.sha256(b"mask").hexdigest()}
        assert (tmp_path / f"{name}.png").is_file()


def test_the_sender_says_where_the_image_is() -> None:
    meta = json.loads(FILES.of_image("sub/cat.JPG").record("sub/cat~2"))["meta"]

    assert (meta["image_file"], meta["image_path"]) == ("cat.JPG", "sub/cat.JPG")


def test_files_of_a_reply_have_its_own_record() -> None:
    made = files_of(reply(record=json.dumps({**OPEX, "timestamp": "mine"}).encode(), opex=None))

    assert made.content == {".png": PNG}
    assert json.loads(made.record("a"))["timestamp"] == "mine"


@pytest.mark.parametrize("opex", [OPEX, {}, {"objects": 7, "meta": []}, None])
def test_a_mask_alone_gets_a_record_that_lists_it(opex: Any) -> None:
    for made in (mask_of(reply(opex=opex)), files_of(reply(opex=opex))):
        assert listed(made.record("a")) == {"a.png": hashlib.sha256(PNG).hexdigest()}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"{", "files: .json: cannot be read"),
        (b"[]", "files: .json: must be a JSON object"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "files: .json: cannot be read"),
    ],
)
def test_a_record_that_is_none_is_refused(record: bytes, message: str) -> None:
    with pytest.raises(NoReply, match=message):
        files_of(reply(record=record))
