"""`sampoll embed`, and runs that use its embeddings."""

import stat
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair, names_in, read_opex
from support.images import encoded, image_of
from support.process import sampoll

MODEL = ("--model", "support.fakes:kept")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images, one of them in a folder, and a file of another kind."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "more/c.png")):
        (folder / name).write_bytes(encoded(image_of(seed=number)))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_images_are_embedded_once_and_later_runs_need_no_encoder(
    folders: Folders, images: Path, tmp_path: Path
) -> None:
    flags = ("--embedding-cache", tmp_path / "cache", *MODEL)

    first = sampoll("embed", images, *flags)
    again = sampoll("embed", images, *flags)

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout.startswith("3 embedded, 0 known, 0 failed in ")
    assert again.stdout.startswith("0 embedded, 3 known, 0 failed in ")
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 3

    drop_pair(folders.input, "c", image=image_of(seed=2), suffix=".png")
    run = sampoll("run", *folders.flags, *flags, env={"FAKES_EMBEDS": "never"})
    assert run.returncode == 0, run.stderr
    assert folders.results == ["c.json", "c.png"]
    assert read_opex(folders.output / "c.json").meta["model"] == "kept"


def test_an_image_that_cannot_be_read_fails_alone(images: Path, tmp_path: Path) -> None:
    (images / "broken.jpg").write_bytes(b"not a picture")
    (images / "huge.jpg").write_bytes(b"x" * 50_000)

    run = sampoll(
        "embed", images, "--embedding-cache", tmp_path / "cache", *MODEL, "--max-image-bytes", 40_000
    )

    assert run.returncode == 1
    assert run.stdout.startswith("3 embedded, 0 known, 2 failed")
    assert "broken.jpg: is no image that can be read" in run.stderr
    assert "huge.jpg: has more than 40000 bytes (--max-image-bytes)" in run.stderr


def test_a_damaged_embedding_is_made_again(images: Path, tmp_path: Path) -> None:
    flags = ("--embedding-cache", tmp_path / "cache", *MODEL)
    sampoll("embed", images, *flags)
    damaged = next((tmp_path / "cache").rglob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1])

    run = sampoll("embed", images / "more", images / "a.png", images / "b.png", *flags)

    assert run.returncode == 0
    assert run.stdout.startswith("1 embedded, 2 known, 0 failed")


def test_a_cache_that_cannot_be_written_is_exit_code_74(images: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(stat.S_IRUSR | stat.S_IXUSR)

    run = sampoll("embed", images, "--embedding-cache", tmp_path / "cache", *MODEL, unprivileged=True)

    assert run.returncode == 74
    assert "not all of them could be kept in" in run.stderr
    assert names_in(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("images",), 2, "no directory for embeddings is set: give --embedding-cache DIR"),
        (("nowhere", "--embedding-cache", "cache", *MODEL), 66, "no file or folder nowhere"),
        (
            ("images", "--embedding-cache", "cache", "--model", "grabcut"),
            69,
            "has no embeddings that could be kept",
        ),
    ],
)
def test_a_reason_why_embed_cannot_work_is_one_clear_error(
    images: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    run = sampoll("embed", *arguments, cwd=tmp_path)
    assert run.returncode == code
    assert message in run.stderr
