"""Batches over directories, in this process."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.batches import FAILED, batch
from support.folders import BOX, drop_pair, files_below
from support.images import encoded, image_of

from sampoll.core.errors import ConfigurationError, InputUnavailable, SampollError, UsageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "photographs"
    (directory / "sub").mkdir(parents=True)
    drop_pair(directory, "a")
    drop_pair(directory, "b", {"prompts": [BOX, BOX]}, image=image_of(seed=1), suffix=".PNG")
    drop_pair(directory / "sub", "c", image=image_of(seed=2))
    return directory


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "masks"


def all_files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_what_has_a_record_is_done_and_what_is_new_is_not(source: Path, output: Path) -> None:
    batch(source, output)
    before = all_files(output)
    drop_pair(source / "sub", "new", image=image_of(seed=5))

    again = batch(source, output)
    at_the_end = batch(source, output)

    assert (again.done, again.exit_code) == (["sub/new"], 0)
    assert again.line.startswith("1 done, 3 done before, 0 failed in")
    assert at_the_end.line.startswith("0 done, 4 done before, 0 failed in")
    assert not at_the_end.has_loaded_a_model
    after = all_files(output)
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["sub/new.json", "sub/new.png"]


def test_a_repetition_has_the_same_ids_and_the_same_masks(source: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "first", tmp_path / "second"
    for output in outputs:
        batch(source, output)

    first, second = ([json.loads(p.read_text())["meta"] for p in sorted(o.glob("*.json"))] for o in outputs)
    ids = [meta.get("job_id") for meta in first]

    assert ids == [meta.get("job_id") for meta in second]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert [meta["files"] for meta in first] == [meta["files"] for meta in second]


def test_failures_are_recorded_and_are_tried_again_only_if_that_is_asked_for(
    source: Path, output: Path
) -> None:
    (source / "sub" / "bad.jpg").write_bytes(b"no image")
    (source / "sub" / "bad.json").write_text(json.dumps(BOX))

    first = batch(source, output)
    report = json.loads((output / FAILED / "sub/bad.error.json").read_text())
    second = batch(source, output)
    drop_pair(source / "sub", "bad", image=image_of(seed=3))
    third = batch(source, output, retry_failed=True)

    assert first.exit_code == second.exit_code == 1
    assert first.line.startswith("3 done, 1 failed in")
    assert (report["name"], report["folder"], report["error"]["code"]) == ("bad", "sub", "bad-image")
    assert report["files"] == ["bad.json", "bad.jpg"]
    assert second.line.startswith("0 done, 3 done before, 0 failed, 1 failed before in")
    assert not second.has_loaded_a_model
    assert (third.exit_code, third.done) == (0, ["sub/bad"])
    assert not list((output / FAILED).rglob("*.json"))


def test_a_shard_does_its_part_and_the_parts_are_the_whole(source: Path, output: Path) -> None:
    for number in range(20):
        drop_pair(source, f"more{number}", image=image_of(seed=number))

    parts = [batch(source, output, shard=f"{index}/3") for index in range(3)]

    assert sum(len(part.done) for part in parts) == len(set().union(*(part.done for part in parts))) == 23
    assert all(part.done and " done before" not in part.line for part in parts)


def test_a_task_of_slurm_has_a_shard_only_if_that_is_asked_for(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="SLURM_ARRAY_TASK_ID has no number"):
        batch(source, tmp_path / "outside", shard="slurm")
    for part, value in (("ID", "4"), ("MIN", "4"), ("STEP", "1"), ("COUNT", "2")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{part}", value)

    assert batch(source, tmp_path / "whole").done == ["a", "b", "sub/c"]
    own = batch(source, tmp_path / "slurm", shard="slurm").done
    assert own == batch(source, tmp_path / "same", shard="0/2").done != ["a", "b", "sub/c"]


def test_an_output_takes_results_of_one_model_with_one_set_of_settings(source: Path, output: Path) -> None:
    batch(source, output)
    before = all_files(output)
    drop_pair(source, "new")

    with pytest.raises(
        ConfigurationError, match=r'model "support.fakes:boxes", and here "support.fakes:kept"'
    ):
        batch(source, output, model="support.fakes:kept")
    with pytest.raises(ConfigurationError, match="fill-holes 0, and here 9: use the same, or another"):
        batch(source, output, fill_holes=9)
    assert all_files(output) == before


def test_weights_of_another_digest_are_refused_once_they_are_loaded(source: Path, output: Path) -> None:
    batch(source, output)
    place = output / ".sampoll/batch/made-with.json"
    document = json.loads(place.read_text())
    place.write_text(json.dumps({**document, "checkpoint_sha256": "41aa"}))
    drop_pair(source, "new")

    with pytest.raises(ConfigurationError, match='checkpoint_sha256 "41aa", and here ""'):
        batch(source, output)
    place.write_text("{")
    with pytest.raises(ConfigurationError, match=r"made-with.json is no JSON: remove it, or use another"):
        batch(source, output)
    assert not (output / "new.json").exists()


def test_the_second_of_two_images_whose_results_would_share_a_file_fails(
    tmp_path: Path, output: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    drop_pair(source, "a", {"prompts": [BOX, BOX]})
    drop_pair(source, "a.0", image=image_of(seed=1))

    first = batch(source, output)
    again = batch(source, output, retry_failed=True)

    expected = {"a": "a.0.png belongs to the result a.0: rename one of the two images"}
    assert first.errors == again.errors == expected
    assert files_below(output) == ["a.0.json", "a.0.png"]


def test_a_folder_of_a_format_and_one_of_images_share_no_file(tmp_path: Path, output: Path) -> None:
    source = tmp_path / "in"
    (source / "png8").mkdir(parents=True)
    drop_pair(source, "a")
    drop_pair(source / "png8", "a", image=image_of(seed=1))

    both = batch(source, output, format=["png", "png8"])

    assert both.errors == {"png8/a": "png8/a.png belongs to the result a: rename one of the two images"}


def test_images_without_prompts_are_left_unless_there_is_a_default(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "alone.jpg").write_bytes(encoded(image_of(seed=7), "JPEG"))
    (source / "later.jpg").write_bytes(encoded(image_of(seed=8), "JPEG"))
    (source / "later.json").touch()
    prompt = tmp_path / "default.json"
    prompt.write_text(json.dumps(BOX))

    left = batch(source, tmp_path / "left")
    done = batch(source, tmp_path / "done", default_prompt=str(prompt))

    assert left.line.startswith("3 done, 0 failed, 2 half pairs left in")
    assert "is left: alone, later; --default-prompt is for such images" in caplog.text
    assert done.done == ["a", "alone", "b", "sub/c"]


def test_one_prompt_for_all_images_takes_the_place_of_theirs(
    source: Path, tmp_path: Path, output: Path
) -> None:
    (source / "alone.jpg").write_bytes(encoded(image_of(seed=7), "JPEG"))
    prompt = tmp_path / "all.json"
    prompt.write_text(json.dumps({**BOX, "label": "of all"}))

    found = batch(source, output, prompt=str(prompt))

    assert found.done == ["a", "alone", "b", "sub/c"]
    labels = [json.loads(p.read_text())["objects"][0]["label"] for p in output.rglob("[a-c]*.json")]
    assert labels == ["of all"] * 4


def test_links_to_images_are_followed_and_hidden_files_are_not_taken(
    source: Path, tmp_path: Path, output: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for name in ("a.jpg", "a.json"):
        (links / name).symlink_to(source / name)
    drop_pair(links, ".hidden")
    (links / "broken.jpg").symlink_to("nowhere")
    (links / "all").symlink_to(source)

    assert batch(links, output).done == ["a"]


def test_a_source_without_images_is_named(
    tmp_path: Path, output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "notes.txt").touch()

    found = batch(source, output)

    assert (found.exit_code, found.line[:16]) == (0, "0 done, 0 failed")
    assert f"there is no image and no prompt in {source}" in caplog.text


def test_patterns_and_a_limit_select_what_is_done(source: Path, tmp_path: Path) -> None:
    assert batch(source, tmp_path / "1", include=["sub/**"]).done == ["sub/c"]
    assert batch(source, tmp_path / "2", exclude=["*.PNG"]).done == ["a", "sub/c"]
    assert batch(source, tmp_path / "3", limit=2).done == ["a", "b"]


def test_two_images_of_one_stem_fail_together(source: Path, output: Path) -> None:
    (source / "a.png").write_bytes(encoded(image_of(seed=9)))

    both = batch(source, output)

    message = "a.jpg, a.png, a.json share one stem: give all but one image and one prompt other names"
    assert both.errors == {"a": message}


def test_an_error_that_may_pass_is_tried_again_in_the_same_batch(source: Path, output: Path) -> None:
    assert batch(source, output, model="support.fakes:forgetful", batch_size=1).line.startswith("3 done")


@pytest.mark.parametrize(
    ("paths", "flags", "error", "message"),
    [
        (("{}", "{}"), {}, ConfigurationError, "must not be equal or inside one another"),
        (("{}", "{}/masks"), {}, ConfigurationError, "must not be equal or inside one another"),
        (("s3://b/in", "s3://b"), {}, ConfigurationError, "must not be equal or inside one another"),
        (("{}/missing", "{}-masks"), {}, InputUnavailable, "no directory"),
        (("ftp://host/x", "{}-masks"), {}, UsageError, "no store of this kind"),
        (("s3://", "{}-masks"), {}, UsageError, "must name a bucket"),
        (
            ("s3://user:secret@bucket/x", "{}-masks"),
            {},
            UsageError,
            r"s3://\*\*\*@bucket/x must name a bucket",
        ),
        (("{}", "{}-masks"), {"shard": "4/4"}, UsageError, "--shard: the parts of 4 are numbered 0 to 3"),
        (("{}", "{}-masks"), {"format": ["png", "coco"]}, UsageError, "--format coco is about all results"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    source: Path, paths: tuple[str, str], flags: dict[str, str], error: type[SampollError], message: str
) -> None:
    with pytest.raises(error, match=message):
        batch(*(path.format(source) for path in paths), **flags)


def write_manifest(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("image,x0,y0,x1,y1,width,height", *lines)))
    return path


def test_the_images_of_a_manifest_are_done_and_no_others(source: Path, tmp_path: Path, output: Path) -> None:
    box = "4,4,20,16"
    manifest = write_manifest(
        tmp_path / "boxes.csv",
        f"sub/c.jpg,{box},,",
        f"sub/c.jpg,{box},32,24",
        f"a.jpg,{box},,",
        "b.PNG,,,,,,",
    )

    first = batch(manifest, output, images=source)
    again = batch(manifest, output, images=source)

    assert first.done == ["a", "sub/c"]
    assert first.line.startswith("2 done, 0 failed, 1 half pair left in")
    assert again.line.startswith("0 done, 2 done before, 0 failed, 1 half pair left in")
    assert files_below(output) == ["a.json", "a.png", "sub/c.0.png", "sub/c.1.png", "sub/c.json"]


def test_what_is_wrong_in_a_manifest_fails_its_image_or_is_passed_over(source: Path, output: Path) -> None:
    manifest = write_manifest(
        source / "boxes.csv",
        *("a.jpg,4,4,2,16,,", "b.PNG,4,4,20,16,30,30", "missing.jpg,4,4,20,16,,", "/etc/x.jpg,4,4,20,16,,"),
        "sub/c.jpg,4,4,20,16,,",
    )

    found = batch(manifest, output)

    assert found.exit_code == 1
    assert found.done == ["sub/c"]
    assert found.errors == {
        "a": "boxes.csv: line 2: x0 must be less than x1, got 4.0 and 2.0",
        "b": "b.PNG: has 32x24 pixels, and 30x30 according to the data set",
        "missing": "missing.jpg: is not there",
    }
    assert found.line.startswith("1 done, 3 failed, 1 passed over in")


def test_lines_of_one_image_that_are_apart_end_the_batch(source: Path, output: Path) -> None:
    box = "4,4,20,16,,"
    manifest = write_manifest(source / "boxes.csv", f"a.jpg,{box}", f"b.PNG,{box}", f"a.jpg,{box}")

    with pytest.raises(
        InputUnavailable, match=r"boxes.csv: line 4: a.jpg was there before: the lines of an image"
    ):
        batch(manifest, output)


def test_a_manifest_has_shards_patterns_and_a_default_prompt(source: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "images.csv"
    manifest.write_text("image\na.jpg\nb.PNG\nsub/c.jpg\n")
    prompt = tmp_path / "default.json"
    prompt.write_text(json.dumps(BOX))
    flags: dict[str, Any] = {"images": source, "default_prompt": str(prompt)}

    parts = [batch(manifest, tmp_path / "parts", shard=f"{index}/2", **flags).done for index in range(2)]

    assert sorted([*parts[0], *parts[1]]) == ["a", "b", "sub/c"]
    assert batch(manifest, tmp_path / "some", include=["sub/**"], **flags).done == ["sub/c"]
