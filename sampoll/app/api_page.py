"""The page that describes the routes of `sampoll serve http`, without anything from elsewhere."""

from collections.abc import Mapping
from typing import Any

import orjson

from sampoll.monitoring.templates import page_template


def api_page(openapi: Mapping[str, Any]) -> str:
    """The page of a description in OpenAPI."""
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = {
        name: orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()
        for name, schema in openapi["components"]["schemas"].items()
    }
    return page_template("sampoll.app", "api_page.html.jinja").render(
        operations=operations, schemas=schemas, version=openapi["info"]["version"]
    )
