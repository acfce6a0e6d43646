"""Files and directories of weights: what is read, what is refused, and that nothing in them is run."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.goldens.hub_names import FILE as HUB_NAMES
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.models.shared import file_header
from sampoll.models.shared.checkpoint_file import read_checkpoint
from sampoll.models.shared.hub_names import with_official_names
from sampoll.models.shared.tensor_shapes import read_shapes

NAMES = json.loads(HUB_NAMES.read_text())
WEIGHTS = {"image_encoder.a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}
SHAPES = {"image_encoder.a": (2, 3), "b": (4,)}


def save_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


WRITERS: Mapping[str, Callable[[Path], object]] = {
    "a.pth": lambda path: torch.save(WEIGHTS, path),
    "wrapped.pt": lambda path: torch.save({"model": WEIGHTS, "epoch": 3, "optimizer": {"lr": [1e-4]}}, path),
    "legacy.pth": lambda path: save_legacy(WEIGHTS, path),
    "wrapped-legacy.pt": lambda path: save_legacy({"model": WEIGHTS}, path),
    "parameters.pth": lambda path: torch.save(
        {name: torch.nn.Parameter(tensor) for name, tensor in WEIGHTS.items()}, path
    ),
    "state.pth": lambda path: torch.save(with_metadata(WEIGHTS), path),
    "a.safetensors": lambda path: save_file(WEIGHTS, path, {"format": "pt"}),
    "safetensors.pth": lambda path: save_file(WEIGHTS, path),
}
"""Files with the same weights, of every kind that is read; a name does not decide of which kind a file is."""


def with_metadata(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """As `state_dict` returns it, with an attribute of its own."""
    state = torch.nn.Linear(1, 1).state_dict()
    state.clear()
    state.update(weights)
    return state


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_weights_and_the_digest_of_its_bytes(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    WRITERS[name](path)

    weights, sha256 = read_checkpoint(path)

    assert read_shapes(path) == SHAPES
    assert sha256 == sha256_of(path)
    assert weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(weights[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_ends_too_early_is_never_loaded_in_part(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    size = path.stat().st_size

    for kept in (1, 9, size // 3, size - 20, size - 1):
        os.truncate(path, kept)
        with pytest.raises(ModelUnavailable, match=f"{name} is (truncated|damaged|no file of weights)"):
            read_checkpoint(path)
        WRITERS[name](path)


def as_zip(records: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    return content.getvalue()


def as_safetensors(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
WRONG_FILES: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "is empty: download it again"),
    "text": (b"root:x:0:0:root:/root:/bin/bash\n", "is no file of weights, or damaged"),
    "web page": (b" <!DOCTYPE html><title>404</title>", "is a web page, not weights"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:",
        "is a pointer of Git LFS, not the weights",
    ),
    "torn zip": (b"PK\x03\x04 torn", "is truncated: the end of the archive is missing"),
    "other zip": (as_zip({"word/document.xml": b"<w>"}), "is no file of weights, or damaged"),
    "program": (as_zip({"a/data.pkl": b"", "a/constants.pkl": b""}), "is an exported program"),
    "bomb": (as_zip({"a/data.pkl": b"]" * 2**23}), "is no file of weights, or damaged"),
    "no pickle": (as_zip({"a/data.pkl": b"\x80\x02junk"}), "is no file of weights, or damaged"),
    "plain pickle": (pickle.dumps({"x": 1}), "is no file of weights, or damaged"),
    "huge memo": (b"\x80\x02Nr\xff\xff\xff\x7f.", "is no file of weights, or damaged"),
    "huge bytes": (b"\x80\x05\x96" + (2**40).to_bytes(8, "little"), "is no file of weights, or damaged"),
    "short header": (b"\x10\0\0\0\0\0\0\0{", "is no file of weights, or damaged"),
    "long header": (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "is no file of weights, or damaged"),
    "no entries": (as_safetensors({"a": 1}), "is no file of weights, or damaged"),
    "odd shape": (as_safetensors({"a": {**ENTRY, "shape": [-2]}}, bytes(8)), "is no file of weights"),
    "torn data": (as_safetensors({"a": ENTRY}, bytes(7)), r"is truncated: it has \d+ of \d+ bytes"),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_that_holds_no_weights_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    content, message = WRONG_FILES[kind]
    path = tmp_path / "a.pth"
    path.write_bytes(content)

    for read in (read_shapes, read_checkpoint):
        with pytest.raises(ModelUnavailable, match=rf"a\.pth {message}") as refusal:
            read(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "it must hold a mapping from names to tensors"),
        (torch.zeros(1), "it must hold a mapping from names to tensors"),
        ({"x": 1}, "x in it is no tensor; save the tensors alone, or as"),
        ({"a": torch.zeros(1), "epoch": 3}, "epoch in it is no tensor"),
        ({3: torch.zeros(1)}, "3 in it is no tensor"),
        ({"model": {"a": torch.zeros(1), "deep": {"b": torch.zeros(1)}}}, "deep in it is no tensor"),
    ],
)
@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_a_file_of_something_else_than_tensors_is_refused(
    tmp_path: Path, content: object, message: str, save: Callable[[object, Path], None]
) -> None:
    save(content, tmp_path / "a.pth")

    for read in (read_shapes, read_checkpoint):
        with pytest.raises(ModelUnavailable, match=rf"a\.pth is no checkpoint: {message}"):
            read(tmp_path / "a.pth")


class Gadget:
    """Unpickled, it would create a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.fspath(self._path),))


