"""The settings of the section [streams]."""

from typing import Annotated

from pydantic import Field

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import NamedDirectory, WholeSeconds


class StreamsSettings(Section):
    """Jobs in a stream that many workers share."""

    stream: Annotated[str, Field(min_length=1)] = setting(
        "sam", "stream", "Stream of jobs; results are in NAME:results.", metavar="NAME", is_everyday=True
    )
    group: Annotated[str, Field(min_length=1)] = setting(
        "sampoll", "group", "Group of workers that share the stream.", metavar="NAME", is_everyday=True
    )
    root: NamedDirectory | None = setting(
        None,
        "root",
        "Directory that contains the paths in jobs; without it, paths are refused.",
        metavar="DIR",
        is_everyday=True,
    )
    result_ttl_seconds: WholeSeconds = setting(
        7 * 86400, "result-ttl", "Keep results in the stream for this long.", metavar="SECONDS"
    )
