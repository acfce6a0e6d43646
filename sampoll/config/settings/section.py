"""What every section is made of."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def setting(
    default: Any,
    key: str,
    help: str,
    *,
    metavar: str = "",
    short: str = "",
    is_flag: bool = True,
    is_everyday: bool = False,
    named_by: Sequence[str] = (),
    shared_variable: str = "",
) -> Any:
    """A field whose flag (if `is_flag`), variable and TOML key are made from `key`. --help shows everyday
    settings, --help-all shows all. In the help, {names} stands for the names of the plug-ins in the groups
    `named_by`. If its own variable is not set, `shared_variable` counts, which other programs know too."""
    extra: dict[str, Any] = {
        "metavar": metavar,
        "short": short,
        "is_flag": is_flag,
        "is_everyday": is_everyday,
        "named_by": list(named_by),
        "shared_variable": shared_variable,
    }
    return Field(default, alias=key, description=help, json_schema_extra=extra)


class Section(BaseModel):
    # Fields can be set by their Python names too: the keys of files and flags are checked before this.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        validate_by_name=True,
        hide_input_in_errors=True,  # it may be a password
    )
