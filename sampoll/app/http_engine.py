"""A model in this process that answers requests over HTTP."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from sampoll.app.assembly import format_options
from sampoll.app.in_process import InProcess
from sampoll.app.reply_formats import UnionMask
from sampoll.app.tool_formats import tool_formats
from sampoll.config.settings import Settings
from sampoll.core.errors import ImageUnknown
from sampoll.core.jobs import Submission
from sampoll.core.protocols import Format
from sampoll.core.results import Delivery
from sampoll.formats.registry import load_format
from sampoll.transports.http.answer import JSON, PNG, ZIP


class HttpEngine:
    """Renders for each request what its answer consists of."""

    def __init__(self, model: InProcess) -> None:
        self._model = model
        self._formats = _formats_for(model.settings)

    def submit(self, submission: Submission, kind: str) -> Future[Delivery]:
        """As the routes of HTTP need it."""
        if not submission.image and not self._model.knows(submission.image_sha256):
            raise ImageUnknown("is not known here: send the image", field="image_sha256")
        return self._model.submit(submission, self._formats[kind], waits=False)


def _formats_for(settings: Settings) -> Mapping[str, Sequence[Format]]:
    """What is rendered for each kind of answer."""
    options = format_options(settings)
    record = load_format("opex", options)
    return {
        JSON: [record],
        PNG: [UnionMask()],
        ZIP: [load_format("png", options), record],
        **tool_formats(options.simplify_pixels),
    }
