"""sam_predict_poll: images and prompts from one directory, masks, OPEX and the inputs into another."""

import os
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from sampoll.app.assembly import format_options
from sampoll.app.plan import Plan, plan_of
from sampoll.app.run import run_plan
from sampoll.cli.exit import run_and_exit
from sampoll.cli.logs import set_up_logging
from sampoll.cli.output import tell
from sampoll.cli.sam_image.advice import Advice
from sampoll.cli.sam_image.models import (
    DEFAULTS,
    MODEL_FLAGS,
    add_model_flags,
    check_model,
    loading_message,
    model_settings,
    opex_meta,
)
from sampoll.cli.sam_image.output import say, say_now
from sampoll.cli.sam_image.parser import Parser
from sampoll.config.resolve import resolve
from sampoll.core.errors import ConfigurationError, InputUnavailable, OutputUnavailable, UsageError
from sampoll.core.events import (
    Event,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobStarted,
    PassedOver,
    StopRequested,
)
from sampoll.formats.opex import Opex
from sampoll.formats.opex_record import read_record
from sampoll.formats.png import PngMask
from sampoll.spool.layout import Layout
from sampoll.spool.reservations import Naming, OnExist

SUFFIXES = (".jpg", ".jpeg")
MIN_RESCAN_SECONDS = 0.05


def main() -> NoReturn:
    run_and_exit(lambda: predict(parser().parse_args(), os.environ), "sam_predict_poll", has_look=False)


