"""How submissions are read."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.values import OnBadPrompt
from sampoll.core.jobs import PROMPT_KINDS, Exif


@dataclass(frozen=True)
class DecodingOptions:
    """The limits above which a submission is refused, how its image and prompts are read, which kinds of
    prompts the model takes, and what a bad prompt costs. `takes_old_prompts`: whatever the commands of the
    SAM image took. `models_that_take` names other models that take a kind of prompts, for messages."""

    limits: LimitSettings = field(default_factory=LimitSettings)
    exif: Exif = "apply"
    takes_old_prompts: bool = False
    model: str = ""
    prompt_kinds: Collection[str] = PROMPT_KINDS
    models_that_take: Callable[[str], Sequence[str]] = lambda _: ()
    on_bad_prompt: OnBadPrompt = "fail"
