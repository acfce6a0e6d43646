"""Each line of the lists of differences in docs/migrating.md has a test of what the commands do now, in the
place of what those of the SAM image did."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from support.process import REPOSITORY, environment

from sampoll.app.reply_formats import ContourLists
from sampoll.core.jobs import Point, Prompt
from sampoll.core.results import Mask, ModelInfo, Segmentation

BIN = Path(sys.executable).parent
POLL = "tests/acceptance/test_drop_in_poll.py"
SAM = "tests/acceptance/test_drop_in_sam.py"
SERVE = "tests/acceptance/test_serve_redis.py"
CLIENTS = "tests/acceptance/test_redis_clients.py"
CONNECTION = "tests/acceptance/test_redis_connection.py"
PROMPT = "tests/unit/inputs/test_old_prompt.py"
FLAGS = "tests/unit/cli/sam_image/test_flags.py"
OUTPUT = "tests/unit/cli/sam_image/test_output.py"
MESSAGES = "tests/unit/transports/redis/test_messages.py"
PUBSUB = "tests/unit/transports/redis/pubsub/test_pubsub.py"
CONTOURS = "tests/unit/formats/geometry/test_contours.py"
FILES = "tests/unit/files/test_files.py"
HERE = "tests/acceptance/test_migrating.py"

TESTED: Mapping[str, tuple[str, str]] = {
    "An error is one sentence": (HERE, "an_error_is_one_sentence_and_a_code"),
    "`--model_type` may be left out": (FLAGS, "default_is_the_huge_model"),
    "`--model_type` takes the models": (FLAGS, "names_defaults_and_kinds_are_the_published_ones"),
    "`--device` may be left out": (POLL, "the_device_is_the_flag_then_the_variable_then_the_best_one"),
    "A file that is no checkpoint": (
        POLL,
        "a_file_that_is_no_checkpoint_is_an_error_once_there_is_something_to_do",
    ),
    "Of the model's three masks": (FLAGS, "the_best_mask_is_used_unless_the_first_one_is_asked_for"),
    "A prompt may have points and a box": (PROMPT, "points_and_a_box_count_together"),
    "The keys `label`, `id`": (PROMPT, "what_the_old_commands_took_is_taken"),
    "Points whose `label` is neither": (PROMPT, "what_the_old_commands_failed_on_is_refused_with_a_reason"),
    "A coordinate that is null": (PROMPT, "what_is_json_is_taken"),
    "The corners of a box": (PROMPT, "what_the_old_commands_took_is_taken"),
    "Files and requests beyond": (PROMPT, "the_limits_hold"),
    "`NaN`, `Infinity`": (PROMPT, "what_is_json_is_taken"),
    "Contours run through": (CONTOURS, "refilled_polygons_are_the_mask_with_its_holes_filled"),
    "EXIF orientation is ignored": (POLL, "prompts_are_in_the_frame_of_the_file_unless_exif_is_applied"),
    "move, or delete, an image": (POLL, "files_that_the_old_command_lost_or_ignored_are_kept_or_done"),
    "leave a prompt behind that came": (POLL, "a_prompt_that_comes_after_its_image_makes_a_pair"),
    "move a slow upload": (POLL, "a_file_behind_a_link_that_is_still_written_is_not_taken"),
    "do the same with other formats": (POLL, "the_content_of_an_image_counts_and_damaged_ones_fail"),
    "take a damaged JPEG": (POLL, "the_content_of_an_image_counts_and_damaged_ones_fail"),
    "process the same files again": (FILES, "a_move_over_a_file_replaces_it_also_across_filesystems"),
    "ignore `.JPG`": (POLL, "files_end_in_the_same_places_as_with_the_old_command"),
    "leave all prompts behind": (POLL, "prompts_are_moved_although_the_path_of_the_input_is_relative"),
    "process both `a.jpg`": (POLL, "files_that_the_old_command_lost_or_ignored_are_kept_or_done"),
    "write through a link": (POLL, "a_link_in_the_place_of_a_result_is_replaced"),
    "move a link that leads to nothing": (POLL, "links_to_pipes_and_to_nothing_hold_nothing_up"),
    "exit with 0 when everything": (POLL, "files_that_the_old_command_lost_or_ignored_are_kept_or_done"),
    "lose what was in flight": (
        "tests/faults/test_drop_in_kills.py",
        "a_kill_at_a_sample_of_points_loses_nothing_and_repeats_nothing",
    ),
    'write `"score": null`': (POLL, "opex_has_the_old_content_in_a_form_that_every_reader_accepts"),
    "copy unknown keys": (POLL, "opex_has_the_old_content_in_a_form_that_every_reader_accepts"),
    "`--prediction_tmp` must exist": (POLL, "files_end_in_the_same_places_as_with_the_old_command"),
    "The input has a hidden directory": (POLL, "one_directory_for_input_and_output_is_refused"),
    "Results of names of more": (POLL, "results_of_very_long_names_have_shorter_ones"),
    "Several pairs can be in progress": (POLL, "pairs_are_begun_together_and_summed_up_on_standard_error"),
    "The reason of a failure": (POLL, "names_of_any_bytes_are_printed_in_one_line_each"),
    "A summary goes to standard error": (POLL, "files_without_their_other_half_are_named"),
    "`--verbose` still lists": (POLL, "quiet_prints_nothing_and_verbose_lists_the_parameters"),
    "A signal ends it": (POLL, "a_stop_is_announced_as_before"),
    "With `--use_watchdog` on a network": (POLL, "how_often_the_input_is_scanned"),
    "`--poll_wait` and": (POLL, "how_often_the_input_is_scanned"),
    "If another process has reserved": (POLL, "a_name_that_another_process_has_reserved_is_versioned"),
    "process each message in the reading thread": (SERVE, "sixty_large_messages_at_once_are_all_answered"),
    "send no reply when": (SERVE, "every_error_is_one_reply_that_old_clients_survive"),
    "embed the image again": (SERVE, "fifty_clicks_on_one_image_cost_one_embedding"),
    "have no way to tell": (MESSAGES, "keys_that_an_old_client_uses_for_something_else_are_ignored"),
    "have no OPEX": (SERVE, "known_clients_get_the_same_replies_as_before"),
    "send contours without a width": (HERE, "a_contour_without_an_extent_is_left_out_of_a_reply"),
    "take replies for requests": (SERVE, "a_pattern_may_match_the_channel_of_the_replies"),
    "publish each reply once": (PUBSUB, "a_reply_waits_for_its_late_subscriber_and_is_received_once"),
    "`--redis_timeout` has no effect": (FLAGS, "the_time_between_two_looks_for_messages_has_no_effect"),
    "Wrong passwords": (CONNECTION, "a_password_is_needed_and_is_never_shown"),
    "TLS and users": (CONNECTION, "the_connection_can_use_tls"),
    "`send` reports on standard error": (
        CLIENTS,
        "the_old_test_commands_send_a_request_and_receive_the_reply",
    ),
    "`send` writes the image's base64": (MESSAGES, "the_image_of_a_request_is_one_line_of_base64"),
    "The OPEX that `recv` writes": (CLIENTS, "the_old_receiver_understands_replies_of_the_old_service"),
    "The mask that `recv` writes": (OUTPUT, "the_receiver_names_what_is_no_reply_and_goes_on"),
    "Errors in replies": (OUTPUT, "the_receiver_names_what_is_no_reply_and_goes_on"),
    "A message that is no reply": (OUTPUT, "the_receiver_names_what_is_no_reply_and_goes_on"),
    "Ctrl-C ends `recv`": (CLIENTS, "the_channel_of_the_old_receiver_is_a_pattern"),
}
"""Where each line is tested, by its first words."""


def differences() -> list[str]:
    """The items and the rows of the lists, each as its first line."""
    page = (REPOSITORY / "docs" / "migrating.md").read_text()
    _, _, lists = page.partition("## All four commands")
    lists, _, _ = lists.partition("## How the lists are tested")
    items = re.findall(r"^- (.*)", lists, re.MULTILINE)
    rows = [
        row for row in re.findall(r"^\| (.*?) \|", lists, re.MULTILINE) if row not in ("---", "it used to")
    ]
    return items + rows


def test_each_difference_has_one_test_and_each_test_a_difference() -> None:
    lines = differences()
    tests = {line: [start for start in TESTED if line.startswith(start)] for line in lines}

    assert [line for line, starts in tests.items() if len(starts) != 1] == []
    assert sorted(start for starts in tests.values() for start in starts) == sorted(TESTED)


@pytest.mark.parametrize("line", TESTED)
def test_the_test_of_a_difference_exists(line: str) -> None:
    file, name = TESTED[line]

    assert f"\ndef test_{name}(" in (REPOSITORY / file).read_text()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("sam_predict_poll --model missing.pth --prediction_in . --prediction_out .", 69),
        ("sam_predict_poll --model here --prediction_in missing --prediction_out .", 66),
        ("sam_predict_redis --model missing.pth --redis_in a --redis_out b", 69),
        ("sam_test_redis_send -c a -I missing.jpg -P here", 66),
        ("sam_test_redis_recv -c a -o missing", 73),
    ],
)
def test_an_error_is_one_sentence_and_a_code(command: str, code: int, tmp_path: Path) -> None:
    """Before, it was a traceback, with the exit code 1, or 0 of the commands for Redis."""
    (tmp_path / "here").touch()
    program, *arguments = command.split()

    run = subprocess.run(
        [BIN / program, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (run.returncode, run.stdout) == (code, "")
    assert len(run.stderr.splitlines()) == 1
    assert "missing" in run.stderr


def test_a_contour_without_an_extent_is_left_out_of_a_reply() -> None:
    pixels = np.zeros((8, 8), np.bool_)
    pixels[0:3, 0:3] = True
    pixels[5, 1:7] = True
    pixels[7, 7] = True
    masks = ((Mask.from_array(pixels, score=1.0),),)
    prompts = (Prompt(points=(Point(1, 1, 1),)),)
    segmentation = Segmentation("1", "a", prompts, masks, ModelInfo("fake"), (8, 8), "", {})

    [contours] = ContourLists().render(segmentation, [])

    assert [sorted(contour) for contour in json.loads(contours.content)] == [[[0, 0], [0, 2], [2, 0], [2, 2]]]
