"""The settings of the section [processes]."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

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

    @field_validator("devices")
    @classmethod
    def _has_no_rival(cls, devices: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if devices and info.data.get("workers") is not None:
            raise ValueError("has a worker for each device: leave workers out")
        return devices

    @property
    def is_divided(self) -> bool:
        """Whether a command is the work of several processes, or of one that is watched."""
        return self.workers is not None or bool(self.devices)
