"""The settings of the section [prompts]."""

from typing import Literal

from sampoll.config.settings.section import Section, setting


class PromptSettings(Section):
    """How prompts are read."""

    on_bad_prompt: Literal["fail", "skip"] = setting(
        "fail",
        "on-bad-prompt",
        "A bad prompt fails its pair; or it is skipped, and the other prompts of its file are done.",
        metavar="fail|skip",
    )
