"""`sampoll run` as a cron job uses it: everything that is there, once, and an exit code."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.folders import BOX, Folders, drop_pair, names_in, read_opex
from support.images import encoded, image_of, iou, read_mask, turned_image
from support.process import TESTS, running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")


def test_pairs_become_masks_and_opex_and_the_inputs_are_kept(folders: Folders) -> None:
    drop_pair(folders.input, "cat")
    drop_pair(
        folders.input, "dog", {"prompts": [BOX, {"points": [{"x": 3, "y": 2, "label": 1}], "label": "nose"}]}
    )

    run = sampoll("run", *folders.flags, *BOXES)

    assert (run.returncode, run.stdout.splitlines()[-1][:17]) == (0, "2 done, 0 failed ")
    assert folders.results == ["cat.json", "cat.png", "dog.0.png", "dog.1.png", "dog.json"]
    assert folders.done == ["cat.jpg", "cat.json", "dog.jpg", "dog.json"]
    assert folders.waiting == folders.failed == []
    mask = read_mask(folders.output / "cat.png")
    assert mask.shape == (24, 32)
    assert np.array_equal(np.argwhere(mask)[[0, -1]], [[4, 4], [15, 19]])
    assert [found.label for found in read_opex(folders.output / "dog.json").objects] == ["object", "nose"]


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".png", ".Png"])
@pytest.mark.parametrize("prompt_suffix", [".json", ".prompt"])
def test_extensions_may_be_in_upper_or_lower_case(folders: Folders, suffix: str, prompt_suffix: str) -> None:
    drop_pair(folders.input, "a", suffix=suffix)
    (folders.input / "a.json").rename(folders.input / f"a{prompt_suffix}")

    assert sampoll("run", *folders.flags, *BOXES).returncode == 0
    assert folders.done == sorted([f"a{suffix}", f"a{prompt_suffix}"])


def test_names_with_spaces_brackets_dots_and_dashes_are_names(folders: Folders) -> None:
    names = ["-a b", "[1] (2)", "a.b.c", "*", "Ünï"]
    for name in names:
        drop_pair(folders.input, name)

    assert sampoll("run", *folders.flags, *BOXES).returncode == 0
    assert folders.results == sorted(f"{name}{suffix}" for name in names for suffix in (".png", ".json"))


def test_a_name_that_is_no_unicode_is_done_and_shown_escaped(folders: Folders) -> None:
    drop_pair(folders.input, os.fsdecode(b"caf\xe9\n"))

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.returncode == 0
    assert r"caf\xe9\n: done" in run.stderr
    assert os.fsdecode(b"caf\xe9\n.png") in folders.results


@pytest.mark.parametrize(("exif", "shape"), [("apply", (32, 24)), ("ignore", (24, 32))])
def test_prompts_and_masks_are_in_the_upright_frame_unless_exif_is_ignored(
    folders: Folders, exif: str, shape: tuple[int, int]
) -> None:
    drop_pair(folders.input, "a")
    (folders.input / "a.jpg").write_bytes(turned_image(24, 32))

    run = sampoll("run", *folders.flags, *BOXES, "--exif", exif)

    assert run.returncode == 0
    assert read_mask(folders.output / "a.png").shape == shape
    meta = read_opex(folders.output / "a.json").meta
    assert (meta["exif"], json.loads(meta["settings"])["exif"]) == (exif, exif)


def test_a_bad_pair_among_good_ones_fails_alone_with_the_reason(folders: Folders) -> None:
    for name in ("a", "b", "c"):
        drop_pair(folders.input, name)
    drop_pair(folders.input, "prompt", {"box": {"x0": 9, "y0": 0, "x1": 1, "y1": 1}})
    drop_pair(folders.input, "outside", {"points": [{"x": 99, "y": 0, "label": 1}]})
    drop_pair(folders.input, "image")
    (folders.input / "image.jpg").write_bytes(b"not an image")

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.returncode == 1
    assert "3 done, 3 failed" in run.stdout
    assert len(folders.results) == 6
    assert folders.failed == sorted(
        f"{name}{suffix}"
        for name in ("image", "outside", "prompt")
        for suffix in (".jpg", ".json", ".error.json")
    )
    errors = {
        name: json.loads((folders.input / "failed" / f"{name}.error.json").read_text())["error"]
        for name in ("prompt", "outside", "image")
    }
    assert errors["prompt"]["message"] == "prompt.json: box: x0 must be less than x1, got 9.0 and 1.0"
    assert (errors["outside"]["file"], errors["outside"]["field"]) == ("outside.json", "points[0]")
    assert errors["image"]["code"] == "bad-image"


def test_a_model_that_fails_on_one_image_fails_that_one(folders: Folders) -> None:
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", image=image_of(13, 32), prompt={"points": [{"x": 1, "y": 1, "label": 1}]})

    run = sampoll("run", *folders.flags, "--model", "support.fakes:raising")

    assert run.returncode == 1
    assert folders.results == ["good.json", "good.png"]
    assert "the model failed: ArithmeticError: the poison was found" in run.stderr


def test_a_result_that_cannot_be_rendered_makes_only_its_pair_fail(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sampoll.formats.png as p\n"
        "def encode_grayscale(rows, width, bit_depth):\n"
        "    assert len(rows) != 13, 'unlucky'\n"
        "    return b'png'\n"
        "p.encode_grayscale = encode_grayscale\n"
    )
    drop_pair(folders.input, "good")
    drop_pair(folders.input, "bad", image=image_of(13, 32), prompt={"points": [{"x": 1, "y": 1, "label": 1}]})

    run = sampoll("run", *folders.flags, *BOXES, env={"PYTHONPATH": f"{tmp_path}:{TESTS}"})

    assert run.returncode == 1
    assert "bad: failed: no output could be made: AssertionError: unlucky" in run.stderr
    assert folders.results == ["good.json", "good.png"]


def test_a_factory_that_fails_is_exit_code_69_and_nothing_was_touched(
    folders: Folders, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("def build(options): raise LookupError('no weights')\n")
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, "--model", "broken:build", cwd=tmp_path)

    assert run.returncode == 69
    assert "--model broken:build could not be loaded: LookupError: no weights" in run.stderr
    assert folders.waiting == ["a.jpg", "a.json"]


def test_flags_can_override_a_toml(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[spool]\ncontinuous = true\n")

    run = sampoll("run", *folders.flags, *BOXES, "--config", tmp_path / "my.toml", "--no-continuous")

    assert run.returncode == 0


def test_half_pairs_are_counted_and_stay_in_the_input(folders: Folders) -> None:
    drop_pair(folders.input, "whole")
    drop_pair(folders.input, "image only")
    (folders.input / "image only.json").unlink()
    (folders.input / "prompt only.prompt").write_text(json.dumps(BOX))
    (folders.input / "notes.txt").write_text("no part of anything")

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.returncode == 0
    assert "1 done, 0 failed, 2 half pairs left" in run.stdout
    assert "image only.jpg has no prompt: a run looks for image only.json or image only.prompt" in run.stderr
    assert "prompt only.prompt has no image: a run looks for prompt only.bmp, " in run.stderr
    assert folders.waiting == ["image only.jpg", "notes.txt", "prompt only.prompt"]


def test_include_and_exclude_choose_pairs_and_leave_no_halves(folders: Folders) -> None:
    for name in ("a", "b", "sub/c", "sub/deep/d", "other/e"):
        (folders.input / name).parent.mkdir(parents=True, exist_ok=True)
        drop_pair(folders.input, name, suffix=".png" if name == "b" else ".jpg")
    chosen = ("--recursive", "--include", "*.jpg", "--exclude", "sub/deep/", "--exclude", "other/*.json")

    run = sampoll("run", *folders.flags, *BOXES, *chosen)

    assert run.returncode == 0
    assert "has no" not in run.stderr
    assert run.stdout.startswith("2 done, 0 failed in")
    assert folders.results == ["a.json", "a.png", "sub"]
    assert (folders.output / "sub" / "c.json").exists()
    assert (folders.input / "sub" / "deep" / "d.json").exists()


def test_a_limit_counts_pairs_that_are_begun_and_those_done_before_do_not_count(folders: Folders) -> None:
    for name in "abc":
        drop_pair(folders.input, name)
    run = sampoll("run", *folders.flags, *BOXES, "--limit", 2)
    assert (run.returncode, run.stdout[:16]) == (0, "2 done, 0 failed")
    assert folders.waiting == ["c.jpg", "c.json"]

    drop_pair(folders.input, "a")
    drop_pair(folders.input, "bad", prompt={})
    drop_pair(folders.input, "d")
    run = sampoll("run", *folders.flags, *BOXES, "--skip-done", "--limit", 2)

    assert run.stdout.startswith("1 done, 1 done before, 1 failed"), run.stdout
    assert folders.waiting == ["d.jpg", "d.json"]


def test_a_limit_leaves_pairs_of_a_killed_run_to_the_next_one(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    for name in "abc":
        drop_pair(folders.input, name, {"points": [{"x": 1, "y": 1, "label": 1}]}, image=image_of(13, 32))
    with running_sampoll("run", *folders.flags, "--model", "support.fakes:waiting") as process:
        until(started.exists, "the first batch")
        process.kill()
        process.wait()
    go.touch()

    limited = sampoll("run", *folders.flags, *BOXES, "--limit", 1)
    others = sampoll("run", *folders.flags, *BOXES)

    assert limited.stdout.startswith("1 done, 0 failed"), limited.stdout
    assert others.stdout.startswith("2 done, 0 failed"), others.stdout
    assert [name for name in folders.results if name.endswith(".json")] == ["a.json", "b.json", "c.json"]


def test_a_limit_for_a_service_is_refused(folders: Folders) -> None:
    run = sampoll("run", *folders.flags, *BOXES, "--limit", 2, "--continuous")

    assert run.returncode == 2
    assert "--limit" in run.stderr
    assert "needs a run that ends" in run.stderr


def test_two_images_for_one_prompt_fail_together(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    drop_pair(folders.input, "a", suffix=".png")

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.returncode == 1
    assert folders.failed == ["a.error.json", "a.jpg", "a.json", "a.png"]
    assert "a.jpg, a.png share one stem" in run.stderr


def test_a_pair_that_is_still_being_written_is_waited_for(folders: Folders) -> None:
    drop_pair(folders.input, "a", image=image_of(64, 64))
    content = (folders.input / "a.jpg").read_bytes()
    (folders.input / "a.jpg").write_bytes(content[:100])

    def write_slowly() -> None:
        with (folders.input / "a.jpg").open("ab") as file:
            for start in range(100, len(content), 500):
                file.write(content[start : start + 500])
                file.flush()
                time.sleep(0.05)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    run = sampoll("run", *folders.flags, "--settle", 0.6, *BOXES)
    writer.join()

    assert (run.returncode, folders.results) == (0, ["a.json", "a.png"])


def test_a_second_pair_of_the_same_name_gets_its_own_version(folders: Folders) -> None:
    for _ in range(2):
        drop_pair(folders.input, "a")
        assert sampoll("run", *folders.flags, *BOXES).returncode == 0

    assert folders.results == ["a.json", "a.png", "a~2.json", "a~2.png"]
    assert folders.done == ["a.jpg", "a.json", "a~2.jpg", "a~2.json"]
    assert read_opex(folders.output / "a~2.json").id == "a~2"


def test_done_inputs_are_deleted_or_moved_where_asked(folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a")
    assert sampoll("run", *folders.flags, *BOXES, "--done", "delete").returncode == 0
    drop_pair(folders.input, "b")
    assert sampoll("run", *folders.flags, *BOXES, "--done", tmp_path / "archive").returncode == 0

    assert names_in(tmp_path / "archive") == ["b.jpg", "b.json"]
    assert folders.results == ["a.json", "a.png", "b.json", "b.png"]
    assert folders.waiting == folders.done == []


def test_nothing_to_do_needs_no_model(folders: Folders) -> None:
    run = sampoll("run", *folders.flags)

    assert (run.returncode, run.stdout[:16]) == (0, "0 done, 0 failed")
    assert f"there is no image and no prompt in {folders.input}" in run.stderr


def test_retries_that_are_due_later_than_give_up_end_the_run_as_temporary(folders: Folders) -> None:
    drop_pair(folders.input, "a", image=image_of(13, 32), prompt={"points": [{"x": 1, "y": 1, "label": 1}]})

    run = sampoll("run", *folders.flags, "--model", "support.fakes:out_of_memory", "--give-up", 0)

    assert run.returncode == 75
    assert "1 to be tried again" in run.stdout
    assert sampoll("run", *folders.flags, *BOXES).returncode == 0
    assert folders.results == ["a.json", "a.png"]


def test_retries_are_waited_for_and_the_last_one_is_final(folders: Folders) -> None:
    drop_pair(folders.input, "a", image=image_of(13, 32), prompt={"points": [{"x": 1, "y": 1, "label": 1}]})

    run = sampoll("run", *folders.flags, "--model", "support.fakes:out_of_memory", "--max-attempts", 2)

    assert run.returncode == 1
    assert folders.failed == ["a.error.json", "a.jpg", "a.json"]
    assert json.loads((folders.input / "failed" / "a.error.json").read_text())["attempts"] == 2


def test_the_stop_file_ends_a_run_before_it_begins(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    (folders.input / "STOP").touch()

    run = sampoll("run", *folders.flags, *BOXES, "--stop-file", "STOP")

    assert run.returncode == 75
    assert folders.waiting == ["a.jpg", "a.json"]


def test_sigterm_finishes_the_running_batch_and_leaves_the_rest(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    for name in ("a", "b", "c"):
        drop_pair(
            folders.input, name, image=image_of(13, 32), prompt={"points": [{"x": 1, "y": 1, "label": 1}]}
        )
    with running_sampoll(
        "run", *folders.flags, "--model", "support.fakes:waiting", "--batch-size", 1
    ) as process:
        until(started.exists, "the first batch")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        go.touch()
        assert process.wait(30) == 75

    assert folders.results == ["a.json", "a.png"]
    assert folders.waiting == ["b.jpg", "b.json", "c.jpg", "c.json"]


# Errors that keep a run from working at all


def test_a_missing_input_is_exit_code_66(tmp_path: Path) -> None:
    run = sampoll("run", "-i", tmp_path / "nowhere", "-o", tmp_path / "out")

    assert run.returncode == 66
    assert run.stderr == f"sampoll: no input directory {tmp_path}/nowhere: create it, or correct --input\n"


@pytest.mark.parametrize(("source", "target"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "a/../a/c")])
def test_input_and_output_inside_one_another_are_78(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)

    run = sampoll("run", "-i", tmp_path / source, "-o", tmp_path / target)

    assert run.returncode == 78
    assert "must not be equal or inside one another" in run.stderr


def test_a_link_does_not_hide_that_input_and_output_are_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")

    assert sampoll("run", "-i", tmp_path / "a", "-o", tmp_path / "b").returncode == 78


@pytest.mark.parametrize("done", ["in/x", "in", "out"])
def test_done_inside_the_input_or_equal_to_the_output_is_exit_code_78(folders: Folders, done: str) -> None:
    assert sampoll("run", *folders.flags, "--done", folders.input.parent / done).returncode == 78


def test_an_output_that_cannot_be_a_directory_is_exit_code_73(folders: Folders) -> None:
    folders.output.write_text("a file")

    run = sampoll("run", *folders.flags)

    assert (run.returncode, f"must be a directory, but {folders.output} is a file" in run.stderr) == (
        73,
        True,
    )


def test_a_missing_checkpoint_is_exit_code_69_and_nothing_was_touched(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags)

    assert run.returncode == 69
    assert "give --checkpoint FILE" in run.stderr
    assert "--model grabcut" in run.stderr
    assert folders.waiting == ["a.jpg", "a.json"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vit_x", "no 'vit_x' among models: auto, edgetam, grabcut, mobile_sam, "),
        ("sam_vit_b", "or package.module:factory; did you mean vit_b?"),
        ("nowhere:build", "importing nowhere failed: ModuleNotFoundError"),
        ("support.fakes:nothing", "fakes has no callable 'nothing'"),
    ],
)
def test_an_unknown_model_is_exit_code_69(folders: Folders, model: str, message: str) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, "--model", model)

    assert (run.returncode, message in run.stderr) == (69, True)


@pytest.mark.parametrize("arguments", [("--settle", "soon"), ("--nonsense",), ("--max-attempts", "0")])
def test_a_wrong_command_line_is_2(folders: Folders, arguments: tuple[str, ...]) -> None:
    assert sampoll("run", *folders.flags, *arguments).returncode == 2


def test_without_directories_the_message_names_the_three_ways_to_set_them(tmp_path: Path) -> None:
    run = sampoll("run", "--continuous")

    assert run.returncode == 2
    for way in ("--input DIR and --output DIR", "SAMPOLL_INPUT and SAMPOLL_OUTPUT", "under [spool] in"):
        assert way in run.stderr


def test_what_the_system_forbids_is_exit_code_77_and_names_the_directory(folders: Folders) -> None:
    folders.input.chmod(0o500)
    try:
        run = sampoll("run", *folders.flags, unprivileged=True)
    finally:
        folders.input.chmod(0o700)

    assert run.returncode == 77
    assert f"{folders.input}/.sampoll: Permission denied" in run.stderr


def test_a_bug_is_exit_code_70_and_loses_nothing(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sampoll.spool.spool as s\ns.Spool.reserve = lambda *_: 1 / 0\n"
    )
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, *BOXES, env={"PYTHONPATH": f"{tmp_path}:{TESTS}"})

    assert run.returncode == 70
    assert "ZeroDivisionError" in run.stderr
    assert "this is a bug in sampoll" in run.stderr
    assert folders.waiting == ["a.jpg", "a.json"]


# What is in force


def test_settings_come_from_a_toml_file_and_are_shown_with_their_origin(
    folders: Folders, tmp_path: Path
) -> None:
    toml = tmp_path / "my.toml"
    toml.write_text(
        '[spool]\ninput = "in"\noutput = "out"\nsettle = 0.1\n[model]\nmodel = "support.fakes:boxes"\n'
    )
    drop_pair(folders.input, "a")

    shown = sampoll("run", "--config", toml, "--print-config", env={"SAMPOLL_RESCAN": "9"})
    run = sampoll("run", env={"SAMPOLL_CONFIG": str(toml)})

    assert f"# {toml}: [spool] input" in shown.stdout
    assert "# SAMPOLL_RESCAN" in shown.stdout
    assert (run.returncode, folders.results) == (0, ["a.json", "a.png"])


def test_an_unknown_key_in_the_toml_is_exit_code_78(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[spool]\nsetle = 1\n")

    run = sampoll("run", "--config", tmp_path / "my.toml")

    assert (run.returncode, "did you mean settle?" in run.stderr) == (78, True)


OF_MODELS = {"torch", "torchvision", "segment_anything", "openvino", "scipy"}
OF_IMAGES = {"cv2", "PIL"}
OF_SERVICES = {"redis", "watchdog", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["run", "--help"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["failed", "list", "--help"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["--version"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["failed", "list"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["status"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["status", "--input", "in"], OF_MODELS | OF_IMAGES | OF_SERVICES),
        (["models", "list"], OF_MODELS | OF_IMAGES),
        (["models", "path", "vit_b"], OF_MODELS | OF_IMAGES),
        (["doctor"], OF_MODELS),
        (
            ["run", "in", "out", "--model", "grabcut"],
            OF_MODELS | {"redis", "granian", "starlette", "asyncio"},
        ),
    ],
)
def test_what_needs_no_model_imports_nothing_heavy(
    tmp_path: Path, arguments: list[str], heavy: set[str]
) -> None:
    code = (
        f"import sys; sys.argv = ['sampoll', *{arguments}]\n"
        "from sampoll.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*sorted({heavy} & set(sys.modules)), sep='\\n', file=open('imported', 'w'))"
    )
    (tmp_path / "in").mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)

    assert (tmp_path / "imported").read_text().split() == []


def test_the_version_is_printed() -> None:
    assert sampoll("--version").stdout.startswith("sampoll 0.")


def test_the_demo_is_segmented_close_to_its_true_masks(tmp_path: Path) -> None:
    assert sampoll("demo", tmp_path / "demo").returncode == 0
    run = sampoll("run", "-i", tmp_path / "demo/in", "-o", tmp_path / "demo/out", "--model", "grabcut")

    assert run.returncode == 0
    assert (tmp_path / "demo/out/coffee.png").exists()
    truths = sorted((tmp_path / "demo/truth").iterdir())
    assert len(truths) == 5
    for truth in truths:
        assert iou(read_mask(truth), read_mask(tmp_path / "demo/out" / truth.name)) > 0.9


def test_the_demo_does_not_overwrite_other_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "box.json").write_text("mine")

    run = sampoll("demo", tmp_path)

    assert (run.returncode, "is there already" in run.stderr) == (73, True)
    assert (tmp_path / "in" / "box.json").read_text() == "mine"


def test_an_image_beside_its_own_mask_is_never_taken_for_a_pair(folders: Folders) -> None:
    """Results go to the output alone, so a second run finds nothing."""
    drop_pair(folders.input, "a")
    sampoll("run", *folders.flags, *BOXES)

    assert sampoll("run", *folders.flags, *BOXES).stdout.startswith("0 done")


def test_two_runs_at_once_share_the_work(folders: Folders) -> None:
    for number in range(40):
        drop_pair(folders.input, f"{number:02}")
    with (
        running_sampoll("run", *folders.flags, *BOXES) as one,
        running_sampoll("run", *folders.flags, *BOXES) as two,
    ):
        assert (one.wait(60), two.wait(60)) == (0, 0)

    assert folders.results == sorted(f"{n:02}{s}" for n in range(40) for s in (".json", ".png"))
    assert len(folders.done) == 80


def test_the_encoded_image_survives_unchanged(folders: Folders) -> None:
    content = encoded(image_of(), "PNG")
    (folders.input / "a.png").write_bytes(content)
    (folders.input / "a.json").write_text(json.dumps(BOX))

    sampoll("run", *folders.flags, *BOXES)

    assert (folders.input / "done" / "a.png").read_bytes() == content
