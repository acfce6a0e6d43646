"""All checks, in the order in which a run would need what they check."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampoll.app.assembly import named
from sampoll.app.directories import layout_of
from sampoll.app.doctor.findings import Finding, error_of, exit_code_of, ok, warning
from sampoll.app.doctor.model import check_device, check_model
from sampoll.app.doctor.redis import check_redis
from sampoll.app.doctor.self_test import self_test
from sampoll.app.doctor.storage import check_directories
from sampoll.app.plan import plan_of
from sampoll.config.resolve import Resolved, resolve, unknown_variables
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import SampollError
from sampoll.spool.layout import Layout

PLACEHOLDER_LAYOUT = Layout(Path("/"), Path("/"), None)


def examine(
    flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None
) -> Iterator[Finding]:
    """Yields each finding as soon as it is made; leaves out checks that an earlier error makes impossible."""
    try:
        resolved = resolve(flags, environment, config)
    except SampollError as error:
        yield error_of("configuration", error)
        return
    settings = resolved.settings
    yield from _configuration(resolved, environment)
    directories, layout = _directories(settings.spool)
    yield from directories
    if any(key.startswith("redis-") for key in resolved.origins):
        yield from check_redis(settings.redis)
    try:
        settings = named(settings)
    except SampollError as error:
        yield error_of("model", error)
        return
    yield from check_device(settings.model)
    findings, model = check_model(settings.model)
    yield from findings
    try:
        plan = plan_of(settings, layout or PLACEHOLDER_LAYOUT)
    except SampollError as error:
        yield error_of("configuration", error)
        return
    if model is not None:
        are_usable = layout is not None and layout.output.is_dir() and not exit_code_of(directories)
        yield self_test(plan, model, layout if are_usable else None)


def _configuration(resolved: Resolved, environment: Mapping[str, str]) -> Iterator[Finding]:
    for variable, hint in unknown_variables(environment).items():
        yield warning(
            "configuration", f"{variable} is no setting of sampoll{hint}", "correct its name, or unset it"
        )
    origins = sorted({origin.partition(": [")[0] for origin in resolved.origins.values()})
    yield ok("configuration", f"settings from {', '.join(origins)}" if origins else "defaults only")


def _directories(settings: SpoolSettings) -> tuple[list[Finding], Layout | None]:
    """The findings about the directories, and their layout; None if it could not be determined."""
    if settings.input is None and settings.output is None:
        message = "no input and no output are set; a service of Redis needs none"
        return [ok("directories", message)], None
    try:
        layout = layout_of(settings, creates=False)
    except SampollError as error:
        return [error_of("directories", error)], None
    return list(check_directories(settings, layout)), layout
