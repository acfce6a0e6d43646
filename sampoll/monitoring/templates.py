"""Pages of HTML, from templates that lie in packages."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def page_template(package: str, name: str) -> Template:
    """A template that escapes all values, so that they are shown as text, never as HTML."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
