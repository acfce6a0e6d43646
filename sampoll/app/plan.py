"""The plan of a run over directories, made from its settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from sampoll.app.assembly import common_prompt, decoding_options, format_options, named
from sampoll.app.skip_done import DoneIndex
from sampoll.config.settings import Settings
from sampoll.core.protocols import DatasetFormat, Format
from sampoll.core.results import ModelInfo
from sampoll.formats.opex_record import read_record
from sampoll.formats.registry import RECORD, load_format, load_formats
from sampoll.inputs.options import DecodingOptions
from sampoll.spool.layout import Layout
from sampoll.spool.reservations import Naming, OnExist
from sampoll.transports.directory.transport import DirectoryOptions


@dataclass(frozen=True)
class Plan:
    """Everything that a run over directories needs. The last format is the commit record; data sets are
    written at the end of the run."""

    settings: Settings
    layout: Layout
    transport: DirectoryOptions
    decoding: DecodingOptions
    formats: Sequence[Format]
    datasets: Sequence[DatasetFormat] = ()

    def done_index(self, model: ModelInfo) -> DoneIndex:
        """The index of results of earlier runs with the same settings and this model."""
        settings = format_options(self.settings).settings
        return DoneIndex(self.layout.output, settings, self.decoding, model)


def plan_of(settings: Settings, layout: Layout) -> Plan:
    """The run that the settings ask for; they name the model then, which `auto` leaves open."""
    settings = named(settings)
    options = format_options(settings, layout.output, layout.done)
    chosen = load_formats(settings.outputs.names, options)
    decoding = decoding_options(settings)
    return Plan(
        settings,
        layout,
        _transport_options(settings, decoding),
        decoding,
        [*chosen.of_results, load_format(RECORD, options)],
        chosen.of_datasets,
    )


def _transport_options(settings: Settings, decoding: DecodingOptions) -> DirectoryOptions:
    naming = Naming(OnExist(settings.spool.on_exist), read_record)
    return DirectoryOptions(settings.spool, settings.limits, naming, common_prompt(settings, decoding))
