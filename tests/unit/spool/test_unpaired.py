import os
import unicodedata
from pathlib import Path

import pytest

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.filenames import IMAGE_SUFFIXES, PAIR_SUFFIXES
from sampoll.spool.survey import survey
from sampoll.spool.unpaired import MAX_LINES, Leftovers, leftovers


def found_in(directory: Path, *names: str, **settings: object) -> Leftovers:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if "empty" in name else b"content")
    given = SpoolSettings.model_validate({"input": directory, "output": directory.parent, **settings})
    suffixes = PAIR_SUFFIXES if given.prompt is None else IMAGE_SUFFIXES
    return leftovers(directory, given, suffixes, survey(directory, given, suffixes).scan.halves)


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("names", "reason", "line"),
    [
        (["a.jpg"], "no-prompt", "a.jpg has no prompt: a run looks for a.json or a.prompt beside it"),
        (
            ["b.json"],
            "no-image",
            "b.json has no image: a run looks for b.bmp, b.jpeg, b.jpg, b.png, b.tif, b.tiff or b.webp "
            "beside it",
        ),
        (
            ["Photo.JPG", "photo.json"],
            "other-name",
            "photo.json is no prompt of Photo.JPG: the names differ in capital letters; rename it to "
            "Photo.json",
        ),
        (
            ["a.jpg", "a.jpg.json"],
            "other-name",
            "a.jpg.json is no prompt of a.jpg: the names must be equal but for the extension; "
            "rename it to a.json",
        ),
        (
            ["cat 1.png", "Cat 1-Points.prompt"],
            "other-name",
            "Cat 1-Points.prompt is no prompt of cat 1.png: the names must be equal but for the "
            "extension; rename it to cat 1.prompt",
        ),
        (
            [composed("Käse.jpg"), decomposed("Käse.json")],
            "other-name",
            f"{decomposed('Käse.json')} is no prompt of {composed('Käse.jpg')}: its name has other Unicode "
            f"characters that look alike (NFC and NFD); rename it to {composed('Käse.json')}",
        ),
        (["sub/a.jpg", "sub/a.json"], "below", "sub/ has 2 images or prompts: run with --recursive"),
        (
            ["a.HEIC"],
            "kind",
            "a.HEIC is an image of a kind that is not read: convert it to PNG or JPEG (.jpg)",
        ),
        (["~a.jpg"], "temporary", "~a.jpg has the name of a hidden or unfinished file: rename it"),
        (["a.json.part"], "temporary", "a.json.part has the name of a hidden or unfinished file: rename it"),
        (["empty.json"], "empty", "empty.json is empty: a run waits for its content"),
    ],
)
def test_a_file_in_no_pair_is_named_with_the_reason(
    tmp_path: Path, names: list[str], reason: str, line: str
) -> None:
    found = found_in(tmp_path / "in", *names)

    assert list(found.lines()) == [line]
    assert found.document()["counts"] == {reason: 1}
    assert [(file["reason"], file["path"] + " " + file["advice"]) for file in found.document()["files"]] == [
        (reason, line)
    ]


def test_pairs_and_files_that_have_nothing_to_do_with_pairs_are_not_named(tmp_path: Path) -> None:
    names = ["a.jpg", "a.json", "done/b.jpg", "failed/c.json", "notes.txt", ".DS_Store", "._a.jpg", "x.csv"]

    assert list(found_in(tmp_path / "in", *names).lines()) == []


def test_halves_in_two_folders_are_told_as_such(tmp_path: Path) -> None:
    found = found_in(tmp_path / "in", "images/a.jpg", "prompts/a.json", recursive=True)

    assert list(found.lines()) == ["prompts/a.json is in another folder than images/a.jpg: put them into one"]


def test_links_are_named_also_broken_ones_and_those_to_folders(tmp_path: Path) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    (directory / "folder").symlink_to(tmp_path)
    (directory / "gone.jpg").symlink_to(tmp_path / "nothing")

    lines = list(found_in(directory).lines())

    assert [line.partition(" is a symbolic link")[0] for line in lines] == ["folder", "gone.jpg"]


def test_a_pair_without_its_marker_and_a_marker_without_a_pair_are_named(tmp_path: Path) -> None:
    lines = list(found_in(tmp_path / "in", "a.jpg", "a.json", "b.ready", ready_suffix=".ready").lines())

    assert lines == [
        "b.ready is a marker without an image and a prompt",
        "a.jpg waits for its marker a.ready (--ready-suffix)",
    ]


def test_with_a_common_prompt_an_image_lacks_nothing(tmp_path: Path) -> None:
    assert list(found_in(tmp_path / "in", "a.jpg", "b.json", prompt=tmp_path / "p.json").lines()) == []


def test_what_is_excluded_is_not_named(tmp_path: Path) -> None:
    names = ["a.jpg", "b.heic", "sub/c.jpg", "d.json"]

    found = found_in(tmp_path / "in", *names, include=["*.jpg", "*.heic"], exclude=["sub/", "a.*"])

    assert [file.path for file in found.files] == ["b.heic"]


def test_ten_lines_show_every_reason_and_the_rest_is_counted(tmp_path: Path) -> None:
    names = [f"{number:03}.jpg" for number in range(200)]

    lines = list(found_in(tmp_path / "in", *names, "z.heic", "z.json", "sub/a.jpg").lines())

    assert len(lines) == MAX_LINES + 1
    assert [line.partition(" ")[0] for line in lines[-4:-1]] == ["z.json", "sub/", "z.heic"]
    assert lines[0].startswith("000.jpg ")
    assert lines[-1] == "and more: 193 images without a prompt"


def test_control_characters_in_names_are_shown_as_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\x1b[31m\xff.jpg")

    (line,) = found_in(tmp_path / "in", name).lines()

    assert line.startswith(r"a\x1b[31m\xff.jpg has no prompt: a run looks for a\x1b[31m\xff.json")
