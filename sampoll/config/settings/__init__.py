"""All settings, in frozen sections.

Each field is declared once, in the module of its section; its flag, its variable and its TOML key come from
its alias. A component receives its own section, and does not see those of others.
"""

from sampoll.config.settings.batch import BatchSettings
from sampoll.config.settings.label_studio import LabelStudioSettings
from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.masks import MaskSettings
from sampoll.config.settings.model import ModelSettings
from sampoll.config.settings.monitoring import MonitoringSettings
from sampoll.config.settings.operations import OperationSettings
from sampoll.config.settings.outputs import OutputSettings
from sampoll.config.settings.processes import ProcessSettings
from sampoll.config.settings.prompts import PromptSettings
from sampoll.config.settings.redis import RedisSettings
from sampoll.config.settings.requests import RequestSettings
from sampoll.config.settings.section import Section
from sampoll.config.settings.spool import SpoolSettings
from sampoll.config.settings.streams import StreamsSettings
from sampoll.config.settings.web import WebSettings


class Settings(Section):
    """Everything in force, by section."""

    spool: SpoolSettings = SpoolSettings()
    model: ModelSettings = ModelSettings()
    masks: MaskSettings = MaskSettings()
    outputs: OutputSettings = OutputSettings()
    limits: LimitSettings = LimitSettings()
    prompts: PromptSettings = PromptSettings()
    redis: RedisSettings = RedisSettings()
    requests: RequestSettings = RequestSettings()
    streams: StreamsSettings = StreamsSettings()
    web: WebSettings = WebSettings()
    label_studio: LabelStudioSettings = LabelStudioSettings()
    batch: BatchSettings = BatchSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    operations: OperationSettings = OperationSettings()
    processes: ProcessSettings = ProcessSettings()
