"""Importers by name: those of sampoll, and those of other packages."""

from sampoll.config.plugins import IMPORTERS, PluginBroken, load, plugins
from sampoll.core.errors import ConfigurationError, UsageError
from sampoll.core.suggestions import did_you_mean
from sampoll.inputs.importers.base import Read


def load_importer(name: str) -> Read:
    """The importer of this name. UsageError if there is none, ConfigurationError if it cannot be imported."""
    known = plugins(IMPORTERS)
    if name not in known:
        raise UsageError(
            f"no {name!r} among importers (--from): {', '.join(known)}{did_you_mean(name, known)}"
        )
    try:
        read: Read = load(known[name])
    except PluginBroken as error:
        raise ConfigurationError(f"--from {error}") from error
    return read
