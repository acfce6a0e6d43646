"""What a page shows and does: the images of a folder, their drafts and prompt files, and their results."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from sampoll.app.annotate.drafts import Draft, Drafts
from sampoll.app.annotate.folder import ImageFolder, Progress, Question, Row
from sampoll.app.annotate.model import PageModel
from sampoll.app.annotate.opened_images import OpenedImage, OpenedImages
from sampoll.app.annotate.prompt_files import (
    FoundFile,
    check_replaceable,
    find_prompt_file,
    publish_prompts,
)
from sampoll.app.annotate.results import ResultDirectory
from sampoll.core.errors import AmbiguousPair, BadPrompt, BadRequest, SampollError
from sampoll.core.filenames import publishable, split_name
from sampoll.core.jobs import MAX_NAME_CHARACTERS, MAX_TEXT_CHARACTERS, PROMPT_KINDS, Submission
from sampoll.core.names import base_name, folder_of, printable
from sampoll.core.results import Artifact
from sampoll.inputs.discovery import read_image_again
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.usable_prompts import usable_prompts
from sampoll.transports.http.annotation import Document

FIRST_READING_SECONDS = 1.0
"""How long a request for the list waits for the folder to be read."""


class Session:
    """As the routes of the page need it. Thread-safe."""

    def __init__(
        self,
        folder: ImageFolder,
        drafts: Drafts,
        images: OpenedImages,
        model: PageModel,
        options: DecodingOptions,
        results: ResultDirectory | None = None,
    ) -> None:
        """Begins to read the folder. `results` is None if only prompt files are wanted."""
        self._folder = folder
        self._drafts = drafts
        self._images = images
        self._model = model
        self._options = options
        self._results = results
        # What is not segmented now may be for another model.
        kinds = PROMPT_KINDS if results is None else options.prompt_kinds
        self._publishing = replace(options, prompt_kinds=kinds)
        self._labels: dict[str, None] = {}
        self.published = 0
        """How many times an image was done."""
        folder.start(drafts.known())

    def about(self) -> Document:
        kinds = list(self._options.prompt_kinds)
        return {
            "folder": printable(str(self._folder.directory)),
            "model": self._options.model,
            "is_loaded": self._model.service is not None,
            "kinds": kinds,
            # Those that take no masks, such as grabcut, know nothing of objects: a box says how large one is.
            "needs_box": "box" in kinds and "mask" not in kinds,
            "output": None if self._results is None else printable(str(self._results.output)),
            "max_label_characters": MAX_NAME_CHARACTERS,
            "max_text_characters": MAX_TEXT_CHARACTERS,
        }

    def images(self, search: str, first: int, count: int, *, unfinished: bool) -> Document:
        self._folder.wait(FIRST_READING_SECONDS)
        found = self._folder.rows(Question(search, unfinished), first, count)
        return {
            "images": [_row(row) for row in found.rows],
            "first": first,
            "total": found.total,
            "is_complete": found.is_complete,
            "all": self._folder.counts,
        }

    def neighbour(self, image: int, step: int, search: str, *, unfinished: bool) -> Document:
        found = self._folder.neighbour(image, step, Question(search, unfinished))
        return {"image": None} if found is None else {"image": _row(found[0]), "index": found[1]}

    def open(self, image: int) -> Document:
        path = self._folder.path_of(image)
        opened = self._opened(path)
        self._model.show(opened)
        found, draft = find_prompt_file(self._place(path), self._options), self._drafts.of(path)
        self._folder.note(image, _progress(found, draft))
        prompts = found.prompts if draft is None else draft.prompts
        self._note_labels(prompts)
        height, width = opened.size
        return {
            "number": image,
            "name": printable(path),
            "width": width,
            "height": height,
            "preview_width": opened.preview.size[1],
            "preview_height": opened.preview.size[0],
            "image_sha256": opened.sha256,
            "prompt_file": printable(found.path.name),
            "file_sha256": found.sha256 if draft is None else draft.file_sha256,
            "revision": 0 if draft is None else draft.revision,
            "prompts": prompts,
            "labels": list(self._labels),
            "notes": list(self._notes(image, found, draft, opened)),
        }

    def preview(self, image: int) -> tuple[str, bytes]:
        preview = self._opened(self._folder.path_of(image)).preview
        return preview.kind, preview.content

    def prepare(self, image: int) -> None:
        self._model.prepare(self._opened(self._folder.path_of(image)))

    def save(self, image: int, draft: Document) -> Document:
        path = self._folder.path_of(image)
        saved = self._drafts.save(path, _draft_in(draft))
        self._note_labels(saved.prompts)
        self._folder.note(image, Progress.DRAFT)
        return {"revision": saved.revision}

    def discard(self, image: int, draft: Document) -> None:
        path = self._folder.path_of(image)
        self._drafts.remove(path, _draft_in(draft).revision)
        self._folder.note(image, _progress(find_prompt_file(self._place(path), self._options), None))

    def publish(self, image: int, draft: Document) -> Document:
        path, given = self._folder.path_of(image), _draft_in(draft)
        place, content = self._place(path), {"prompts": given.prompts}
        if twin := self._folder.twin_of(image):
            raise AmbiguousPair(f"has the same prompt file as {printable(twin)}: rename one", file=path)
        self._drafts.check(path, given.revision)
        found = find_prompt_file(place, self._options)
        check_replaceable(found, given.file_sha256)
        if not given.prompts:
            raise BadPrompt("nothing is marked: mark an object first", file=found.path.name)
        opened = self._opened(path)
        image_content = self._unchanged(path, given.image_sha256)
        prompt = orjson.dumps(content)
        usable_prompts(prompt, found.path.name, self._publishing).inside(opened.size)
        submission = self._submission(path, opened, image_content, prompt)
        artifacts = self._artifacts(submission)
        prompt_file, sha256 = publish_prompts(place, given.prompts, given.file_sha256, self._options)
        self._drafts.remove(path, given.revision)
        self._folder.note(image, Progress.DONE)
        self.published += 1
        files, trouble = self._write_results(submission.name, artifacts)
        return {
            "prompt_file": prompt_file,
            "file_sha256": sha256,
            "revision": 0,
            "files": files,
            "trouble": trouble,
        }

    def _artifacts(self, submission: Submission) -> Sequence[Artifact]:
        """The files of a result, which may be written then; none if none are wanted."""
        if self._results is None:
            return ()
        artifacts = self._model.results(submission, self._results.formats).artifacts
        self._results.check(submission.name, artifacts)
        return artifacts

    def _write_results(self, name: str, artifacts: Sequence[Artifact]) -> tuple[list[str], str | None]:
        """The names of the files that were written, and what has prevented it. The prompt file is published
        by then."""
        if self._results is None:
            return [], None
        try:
            return [printable(path) for path in self._results.write(name, artifacts)], None
        except SampollError as error:
            return [], str(error)

    def _submission(self, path: str, opened: OpenedImage, content: bytes, prompt: bytes) -> Submission:
        name = split_name(base_name(path))[0]
        folder = folder_of(path)
        return Submission(
            id=uuid.uuid4().hex,
            name=f"{folder}/{publishable(name)}" if folder else publishable(name),
            image_name=printable(path),
            prompt_name=printable(name),
            image=content,
            prompt=prompt,
            image_sha256=opened.sha256,
            image_file=base_name(path),
        )

    def _opened(self, path: str) -> OpenedImage:
        opened = self._images.open(self._place(path))
        if self._model.needs_pixels(opened):
            return self._images.open(self._place(path), anew=True)
        return opened

    def _unchanged(self, path: str, sha256: str) -> bytes:
        """The content of the image; BadImage if it is no longer the one that was marked."""
        return read_image_again(
            self._place(path), self._options.limits.max_image_bytes, sha256, file=printable(path)
        )

    def _place(self, path: str) -> Path:
        return self._folder.directory / path

    def _note_labels(self, prompts: Sequence[Mapping[str, Any]]) -> None:
        for prompt in prompts:
            label = prompt.get("label")
            if isinstance(label, str) and 0 < len(label) <= MAX_NAME_CHARACTERS:
                self._labels.setdefault(label)

    def _notes(self, image: int, found: FoundFile, draft: Draft | None, opened: OpenedImage) -> Sequence[str]:
        """What a person has to know before marking anything."""
        notes = []
        if twin := self._folder.twin_of(image):
            notes.append(f"{printable(twin)} has the same prompt file: only one of them can have it")
        if found.trouble is not None:
            notes.append(f"{found.trouble}; until then, this image cannot be done")
        elif draft is not None and draft.file_sha256 != found.sha256:
            notes.append(
                f"{printable(found.path.name)} was changed since this draft was begun: "
                "discard the draft to see it"
            )
        if draft is not None and draft.image_sha256 != opened.sha256:
            notes.append("the image was changed since this draft was begun")
        return notes


def _progress(found: FoundFile, draft: Draft | None) -> Progress:
    if draft is not None:
        return Progress.DRAFT
    return Progress.NEW if found.sha256 is None else Progress.DONE


def _row(row: Row) -> Document:
    return {"number": row.number, "name": row.name, "progress": row.progress}


def _draft_in(document: Document) -> Draft:
    """The draft that a request has; BadRequest names what is wrong with it."""
    revision, digest, prompts = (document.get(key) for key in ("revision", "image_sha256", "prompts"))
    before = document.get("file_sha256")
    if type(revision) is not int or revision < 0:
        raise BadRequest("must be a whole number", field="revision")
    if not isinstance(digest, str):
        raise BadRequest("must be a string", field="image_sha256")
    if not (before is None or isinstance(before, str)):
        raise BadRequest("must be a string or null", field="file_sha256")
    if not (isinstance(prompts, list) and all(isinstance(prompt, dict) for prompt in prompts)):
        raise BadRequest("must be a list of objects", field="prompts")
    return Draft(revision, digest, before, tuple(prompts))
