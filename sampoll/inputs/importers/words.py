"""The labels of a data set as words to segment by, instead of the places of its objects."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sampoll.core.errors import BadPrompt, JobError
from sampoll.core.jobs import Prompt
from sampoll.inputs.importers.base import AnnotatedImage


def in_words(images: Iterable[AnnotatedImage | JobError]) -> Iterator[AnnotatedImage | JobError]:
    """The images with a prompt for each label that they have, which is its text; and a BadPrompt for each
    label that cannot be one."""
    for image in images:
        if isinstance(image, JobError):
            yield image
            continue
        first_fields: dict[str, str] = {}
        for field, prompt in image.placed:
            first_fields.setdefault(prompt.label, field)
        prompts: dict[str, Prompt] = {}
        for label, field in first_fields.items():
            try:
                prompts[field] = Prompt(text=label)
            except ValueError as error:
                yield BadPrompt(f"its label cannot be words: {error}", file=image.source or None, field=field)
        yield replace(image, prompts=tuple(prompts.values()), fields=tuple(prompts))