def parser() -> ArgumentParser:
    made = Parser(
        description="SAM - Prediction (file-polling)",
        prog="sam_predict_poll",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    add_model_flags(made)
    made.add_argument("--prediction_in", required=True, help="Directory with images and prompts.")
    made.add_argument("--prediction_out", required=True, help="Directory for the predictions and the inputs.")
    made.add_argument(
        "--prediction_tmp", help="Must exist; predictions are written aside and then moved without it."
    )
    made.add_argument("--poll_wait", type=float, default=1.0, help="Seconds between two polls.")
    made.add_argument("--continuous", action="store_true", help="Keep polling.")
    made.add_argument(
        "--use_watchdog", action="store_true", help="React to new files; only with --continuous."
    )
    made.add_argument(
        "--watchdog_check_interval", type=float, default=10.0, help="Seconds between polls all the same."
    )
    made.add_argument("--delete_input", action="store_true", help="Delete images instead of moving them.")
    made.add_argument("--verbose", action="store_true", help="Say more.")
    made.add_argument("--quiet", action="store_true", help="Say nothing but errors.")
    return made


def predict(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """Runs the command with these flags; returns the exit code."""
    check_model(arguments)
    _check(arguments)
    advice = _advice(arguments)
    with advice.in_errors():
        resolved = resolve(_settings(arguments), environment, defaults=DEFAULTS)
        set_up_logging(resolved, show_progress=False, has_look=False)
        messages = Messages(arguments)
        if arguments.verbose:
            messages.list_parameters()
        with advice.in_logs():
            plan = _plan(arguments, plan_of(resolved.settings, _layout(arguments)), advice)
            outcome = run_plan(plan, [messages], show_progress=False)
    if not arguments.quiet:
        tell(str(outcome.summary))
    return outcome.exit_code


def _check(arguments: Namespace) -> None:
    directories = (
        ("Input", arguments.prediction_in, InputUnavailable),
        ("Output", arguments.prediction_out, OutputUnavailable),
        ("Temp", arguments.prediction_tmp, ConfigurationError),
    )
    for name, directory, error in directories:
        if directory is None:
            continue
        if not Path(directory).exists():
            raise error(f"{name} directory does not exist: {directory}")
        if not Path(directory).is_dir():
            raise error(f"{name} directory does not point to a directory: {directory}")
    if Path(arguments.prediction_in).samefile(arguments.prediction_out):
        raise ConfigurationError(
            f"--prediction_in and --prediction_out are both {arguments.prediction_in}: choose two directories"
        )
    if arguments.use_watchdog and not arguments.continuous:
        raise UsageError("Watchdog only available in continuous mode!")


def _settings(arguments: Namespace) -> dict[str, Any]:
    watches = arguments.use_watchdog
    rescan_seconds = arguments.watchdog_check_interval if watches else arguments.poll_wait
    return {
        **model_settings(arguments),
        "input": arguments.prediction_in,
        "output": arguments.prediction_out,
        "continuous": arguments.continuous,
        "watch": "auto" if watches else "polling",
        "rescan": max(rescan_seconds, MIN_RESCAN_SECONDS),
    }


def _advice(arguments: Namespace) -> Advice:
    return Advice(
        {
            **MODEL_FLAGS,
            "input": "--prediction_in",
            "output": "--prediction_out",
            "continuous": "--continuous",
            "watch": "--use_watchdog",
            "rescan": "--watchdog_check_interval" if arguments.use_watchdog else "--poll_wait",
        }
    )


def _layout(arguments: Namespace) -> Layout:
    output = Path(arguments.prediction_out).resolve()
    return Layout(
        Path(arguments.prediction_in).resolve(),
        output,
        done=output,
        suffixes=frozenset({*SUFFIXES, ".prompt"}),
        deletes_images=arguments.delete_input,
        overwrites_done=True,
        takes_links_and_hidden=True,
    )


def _plan(arguments: Namespace, plan: Plan, advice: Advice) -> Plan:
    return replace(
        plan,
        transport=replace(plan.transport, naming=Naming(OnExist.OVERWRITE, read_record), reword=advice),
        decoding=replace(plan.decoding, takes_old_prompts=True),
        formats=[
            PngMask(),
            Opex(format_options(plan.settings), partial(opex_meta, arguments=arguments)),
        ],
        datasets=(),
    )


class Messages:
    """The messages of the original command on standard output; with --quiet, errors only."""

    def __init__(self, arguments: Namespace) -> None:
        self._arguments = arguments
        self._begun: dict[str, tuple[str, float]] = {}
        self._checked_at: float | None = None

    def list_parameters(self) -> None:
        arguments = self._arguments
        say(loading_message(arguments))
        say_now("Polling parameters")
        say_now(f"- Input dir: {arguments.prediction_in}")
        say_now(f"- Output dir: {arguments.prediction_out}")
        if arguments.prediction_tmp is not None:
            say_now(f"- Temp dir: {arguments.prediction_tmp}")
        say_now(f"- Extensions: {list(SUFFIXES)}")
        say_now(f"- Continuous: {arguments.continuous}")
        say_now(f"- Watchdog: {arguments.use_watchdog}")
        if arguments.use_watchdog:
            say_now(f"- Watchdog check interval: {int(arguments.watchdog_check_interval)} seconds")
        else:
            say_now(f"- Poll wait interval: {int(arguments.poll_wait)} seconds")

    def __call__(self, event: Event) -> None:
        match event:
            case InputScanned() if self._arguments.use_watchdog:
                self._note_check(time.monotonic())
            case StopRequested():
                say_now("Interrupted, exiting")
            case PassedOver(path, error):
                say_now(f"Passed over: {self._input_path(path)}", str(error))
            case JobStarted(submission):
                path = self._input_path(submission.image_name)
                self._begun[submission.id] = path, time.monotonic()
                self._info(f"Start processing: {path}")
            case JobDone(job_id=job_id):
                self._finished(job_id)
            case JobFailed(name, job_id, error):
                path, _ = self._begun.get(job_id, (self._input_path(name), 0.0))
                say_now(f"Failed to process image: {path}", str(error))
                self._finished(job_id)
            case JobDeferred(_, job_id, error, delay_seconds):
                say_now(f"{error}; trying again in {delay_seconds:.1f} s")
                self._finished(job_id)

    def _note_check(self, now: float) -> None:
        """A scan as the original command announces it: not each one that an event has caused."""
        if self._checked_at is None:
            self._info("Initial check")
        elif now - self._checked_at >= self._arguments.watchdog_check_interval:
            self._info("Watchdog check interval reached")
        else:
            return
        self._checked_at = now

    def _finished(self, job_id: str) -> None:
        _, started = self._begun.pop(job_id, ("", 0.0))
        if started:
            self._info(f"Finished processing: {int(1000 * (time.monotonic() - started))} ms")

    def _input_path(self, name: str) -> str:
        # The directory as the user wrote it: Path would normalise it.
        return os.path.join(self._arguments.prediction_in, name)  # noqa: PTH118

    def _info(self, message: str) -> None:
        if not self._arguments.quiet:
            say_now(message)
