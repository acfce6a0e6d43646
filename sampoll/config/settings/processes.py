"""The settings of the section [processes]."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from sampoll.config.settings.model import device_named
from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import listed

DeviceName: TypeAlias = Annotated[str, AfterValidator(device_named)]


class ProcessSettings(Section):
    """How many processes share the work."""

    workers: Annotated[int, Field(ge=1)] | None = setting(
        None,
        "workers",
        "Run so many processes, each on its share of the cores; for models that do not keep all cores busy.",
        metavar="N",
    )
    devices: Annotated[tuple[DeviceName, ...], BeforeValidator(listed)] = setting(
        (), "devices", "Run a process on each of these devices, as cuda:0,cuda:1.", metavar="DEVICE,..."
    )
