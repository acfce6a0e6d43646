"""The prompts of a file that are segmented, and those that are skipped because they are bad.

This is the one place that decides what a bad prompt costs: runs, checks and --skip-done ask here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sampoll.core.errors import BadPrompt, as_value
from sampoll.core.jobs import Prompt, SkippedPrompt
from sampoll.inputs.old_prompt import read_old_prompts
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import PlacedPrompt, read_prompts

MAX_SHOWN_ERRORS = 10
"""How many errors the message about a file without any good prompt repeats."""
MAX_SHOWN_MODELS = 3


@dataclass(frozen=True)
class UsablePrompts:
    """The prompts of a file, in its order, of which at least one is good."""

    file: str
    placed: tuple[PlacedPrompt, ...]
    options: DecodingOptions

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Those that are segmented."""
        return tuple(each.prompt for each in self.placed if isinstance(each.prompt, Prompt))

    @property
    def skipped(self) -> tuple[SkippedPrompt, ...]:
        """Those that are left out."""
        return tuple(
            SkippedPrompt(index, each.id, each.prompt.field or "", str(each.prompt))
            for index, each in enumerate(self.placed)
            if isinstance(each.prompt, BadPrompt)
        )

    def inside(self, size: tuple[int, int]) -> "UsablePrompts":
        """Those of them that fit an image of this (H, W); BadPrompt as from `usable_prompts`. The commands of
        the SAM image took what lies outside."""
        if self.options.takes_old_prompts:
            return self
        checked = _checked(self.placed, lambda place, prompt: check_inside(prompt, size, self.file, place))
        return _chosen(self.file, checked, self.options)


def usable_prompts(content: bytes, file: str, options: DecodingOptions) -> UsablePrompts:
    """The prompts of a prompt file whose image is not known yet.

    BadPrompt if the file is no prompt file, or is over the limits; for the first bad prompt, unless bad
    prompts are skipped; and if no prompt is good.
    """
    read = read_old_prompts if options.takes_old_prompts else read_prompts
    checked = _checked(
        read(content, file, options.limits), lambda place, prompt: check_kinds(prompt, options, file, place)
    )
    return _chosen(file, checked, options)


def _checked(placed: Iterable[PlacedPrompt], check: Callable[[str, Prompt], None]) -> Iterable[PlacedPrompt]:
    """The prompts again, of which those that `check` refuses are bad."""
    for each in placed:
        if isinstance(each.prompt, Prompt):
            try:
                check(each.place, each.prompt)
            except BadPrompt as error:
                yield replace(each, prompt=as_value(error))
                continue
        yield each


def _chosen(file: str, placed: Iterable[PlacedPrompt], options: DecodingOptions) -> UsablePrompts:
    chosen = []
    for each in placed:
        if isinstance(each.prompt, BadPrompt) and options.on_bad_prompt == "fail":
            raise each.prompt
        chosen.append(each)
    errors = [each.prompt for each in chosen if isinstance(each.prompt, BadPrompt)]
    if len(errors) == len(chosen):
        raise errors[0] if len(errors) == 1 else _no_good_prompt(file, errors)
    return UsablePrompts(file, tuple(chosen), options)


def _no_good_prompt(file: str, errors: list[BadPrompt]) -> BadPrompt:
    shown = "; ".join(f"{error.field}: {error.reason}" for error in errors[:MAX_SHOWN_ERRORS])
    more = len(errors) - MAX_SHOWN_ERRORS
    return BadPrompt(
        f"none of the {len(errors)} prompts can be used: {shown}{f'; and {more} more' if more > 0 else ''}",
        file=file,
        field="prompts",
    )


def check_kinds(prompt: Prompt, options: DecodingOptions, file: str, place: str) -> None:
    """Refuses a prompt that the model does not take."""
    for kind in prompt.kinds:
        if kind not in options.prompt_kinds:
            *most, last = options.prompt_kinds
            taken = f"{', '.join(most)} and {last}" if most else last
            raise BadPrompt(
                f"is not taken by --model {options.model}, which takes {taken} only",
                file=file,
                field=f"{place}{kind}",
                advice=_other_models(options.models_that_take(kind), kind),
            )


def _other_models(names: Sequence[str], kind: str) -> str:
    some = f", such as {', '.join(names[:MAX_SHOWN_MODELS])}" if names else ""
    detector = ", or add --detector DIR" if kind == "text" else ""
    return f"use a model that takes it{some}{detector} (`sampoll models list`)"


def check_inside(prompt: Prompt, size: tuple[int, int], file: str, place: str) -> None:
    """Refuses points outside the image, and a box that does not touch it."""
    height, width = size
    outside = f"lies outside the image of {width}x{height} pixels"
    for number, point in enumerate(prompt.points):
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise BadPrompt(
                f"({point.x:g}, {point.y:g}) {outside}", file=file, field=f"{place}points[{number}]"
            )
    box = prompt.box
    if box and not (box.x0 < width and box.y0 < height and box.x1 > 0 and box.y1 > 0):
        raise BadPrompt(outside, file=file, field=f"{place}box")
