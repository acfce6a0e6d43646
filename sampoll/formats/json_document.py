"""Documents with many outlines as JSON."""

from collections.abc import Mapping
from typing import Any

import orjson

MAX_INDENTED = 1000
"""A document of more outlines is not indented, which would make it several times as large."""


def json_document(document: Mapping[str, Any], outlines: int) -> bytes:
    """The document, whose outlines may be arrays; indented, for people, unless it has very many of them."""
    indented = orjson.OPT_INDENT_2 if outlines <= MAX_INDENTED else 0
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | indented)
