"""sam_predict_poll compared with a poller on the library of the old command, on the same files."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sfp import Poller
from support.folders import names_in, read_opex
from support.images import encoded, image_of, read_mask, turned_image
from support.segmenters import BoxSegmenter

from sampoll.cli.sam_image.predict_poll import Messages, _settings, parser, predict
from sampoll.config.settings.model import ModelSettings
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import (
    ConfigurationError,
    InputUnavailable,
    ModelUnavailable,
    OutputUnavailable,
    SampollError,
    UsageError,
)
from sampoll.core.events import StopRequested
from sampoll.spool.layout import Layout
from sampoll.spool.scan import Group, Signature
from sampoll.spool.spool import opened

BOX = {"box": {"x0": 4.0, "y0": 4.0, "x1": 20.0, "y1": 16.0}}
OTHER_BOX = {"box": {"x0": 1.0, "y0": 2.0, "x1": 9.0, "y1": 8.0}}


@dataclass(frozen=True)
class Place:
    """The directories of one of the two programs."""

    input: Path
    output: Path
    temporary: Path

    @property
    def model(self) -> Path:
        return self.temporary.parent / "sam.pth"

    def drop(self, name: str, prompt: object = BOX, *, suffix: str = ".jpg") -> None:
        (self.input / f"{name}{suffix}").write_bytes(encoded(image_of(), "JPEG"))
        (self.input / f"{name}.prompt").write_text(json.dumps(prompt))

    @property
    def ends(self) -> dict[str, list[str]]:
        """The names of the files in each directory."""
        return {"input": names_in(self.input), "output": names_in(self.output)}


def place_of(directory: Path) -> Place:
    place = Place(directory / "in", directory / "out", directory / "tmp")
    for path in (place.input, place.output, place.temporary):
        path.mkdir(parents=True)
    place.model.write_text("weights")
    return place


@pytest.fixture
def old(tmp_path: Path) -> Place:
    return place_of(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("sampoll.app.run.find_factory", lambda _: lambda _: BoxSegmenter())
    return place_of(tmp_path / "new")


def run_old(place: Place, *flags: str) -> None:
    """Polls once through, with masks drawn as the fake segmenter of these tests draws them."""
    poller = Poller()
    poller.input_dir, poller.output_dir = str(place.input), str(place.output)
    poller.tmp_dir = str(place.temporary) if "--prediction_tmp" in flags else None
    poller.extensions = [".jpg", ".jpeg"]
    poller.other_input_files = ["{NAME}.prompt"]
    poller.delete_input = "--delete_input" in flags
    poller.progress = "--quiet" not in flags
    poller.check_file = lambda name, _: Path(name).read_bytes().endswith(b"\xff\xd9")
    poller.process_file = _segmented
    poller.poll()


def _segmented(name: str, output: str, poller: Poller) -> list[str]:
    image, stem = Path(name), Path(output) / Path(name).stem
    try:
        box = json.loads(image.with_suffix(".prompt").read_text())["box"]
        with Image.open(image) as opened:
            pixels = np.zeros((opened.height, opened.width), np.bool_)
        pixels[int(box["y0"]) : int(box["y1"]), int(box["x0"]) : int(box["x1"])] = True
        Image.fromarray(pixels).save(f"{stem}.png")
        Path(f"{stem}.json").write_text("{}")
    except Exception:  # noqa: BLE001  as the predecessor did
        poller.error(f"Failed to process image: {name}")
        return []
    return [f"{stem}.png", f"{stem}.json"]


def run_new(place: Place, *flags: str, **environment: str) -> int:
    return predict(arguments(place, *flags), {"SAMPOLL_SETTLE": "0.05", **environment})


def arguments(place: Place, *flags: str) -> Any:
    values = [str(place.temporary)] if flags[-1:] == ("--prediction_tmp",) else []
    directories = ["--prediction_in", str(place.input), "--prediction_out", str(place.output)]
    return parser().parse_args(["--model", str(place.model), *directories, *flags, *values])


@pytest.mark.parametrize("flags", [(), ("--delete_input",), ("--quiet",), ("--prediction_tmp",)])
def test_files_end_in_the_same_places_as_with_the_old_command(
    old: Place, new: Place, flags: tuple[str, ...]
) -> None:
    for place in (old, new):
        place.drop("a")
        place.drop("b", OTHER_BOX, suffix=".jpeg")
        place.drop("with [brackets]")
        (place.input / "notes.txt").write_text("not a pair")
        (place.input / "a.json").write_text("not a prompt")
        (place.input / "b.png").write_bytes(encoded(image_of()))
        (place.input / "folder").mkdir()

    run_old(old, *flags)
    code = run_new(new, *flags)

    # The predecessor leaves a prompt behind if there are brackets in its name.
    assert names_in(old.input).pop() == "with [brackets].prompt"
    shutil.move(old.input / "with [brackets].prompt", old.output)
    assert code == 0
    assert new.ends == old.ends
    for name in ("a", "b", "with [brackets]"):
        assert np.array_equal(read_mask(new.output / f"{name}.png"), read_mask(old.output / f"{name}.png"))


def test_whatever_has_the_name_of_a_result_or_an_input_is_overwritten(old: Place, new: Place) -> None:
    for place in (old, new):
        for name in ("a.png", "a.json", "a.jpg", "a.prompt"):
            (place.output / name).write_text("from an earlier day")
        place.drop("a")

    run_old(old)
    run_new(new)
    for place in (old, new):
        place.drop("a", OTHER_BOX)
    run_old(old)
    run_new(new)

    assert new.ends == old.ends == {"input": [], "output": ["a.jpg", "a.json", "a.png", "a.prompt"]}
    assert np.array_equal(read_mask(new.output / "a.png"), read_mask(old.output / "a.png"))
    assert json.loads((new.output / "a.prompt").read_text()) == OTHER_BOX
    assert (new.output / "a.jpg").read_bytes() == (old.output / "a.jpg").read_bytes()


def spoiled(place: Place) -> None:
    (place.input / "no-prompt.jpg").write_bytes(encoded(image_of(), "JPEG"))
    (place.input / "no-image.prompt").write_text(json.dumps(BOX))
    place.drop("bad-prompt", {"points": "none"})
    place.drop("half-written")
    half = encoded(image_of(), "JPEG")
    (place.input / "half-written.jpg").write_bytes(half[: len(half) // 2])
    place.drop("capitals", suffix=".JPG")
    place.drop("twice")
    (place.input / "twice.jpeg").write_bytes(encoded(image_of(), "JPEG"))
    place.drop("good")


def test_files_that_the_old_command_lost_or_ignored_are_kept_or_done(old: Place, new: Place) -> None:
    spoiled(old)
    spoiled(new)

    run_old(old)
    code = run_new(new)

    # Moved as if they were done, without a result.
    assert {"no-prompt.jpg", "bad-prompt.jpg", "twice.jpg", "twice.jpeg"} < set(names_in(old.output))
    assert "capitals.JPG" in names_in(old.input)
    assert code == 1
    assert names_in(new.output) == [
        *("capitals.JPG", "capitals.json", "capitals.png", "capitals.prompt"),
        *("good.jpg", "good.json", "good.png", "good.prompt"),
    ]
    assert names_in(new.input) == ["failed", "no-image.prompt", "no-prompt.jpg"]
    assert names_in(new.input / "failed") == [
        *("bad-prompt.error.json", "bad-prompt.jpg", "bad-prompt.prompt"),
        *("half-written.error.json", "half-written.jpg", "half-written.prompt"),
        *("twice.error.json", "twice.jpeg", "twice.jpg", "twice.prompt"),
    ]


def test_the_messages_are_those_of_the_old_command(
    old: Place, new: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (old, new):
        place.drop("a")

    run_old(old)
    before = comparable_lines(capsys.readouterr().out, old, " +")
    run_new(new)

    after = comparable_lines(capsys.readouterr().out, new)
    # The images have version 0.0.10 of the library: it counts no files, and writes two spaces after the dash.
    assert [line for line in before if "# files located" not in line] == after
    assert after == ["Start processing: IN/a.jpg", "Finished processing: N ms"]


def comparable_lines(output: str, place: Place, spaces: str = "  ") -> list[str]:
    """Lines without what differs from run to run; the time before each has the form that it always had."""
    lines = []
    for line in output.splitlines():
        found = re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{6}} -{spaces}(\S.*)", line)
        assert found, line
        message = found[1]
        lines.append(re.sub(r"\d+ ms", "N ms", message.replace(str(place.input), "IN")))
    return lines


def test_quiet_prints_nothing_and_verbose_lists_the_parameters(
    new: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    new.drop("a")
    run_new(new, "--quiet")
    quiet = capsys.readouterr()
    run_new(new, "--verbose")
    verbose = capsys.readouterr().out

    assert (quiet.out, quiet.err) == ("", "")
    assert verbose.startswith(f"Loading model/type: {new.model}/default\n")
    assert f" -  - Input dir: {new.input}\n" in verbose
    assert " -  - Poll wait interval: 1 seconds\n" in verbose


def test_opex_has_the_old_content_in_a_form_that_every_reader_accepts(new: Place) -> None:
    new.drop("a", {**BOX, "comment": "unknown keys were never an error"})

    run_new(new)

    opex = read_opex(new.output / "a.json")
    assert opex.id == "a"
    assert all(isinstance(value, str) for value in opex.meta.values())
    assert json.loads(opex.meta["segmenter"]) == {
        "type": "sam",
        "model_type": None,
        "model_file": str(new.model),
    }
    assert json.loads(opex.meta["prompt"]) == BOX


def test_prompts_are_in_the_frame_of_the_file_unless_exif_is_applied(new: Place) -> None:
    image, prompt = turned_image(), {"box": {"x0": 20, "y0": 2, "x1": 30, "y1": 8}}
    for name in ("a", "b"):
        new.drop(name, prompt)
        (new.input / f"{name}.jpg").write_bytes(image)
        environment = {"SAMPOLL_EXIF": "apply"} if name == "b" else {}
        run_new(new, **environment)

    assert read_mask(new.output / "a.png").shape == (24, 32)
    assert read_opex(new.output / "a.json").meta["exif"] == "ignore"
    # Upright, the image is 24 wide.
    assert read_mask(new.output / "b.png").shape == (32, 24)
    assert read_opex(new.output / "b.json").meta["exif"] == "apply"


def test_an_output_inside_the_input_is_allowed_as_before(new: Place) -> None:
    inner = Place(new.input, new.input / "predictions", new.temporary)
    inner.output.mkdir()
    inner.drop("a")

    assert run_new(inner) == 0

    assert names_in(inner.output) == ["a.jpg", "a.json", "a.png", "a.prompt"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: p.input.rmdir(), InputUnavailable, "Input directory does not exist: "),
        (lambda p: p.output.rmdir(), OutputUnavailable, "Output directory does not exist: "),
        (lambda p: p.temporary.rmdir(), ConfigurationError, "Temp directory does not exist: "),
        (
            lambda p: (p.output.rmdir(), p.output.write_text("")),
            OutputUnavailable,
            "Output directory does not point to a directory: ",
        ),
    ],
)
def test_directories_must_exist(
    new: Place, change: Callable[[Place], object], error: type[SampollError], message: str
) -> None:
    change(new)

    with pytest.raises(error, match=message):
        run_new(new, "--prediction_tmp")


def test_one_directory_for_input_and_output_is_refused(new: Place) -> None:
    with pytest.raises(ConfigurationError, match="choose two directories"):
        run_new(Place(new.input, new.input, new.temporary))


def test_the_watchdog_needs_continuous(new: Place) -> None:
    with pytest.raises(UsageError, match="Watchdog only available in continuous mode!"):
        run_new(new, "--use_watchdog")


def test_the_command_has_its_old_name() -> None:
    assert Path(sys.executable).with_name("sam_predict_poll").exists()


def test_names_of_any_bytes_are_printed_in_one_line_each(
    new: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("\udcff", "a\n2026-01-01 00:00:00.000000 - Start processing: b", "\x1b]0;title\x07"):
        new.drop(name)
        new.drop(f"bad {name}", {"points": "none"})

    assert run_new(new) == 1

    printed = capsys.readouterr().out
    begun_and_finished, failed = 2 * 6, 2 * 3
    assert len(printed.splitlines()) == begun_and_finished + failed
    assert r"in/\xff.jpg" in printed
    assert r"a\n2026-01-01 00:00:00.000000 - Start processing: b.jpg" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("spoil", [Path.unlink, lambda model: (model.unlink(), model.mkdir())])
def test_a_missing_model_ends_the_command_at_once_without_anything_to_do_too(
    new: Place, spoil: Callable[[Path], object]
) -> None:
    spoil(new.model)

    with pytest.raises(ModelUnavailable, match=r"--model .*sam\.pth cannot be read"):
        run_new(new)


@pytest.mark.parametrize(
    ("flags", "environment", "device"),
    [
        ((), {}, "auto"),
        ((), {"SAMPOLL_DEVICE": "cpu"}, "cpu"),
        (("--device", "cuda:1"), {"SAMPOLL_DEVICE": "cpu"}, "cuda:1"),
    ],
)
def test_the_device_is_the_flag_then_the_variable_then_the_best_one(
    new: Place,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    environment: dict[str, str],
    device: str,
) -> None:
    chosen = []

    def factory(settings: ModelSettings) -> BoxSegmenter:
        chosen.append(settings.device)
        return BoxSegmenter()

    monkeypatch.setattr("sampoll.app.run.find_factory", lambda _: factory)
    new.drop("a")

    assert run_new(new, *flags, **environment) == 0

    assert chosen == [device]


def test_the_watchdog_announces_its_checks_and_not_each_scan(
    new: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = Messages(arguments(new, "--continuous", "--use_watchdog"))

    for now in (100.0, 100.1, 109.9, 110.0, 112.0, 121.0):
        messages._note_check(now)

    assert comparable_lines(capsys.readouterr().out, new) == [
        "Initial check",
        "Watchdog check interval reached",
        "Watchdog check interval reached",
    ]


def all_names_in(directory: Path) -> set[str]:
    """The names in a directory, hidden ones too, except our own."""
    return {path.name for path in directory.iterdir()} - {".sampoll"}


@pytest.mark.parametrize("flags", [(), ("--delete_input",)])
def test_links_and_hidden_names_are_processed_as_before(
    old: Place, new: Place, flags: tuple[str, ...]
) -> None:
    for place in (old, new):
        photographs = place.input.parent / "photographs"
        photographs.mkdir()
        (photographs / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))
        (photographs / "a.prompt").write_text(json.dumps(BOX))
        (place.input / "relative.jpg").symlink_to("../photographs/a.jpg")
        (place.input / "absolute.jpg").symlink_to(photographs / "a.jpg")
        for name in ("relative", "absolute"):
            (place.input / f"{name}.prompt").symlink_to(photographs / "a.prompt")
        for name in (".hidden", "~backup", "~$a"):
            place.drop(name)
        (place.input / "folder.jpg").symlink_to(photographs)
        os.mkfifo(place.temporary / "pipe")

    run_old(old, *flags)
    code = run_new(new, *flags)

    assert code == 0
    assert new.ends == old.ends
    assert all_names_in(new.output) == all_names_in(old.output) >= {".hidden.png", ".hidden.prompt"}
    assert all_names_in(new.input) == all_names_in(old.input) == {"folder.jpg"}
    for name in (".hidden", "~backup", "~$a", "relative", "absolute"):
        assert np.array_equal(read_mask(new.output / f"{name}.png"), read_mask(old.output / f"{name}.png"))
    for place in (old, new):
        assert names_in(place.input.parent / "photographs") == ["a.jpg", "a.prompt"]
        assert (place.output / "relative.prompt").is_symlink()
        assert flags or (place.output / "relative.jpg").readlink() == Path("../photographs/a.jpg")


def test_links_to_pipes_and_to_nothing_hold_nothing_up(new: Place) -> None:
    os.mkfifo(new.temporary / "pipe")
    (new.input / "pipe.jpg").symlink_to(new.temporary / "pipe")
    (new.input / "nothing.jpg").symlink_to("nowhere")
    (new.input / "round.jpg").symlink_to("round.jpg")
    for name in ("pipe", "nothing", "round"):
        (new.input / f"{name}.prompt").write_text(json.dumps(BOX))
    new.drop("good")

    run_new(new)

    assert "good.png" in names_in(new.output)
    assert {"pipe.jpg", "pipe.prompt", "nothing.jpg", "round.jpg"} <= all_names_in(new.input)


def test_a_failed_link_is_moved_and_what_it_leads_to_stays(new: Place) -> None:
    (new.temporary / "a.jpg").write_text("no image")
    new.drop("a")
    (new.input / "a.jpg").unlink()
    (new.input / "a.jpg").symlink_to("../tmp/a.jpg")

    assert run_new(new) == 1

    assert (new.input / "failed" / "a.jpg").readlink() == Path("../tmp/a.jpg")
    assert (new.temporary / "a.jpg").read_text() == "no image"


def test_a_file_behind_a_link_that_is_still_written_is_not_taken(new: Place) -> None:
    with (new.temporary / "a.jpg").open("wb") as writer:
        writer.write(encoded(image_of(), "JPEG"))
        writer.flush()
        new.drop("a")
        (new.input / "a.jpg").unlink()
        (new.input / "a.jpg").symlink_to(new.temporary / "a.jpg")
        group = Group("a", dict.fromkeys(("a.jpg", "a.prompt"), Signature(0, 0, 0)))
        layout = Layout(new.input, new.output, new.output, takes_links_and_hidden=True)
        with opened(layout, SpoolSettings()) as spool:
            assert spool.is_being_written(group)
            writer.close()
            assert not spool.is_being_written(group)


def test_a_file_that_is_no_checkpoint_is_an_error_once_there_is_something_to_do(tmp_path: Path) -> None:
    place = place_of(tmp_path)

    assert run_new(place) == 0
    place.drop("a")
    with pytest.raises(ModelUnavailable, match=r"sam\.pth"):
        run_new(place)

    assert names_in(place.input) == ["a.jpg", "a.prompt"]


def test_a_prompt_that_comes_after_its_image_makes_a_pair(old: Place, new: Place) -> None:
    for place in (old, new):
        place.drop("a")
        (place.input / "a.prompt").rename(place.temporary / "a.prompt")
    run_old(old)
    run_new(new)
    for place in (old, new):
        (place.temporary / "a.prompt").rename(place.input / "a.prompt")
    run_old(old)
    run_new(new)

    assert old.ends == {"input": ["a.prompt"], "output": ["a.jpg"]}
    assert new.ends == {"input": [], "output": ["a.jpg", "a.json", "a.png", "a.prompt"]}


def test_the_content_of_an_image_counts_and_damaged_ones_fail(new: Place) -> None:
    whole = encoded(image_of(), "JPEG")
    contents = {
        "png": encoded(image_of()),
        "gif": encoded(image_of(), "GIF"),
        "damaged": whole[: len(whole) * 2 // 3] + b"\xff\xd9",
    }
    for name, content in contents.items():
        new.drop(name)
        (new.input / f"{name}.jpg").write_bytes(content)

    assert run_new(new) == 1

    assert "png.png" in names_in(new.output)
    assert {"gif.error.json", "damaged.error.json"} <= set(names_in(new.input / "failed"))


def test_prompts_are_moved_although_the_path_of_the_input_is_relative(
    old: Place, new: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, run in ((old, run_old), (new, run_new)):
        place.drop("a")
        monkeypatch.chdir(place.input.parent)
        run(Place(Path("in"), Path("out"), Path("tmp").absolute()))

    assert old.ends["input"] == ["a.prompt"]
    assert new.ends == {"input": [], "output": ["a.jpg", "a.json", "a.png", "a.prompt"]}


def test_a_link_in_the_place_of_a_result_is_replaced(old: Place, new: Place) -> None:
    for place in (old, new):
        place.drop("a")
        (place.temporary / "other.png").write_text("another file")
        (place.output / "a.png").symlink_to(place.temporary / "other.png")

    run_old(old)
    run_new(new)

    assert (old.temporary / "other.png").read_bytes() != b"another file"
    assert (new.temporary / "other.png").read_bytes() == b"another file"
    assert not (new.output / "a.png").is_symlink()


def test_results_of_very_long_names_have_shorter_ones(new: Place) -> None:
    name = "n" * 230
    new.drop(name)

    assert run_new(new) == 0

    assert {f"{name}.jpg", f"{name}.prompt"} < set(names_in(new.output))
    [mask] = new.output.glob("*.png")
    assert mask.stem.startswith("n" * 200)
    assert len(mask.stem) == 220


def test_pairs_are_begun_together_and_summed_up_on_standard_error(
    new: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    new.drop("a")
    new.drop("b")

    run_new(new)

    printed = capsys.readouterr()
    kinds = [line.partition(" ")[0] for line in comparable_lines(printed.out, new)]
    assert kinds == ["Start", "Start", "Finished", "Finished"]
    assert printed.err.startswith("2 done, 0 failed")


def test_files_without_their_other_half_are_named(new: Place, caplog: pytest.LogCaptureFixture) -> None:
    (new.input / "alone.jpg").write_bytes(encoded(image_of(), "JPEG"))

    assert run_new(new) == 0

    assert "alone.jpg has no prompt: a run looks for alone.prompt beside it" in caplog.text


def test_a_stop_is_announced_as_before(new: Place, capsys: pytest.CaptureFixture[str]) -> None:
    Messages(arguments(new, "--quiet"))(StopRequested())

    assert comparable_lines(capsys.readouterr().out, new) == ["Interrupted, exiting"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--poll_wait", "0"), {"watch": "polling", "rescan": 0.05}),
        (("--poll_wait", "3"), {"watch": "polling", "rescan": 3.0}),
        (("--use_watchdog", "--poll_wait", "3"), {"watch": "auto", "rescan": 10.0}),
        (("--use_watchdog", "--watchdog_check_interval", "0.01"), {"watch": "auto", "rescan": 0.05}),
    ],
)
def test_how_often_the_input_is_scanned(new: Place, flags: tuple[str, ...], expected: dict[str, Any]) -> None:
    settings = _settings(arguments(new, "--continuous", *flags))

    assert {**settings, **expected} == settings


def test_a_name_that_another_process_has_reserved_is_versioned(new: Place) -> None:
    new.drop("a")
    names = new.output / ".sampoll" / "names"
    names.mkdir(parents=True)
    (names / "a.json").write_text("0123456789abcdef" * 2)

    assert run_new(new) == 0

    assert names_in(new.output) == ["a.jpg", "a.prompt", "a~2.json", "a~2.png"]
    assert (new.input / ".sampoll").is_dir()
