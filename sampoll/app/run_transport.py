"""Serves a transport that a caller has written, in the same way as the built-in ones."""

from threading import Event
from typing import Any

from sampoll.app.assembly import decoding_options, format_options, load_model, named, service_of
from sampoll.app.keyword_settings import settings_of
from sampoll.core.protocols import Transport
from sampoll.formats.registry import RECORD, load_format, load_formats


def run_transport(transport: Transport, *, stop: Event | None = None, **settings: Any) -> None:
    """Does the jobs of `transport` until it has no more, or `stop` is set, and closes it.

    `settings` are those of `sampoll run`, by their names with underscores: `model="grabcut"`,
    `max_pixels=10**8`. The service does the decoding, batching, cleaning and formats. Raises SampollError if
    it cannot work at all; UsageError for an unknown setting or a bad value.
    """
    chosen = settings_of(settings)
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