class WithState:
    """Unpickled, it would set attributes of a class that a pickle can name."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (torch.Size, ((1,),), {"count": Gadget(Path("never"))})


@pytest.mark.parametrize("place", ["alone", "beside", "within", "as key", "as state"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, place: str, form: str) -> None:
    path, victim = tmp_path / "evil.pth", tmp_path / "owned"
    gadget = Gadget(victim)
    content: Any = {
        "alone": gadget,
        "beside": {"model": WEIGHTS, "args": gadget},
        "within": {**WEIGHTS, "x": gadget},
        "as key": {(gadget,): 1},
        "as state": {"model": WEIGHTS, "args": WithState()},
    }[place]
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")

    for read in (read_shapes, read_checkpoint):
        with pytest.raises(
            ModelUnavailable, match=r"evil\.pth (holds posix\.mkdir, which is no tensor|is no)"
        ):
            read(path)

    assert not victim.exists()
    assert not Path("never").exists()


def test_the_module_of_a_saved_model_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")

    with pytest.raises(
        ModelUnavailable, match=r"holds torch\.nn\.modules\.linear\.Linear, which is no tensor"
    ):
        read_shapes(tmp_path / "model.pt")


def test_of_a_large_file_only_the_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(2**20)}, tmp_path / "a.pth")
    save_file({"a": torch.zeros(2**20)}, tmp_path / "a.safetensors")
    read_bytes = []
    real = Path.open

    class Counting(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            read_bytes.append(len(content))
            return content

    monkeypatch.setattr(Path, "open", lambda path, *_: Counting(real(path, "rb", buffering=0)))

    for name in ("a.pth", "a.safetensors"):
        assert read_shapes(tmp_path / name) == {"a": (2**20,)}
    assert 0 < sum(read_bytes) < 2**17


def test_a_file_that_is_too_large_for_a_checkpoint_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    path.touch()
    os.truncate(path, 2**40)

    with pytest.raises(ModelUnavailable, match=r"huge\.pth has 1099511627776 bytes, more than"):
        read_checkpoint(path)


# Directories


def test_a_directory_is_read_as_the_hub_has_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file(WEIGHTS, tmp_path / "model.safetensors")

    weights, sha256 = read_checkpoint(tmp_path)

    assert weights.keys() == read_shapes(tmp_path).keys() == WEIGHTS.keys()
    assert sha256 == sha256_of(tmp_path / "model.safetensors")


def in_shards(directory: Path, index: Mapping[str, str]) -> None:
    for number, (name, tensor) in enumerate(WEIGHTS.items(), 1):
        save_file({name: tensor}, directory / f"model-{number:05}-of-00002.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


SHARDS = {"image_encoder.a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def test_the_shards_of_a_directory_are_one_checkpoint_with_one_digest(tmp_path: Path) -> None:
    in_shards(tmp_path, SHARDS)

    weights, sha256 = read_checkpoint(tmp_path)

    assert all(torch.equal(weights[key], WEIGHTS[key]) for key in WEIGHTS)
    assert read_shapes(tmp_path) == SHAPES
    save_file({"b": torch.zeros(4)}, tmp_path / SHARDS["b"])
    assert read_checkpoint(tmp_path)[1] != sha256


def test_a_directory_without_weights_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailable, match=r"is a directory without weights: it has no model\.safetensors"
    ):
        read_shapes(tmp_path)

    (tmp_path / "sam2.1_hiera_tiny.pt").touch()
    with pytest.raises(
        ModelUnavailable, match=r"name a file in it, as --checkpoint .*/sam2\.1_hiera_tiny\.pt"
    ):
        read_shapes(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            {**SHARDS, "c": "model-00003-of-00003.safetensors"},
            "lacks model-00003-of-00003.safetensors, which",
        ),
        ({**SHARDS, "c": "../other.safetensors"}, "does not name files of weights"),
        ({**SHARDS, "c": "/etc/passwd"}, "does not name files of weights"),
        ({**SHARDS, "c": ".."}, "does not name files of weights"),
        ({**SHARDS, "c": 3}, "does not name files of weights"),
        ({}, "does not name files of weights"),
        ([], "does not name files of weights"),
        ("", "does not name files of weights"),
    ],
)
def test_an_index_names_files_of_its_own_directory(tmp_path: Path, index: Any, message: str) -> None:
    in_shards(tmp_path, index)

    for read in (read_shapes, read_checkpoint):
        with pytest.raises(ModelUnavailable, match=message):
            read(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            '{"model_type": "sam2", "vision_config": {"image_size": 512}}',
            "image_size is 512, and only 1024 is",
        ),
        ('{"prompt_encoder_config": {"image_size": [1024, 768]}}', r"image_size is \[1024, 768\], and only"),
        ("[]", r"config\.json is no JSON object: download it again"),
        ("<html>", r"config\.json is no JSON object: download it again"),
    ],
)
def test_a_directory_is_refused_that_is_for_images_of_another_size(
    tmp_path: Path, config: str, message: str
) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config)

    with pytest.raises(ModelUnavailable, match=message):
        read_shapes(tmp_path)

    (tmp_path / "config.json").write_text('{"vision_config": {"image_size": 1024}, "x": [1]}')
    assert read_shapes(tmp_path) == SHAPES


# Names of transformers

ONLY_VIDEO = ("maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr", "obj_ptr_")


@pytest.mark.parametrize("family", NAMES)
def test_the_names_of_transformers_become_those_of_the_authors(family: str) -> None:
    theirs = dict.fromkeys(NAMES[family]["transformers"], (4, 256))

    ours = with_official_names(theirs, lambda shape, _: (1, *shape[1:]))

    missing = set(NAMES[family]["authors"]) - set(ours)
    assert set(ours) <= set(NAMES[family]["authors"])
    assert [name for name in missing if not name.startswith(ONLY_VIDEO)] == []


@pytest.mark.parametrize("family", NAMES)
def test_the_names_of_the_authors_stay_as_they_are(family: str) -> None:
    theirs = dict.fromkeys(NAMES[family]["authors"], (1,))

    assert with_official_names(theirs, lambda shape, _: shape) == theirs


def test_the_points_of_sam_2_are_four_tensors_of_its_authors(tmp_path: Path) -> None:
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32))
    hub = {"vision_encoder.backbone.pos_embed": torch.zeros(1), "prompt_encoder.point_embed.weight": points}
    save_file(hub, tmp_path / "model.safetensors")

    weights, _ = read_checkpoint(tmp_path)

    rows = [weights[f"sam_prompt_encoder.point_embeddings.{number}.weight"] for number in range(4)]
    assert torch.equal(torch.cat(rows), points)
    assert {tuple(row.shape) for row in rows} == {(1, 8)}
    assert read_shapes(tmp_path) == {name: tuple(tensor.shape) for name, tensor in weights.items()}


def test_positions_that_transformers_has_twice_are_one_tensor() -> None:
    twice = {
        "vision_encoder.pos_embed": 0,
        "shared_image_embedding.positional_embedding": 1,
        "prompt_encoder.shared_embedding.positional_embedding": 1,
    }
    one = {"image_encoder.pos_embed": 0, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": 1}

    for left_out in ("", *list(twice)[1:]):
        some = {name: tensor for name, tensor in twice.items() if name != left_out}
        assert with_official_names(some, lambda tensor, _: tensor) == one


def test_a_header_is_bounded() -> None:
    assert file_header.HEADER_BYTES <= 2**22
