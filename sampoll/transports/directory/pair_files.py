"""The files of a claim, read into a submission."""

import hashlib
from functools import partial

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import AmbiguousPair, BadImage, BadPrompt, IncompletePair
from sampoll.core.filenames import is_image, is_prompt
from sampoll.core.jobs import Submission
from sampoll.core.names import printable
from sampoll.files.files import read_regular
from sampoll.inputs.common_prompt import CommonPrompt
from sampoll.inputs.reading import read_part
from sampoll.spool.claims import Claim, path_to_read
from sampoll.spool.layout import Layout


def read_submission(
    layout: Layout, claim: Claim, limits: LimitSettings, common: CommonPrompt | None = None
) -> Submission:
    """Makes a submission from a claim's files; a JobError if they are no valid pair, or cannot be read."""
    image, prompt = _pair_of(claim, has_common_prompt=common is not None)
    if prompt is not None:
        path = path_to_read(layout, claim, prompt)
        read = partial(read_regular, path, at_most=limits.max_prompt_bytes)
        prompt_content = read_part(read, prompt, "--max-prompt-bytes", BadPrompt)
        common = CommonPrompt(prompt, prompt_content)
    assert common is not None
    path = path_to_read(layout, claim, image)
    read = partial(read_regular, path, at_most=limits.max_image_bytes)
    image_content = read_part(read, image, "--max-image-bytes", BadImage)
    return Submission(
        id=claim.state.job_id,
        name=claim.state.path,
        image_name=image,
        prompt_name=common.name,
        image=image_content,
        prompt=common.content,
        image_sha256=hashlib.sha256(image_content).hexdigest(),
        alone=claim.state.suspect,
        image_file=image,
    )


def _pair_of(claim: Claim, *, has_common_prompt: bool) -> tuple[str, str | None]:
    """The names of the image and of its own prompt; AmbiguousPair or IncompletePair if there are more, or not
    enough."""
    files = claim.state.files
    images, prompts = list(filter(is_image, files)), list(filter(is_prompt, files))
    if len(images) == 1 and not prompts and has_common_prompt:
        return images[0], None
    if not images or not (prompts or has_common_prompt):
        if claim.state.attempts and images:
            raise IncompletePair(
                f"{printable(images[0])} has no prompt now: it was tried with --prompt or "
                "--default-prompt before, so give that again, or put a prompt beside it"
            )
        missing, came = ("image", prompts) if not images else ("prompt", images)
        raise IncompletePair(f"no {missing} came for {printable(came[0])} in time (--pair-timeout)")
    if len(images) != 1 or len(prompts) != 1:
        names = ", ".join(map(printable, files))
        raise AmbiguousPair(
            f"{names} share one stem: drop one image and one prompt again, the others under other names"
        )
    return images[0], prompts[0]
