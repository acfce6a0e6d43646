"""`sampoll annotate`: serves the page until a signal arrives."""

import html
import os
import secrets
import sys
import uuid
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from threading import Thread

from sampoll.app.annotate.drafts import Drafts
from sampoll.app.annotate.folder import ImageFolder
from sampoll.app.annotate.model import PageModel
from sampoll.app.annotate.opened_images import OpenedImages
from sampoll.app.annotate.results import ResultDirectory
from sampoll.app.annotate.session import Session
from sampoll.app.assembly import decoding_options, format_options, named
from sampoll.app.directories import layout_of
from sampoll.app.export import write_datasets
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import Settings
from sampoll.core.errors import InputUnavailable, translated_os_errors
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted
from sampoll.files.files import create_file
from sampoll.files.home import check_private
from sampoll.formats.registry import RECORD, load_format, load_formats
from sampoll.models.registry import find_factory
from sampoll.monitoring.local_services import directory as runtime_directory
from sampoll.monitoring.server import serving
from sampoll.monitoring.web import CSS, HARDENING, HTML, PAGE_POLICY, SCRIPT
from sampoll.transports.http.access import Access, is_loopback
from sampoll.transports.http.annotation import AnnotationRoutes
from sampoll.transports.http.application import Document, application_of

PACKAGE = "sampoll.app.annotate.page"
_KINDS = {".html": HTML, ".css": CSS, ".js": SCRIPT}
TOKEN_BYTES = 32
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""The variables of which one is set where a browser can be opened."""


def annotate(
    settings: Settings, directory: Path, *, opens_browser: bool, show_address: Callable[[str], None]
) -> CommandSummary:
    """Serves the page for the images of `directory` until a signal arrives; results go to the output of the
    settings, if there is one. `show_address` gets the address with its token, once it is served.

    Raises SampollError if it cannot continue; drafts are kept.
    """
    settings = named(settings)
    find_factory(settings.model)  # an unknown model is refused before the port is opened
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with page_of(settings, directory, token) as (page, url), ExitStack() as stack:
        stack.enter_context(stopping_on_signals(page.model.stop))
        address = f"{url}/#token={token}"
        show_address(address)
        if opens_browser and _has_screen():
            stack.enter_context(opened_in_browser(address))
        outside_the_main_thread(page.model.run)
        results = page.results
        if page.session.published and results is not None:
            outside_the_main_thread(partial(write_datasets, results.output, results.datasets))
    done = page.session.published
    return CommandSummary(f"{counted(done, 'image')} done", {"done": done})


class Page:
    """The parts of a page that is served."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        """Raises SampollError if a directory cannot be used."""
        if not directory.is_dir():
            raise InputUnavailable(f"no directory {directory}")
        directory = directory.resolve()
        self.results = _results(settings, directory)
        options = replace(decoding_options(settings), on_bad_prompt="fail")
        images = OpenedImages(options)
        self.model = PageModel(settings, images)
        folder = ImageFolder(directory, recursive=settings.spool.recursive)
        self.drafts = Drafts(directory)
        self.session = Session(folder, self.drafts, images, self.model, options, self.results)

    @property
    def engine(self) -> PageModel | None:
        """What answers prompts; None while the model is being loaded."""
        return None if self.model.service is None else self.model


@contextmanager
def page_of(settings: Settings, directory: Path, token: str) -> Iterator[tuple[Page, str]]:
    """The page, which is served until the block ends, and its URL. `Page.model.run` loads its model."""
    page, (host, port) = Page(settings, directory), settings.web.address
    access = Access(is_loopback(host), token, settings.web.allowed_hosts)
    routes = AnnotationRoutes(page.session, lambda: page.engine, settings.limits, access)
    application = application_of(routes.operations(), documents(), access, settings.requests.queue_bytes)
    try:
        with serving(host, port, application, "--bind", called="annotation page") as url:
            yield page, url
    finally:
        page.drafts.close()


def documents() -> Sequence[Document]:
    """The files of the page, which hold nothing of the folder: for everyone who may call it."""
    headers = dict([*HARDENING, PAGE_POLICY])
    found = []
    for file in sorted(files(PACKAGE).iterdir(), key=lambda file: file.name):
        kind = _KINDS.get(Path(file.name).suffix)
        if kind is not None:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            found.append(Document(path, kind, file.read_bytes(), headers))
    return found


@contextmanager
def opened_in_browser(address: str) -> Iterator[None]:
    """Opens an address in the user's browser. It gets the name of a file that leads there, which only this
    user can read, because all users can see the arguments of programs."""
    place = runtime_directory()
    with translated_os_errors("write to", place):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(place)
        file = place / f"annotate-{uuid.uuid4().hex}.html"
        refresh = f'<meta http-equiv="refresh" content="0;url={html.escape(address)}">'
        content = f"<!doctype html>{refresh}<title>sampoll annotate</title>"
        create_file(file, content.encode(), sync=False)
    try:
        # In a thread: a browser in the terminal, which BROWSER can name, returns when it is closed.
        Thread(target=webbrowser.open, args=(file.as_uri(),), daemon=True).start()
        yield
    finally:
        file.unlink(missing_ok=True)


def _has_screen() -> bool:
    """Whether a browser has a place to be opened: without one, Python would take one for terminals."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in SCREENS)


def _results(settings: Settings, directory: Path) -> ResultDirectory | None:
    """Where results go, and their formats, as a run would write them."""
    if settings.spool.output is None:
        return None
    spool = settings.spool.model_copy(update={"input": directory})
    output = layout_of(spool).output
    options = format_options(settings, output, directory)
    chosen = load_formats(settings.outputs.names, options)
    formats = [*chosen.of_results, load_format(RECORD, options)]
    return ResultDirectory(output, formats, chosen.of_datasets)
