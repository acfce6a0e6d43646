"""Serves a transport that a caller has written, in the same way as the built-in ones."""

from threading import Event
from typing import Any

from sampoll.app.assembly import decoding_options, format_options, load_model, named, service_of
from sampoll.config.fields import all_settings
from sampoll.config.resolve import resolve
from sampoll.core.errors import UsageError
from sampoll.core.protocols import Transport
from sampoll.core.suggestions import did_you_mean
from sampoll.formats.registry import RECORD, load_format, load_formats


def run_transport(transport: Transport, *, stop: Event | None = None, **settings: Any) -> None:
    """Does the jobs of `transport` until it has no more, or `stop` is set, and closes it.

    `settings` are those of `sampoll run`, by their names with underscores: `model="grabcut"`,
    `max_pixels=10**8`. The service does the decoding, batching, cleaning and formats. Raises SampollError if
    it cannot work at all; UsageError for an unknown setting or a bad value.
    """
    given = {name.replace("_", "-"): value for name, value in settings.items()}
    known = {setting.key for setting in all_settings()}
    for name in given:
        if name not in known:
            raise UsageError(f"{name} is no setting of sampoll{did_you_mean(name, known)}")
    chosen = resolve(given, {}).settings
    options = format_options(chosen)
    formats = [
        *load_formats(chosen.outputs.names, options).of_results,
        load_format(RECORD, options),
    ]
    try:
        chosen = named(chosen)
        model = load_model(chosen.model)
        decode = model.decode_with(decoding_options(chosen))
        service_of(chosen, transport, model, decode, formats).run(stop or Event())
    finally:
        transport.close()
