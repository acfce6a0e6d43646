"""What the results in an output are made with: the first batch writes it there, and all others must agree."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from sampoll.core.errors import ConfigurationError
from sampoll.core.names import printable
from sampoll.core.results import ModelInfo
from sampoll.files.stores.store import Store
from sampoll.transports.batch.ledger import OWN_FOLDER, needed_in

MADE_WITH = f"{OWN_FOLDER}/made-with.json"
OF_MODEL = ("checkpoint_sha256", "encoder_sha256", "detector", "detector_sha256", "precision", "engine")
"""All of a model but its name and its device, which must not change results."""


def asked_for(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is known before the model is loaded: its name, and the settings that results depend on."""
    return {"model": model, "settings": settings}


def made_with(asked: Mapping[str, Any], model: ModelInfo) -> dict[str, Any]:
    """All of it, with the digests of the model that was loaded."""
    return {**asked, **{key: getattr(model, key) or "" for key in OF_MODEL}}


def check_made_with(store: Store, own: Mapping[str, Any]) -> None:
    """ConfigurationError if results in the output are made with other values than `own`, or some of them."""
    try:
        with needed_in(store):
            found = orjson.loads(_read(store))
    except ValueError as error:
        raise ConfigurationError(f"{_place(store)} is no JSON: remove it, or use another --output") from error
    if found != {} and (differences := list(_differences(found, _as_read(own)))):
        raise ConfigurationError(
            f"{printable(store.address)} has results that are made with other settings: "
            f"{'; '.join(differences)}: use the same, or another --output"
        )


def _read(store: Store) -> bytes:
    """What is written there; an empty object if nothing is."""
    try:
        return store.read(MADE_WITH)
    except FileNotFoundError:
        return b"{}"


def note_made_with(store: Store, own: Mapping[str, Any]) -> None:
    """Writes what the results are made with, unless another process has; ConfigurationError if that has other
    values."""
    content = orjson.dumps(own, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    with needed_in(store):
        is_new = store.create_all([(MADE_WITH, content)]) == [True]
    if not is_new:
        check_made_with(store, own)


def _differences(found: Any, own: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(found, dict):
        yield "no object of JSON is there"
        return
    for key, value in own.items():
        if isinstance(value, dict):
            yield from _differences(found.get(key), value)
        elif found.get(key) != value:
            yield f"{key} {orjson.dumps(found.get(key)).decode()}, and here {orjson.dumps(value).decode()}"


def _as_read(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as JSON has it, where tuples are lists."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(document))
    return read


def _place(store: Store) -> str:
    return f"{printable(store.address)}/{MADE_WITH}"
