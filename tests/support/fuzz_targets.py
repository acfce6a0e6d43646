"""What fuzzing calls: for each target, its inputs, and what is done with one.

A call returns, also after an error that sampoll promises; whatever else it raises is a finding.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, BadPrompt, BadRequest, InputUnavailable, JobError
from sampoll.core.jobs import Prompt
from sampoll.formats.opex_reader import labels_of, segmentation_of
from sampoll.formats.opex_record import files_of, read_record
from sampoll.inputs.check import Checked, check_prompts
from sampoll.inputs.decode import decode_image, decoding_bytes, image_size
from sampoll.inputs.image_files import BadStructure, checked, header_of
from sampoll.inputs.importers.registry import load_importer
from sampoll.inputs.importers.write_pairs import Imported, write_pairs
from sampoll.inputs.old_prompt import read_old_prompts
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import good_prompts, parse_prompts, prompts_document, read_prompts
from sampoll.spool.state import JobState
from sampoll.transports.redis.messages import error_message, parse_request
from sampoll.transports.redis.replies import NoReply, parse_reply
from sampoll.transports.redis.streams.entries import content_of
from support import fuzz_datasets as datasets
from support import fuzz_documents as documents
from support import fuzz_images as images
from support.fuzz_datasets import Tree

LIMITS = LimitSettings(max_pixels=20_000_000, max_image_bytes=10**6, max_prompt_bytes=10**6)
MAX_IMAGE_BYTES = LIMITS.max_pixels * 25
MAX_MESSAGE_CHARACTERS = 20_000
"""An error message may quote a value, but not all of a large one. A path has up to 4096 bytes, each of which
may be written as 4 characters."""


SPARE_BYTES = 64 * 2**20
"""No input here is larger than a few hundred KB; only the pixels of an image take more than this."""


@dataclass(frozen=True)
class Target:
    """`inputs` makes the files of an input; `call` uses them, and an empty directory, and may add the memory
    that `bytes` says."""

    inputs: Callable[[Random], Tree]
    call: Callable[[Tree, Path], None]
    bytes: Callable[[Tree], int] = lambda tree: SPARE_BYTES


def _single(made: Callable[[Random], bytes]) -> Callable[[Random], Tree]:
    return lambda random: {"input": made(random)}


def _document(made: Callable[[Random], Any]) -> Callable[[Random], Tree]:
    return _single(lambda random: documents.document_bytes(random, made(random)))


def _prompts(tree: Tree, scratch: Path) -> None:
    for read in (read_prompts, read_old_prompts):
        try:
            found = good_prompts(read(tree["input"], "a.json", LIMITS))
        except BadPrompt as error:
            _check_message(error)
        else:
            _check_parsed_again(list(found.values()))


def _check_parsed_again(prompts: list[Prompt]) -> None:
    written = orjson.dumps({"prompts": prompts_document(prompts)})
    assert list(parse_prompts(written, "a.json", LIMITS).values()) == prompts, "written, they are others"


def _check_message(error: Exception) -> None:
    text = str(error)
    text.encode()
    assert len(text) <= MAX_MESSAGE_CHARACTERS, f"a message of {len(text)} characters: {text[:200]}"


def _bytes_of_image(tree: Tree) -> int:
    return min(decoding_bytes(tree["input"]), MAX_IMAGE_BYTES) + SPARE_BYTES


def _image(tree: Tree, scratch: Path) -> None:
    content = tree["input"]
    taken = decoding_bytes(content)
    assert taken >= 0, f"decoding takes {taken} bytes"
    for look in (header_of, checked):
        try:
            look(content)
        except BadStructure as error:
            _check_message(error)
    size = image_size(content)
    try:
        pixels = decode_image(content, "a.jpg", LIMITS.max_pixels)
    except BadImage as error:
        _check_message(error)
    else:
        assert pixels.dtype == np.uint8, pixels.dtype
        assert pixels.flags.c_contiguous, "not contiguous"
        assert pixels.shape == (*(size or ()), 3), f"{pixels.shape}, and image_size says {size}"


def _request(tree: Tree, scratch: Path) -> None:
    request = parse_request(tree["input"], LIMITS)
    if request is not None:
        error = request.error or BadRequest("no")
        _check_message(error)
        parse_reply(error_message(request, error, b"", {}))


def _reply(tree: Tree, scratch: Path) -> None:
    try:
        reply = parse_reply(tree["input"])
    except NoReply as error:
        _check_message(error)
    else:
        orjson.dumps([reply.id, reply.contours, reply.opex, reply.meta, reply.error])


def _fields(random: Random) -> Tree:
    made = {"image": random.randbytes(random.choice([0, 5, 300])), "id": documents.word(random).encode()}
    made["prompt"] = documents.document_bytes(random, documents.prompt(random))
    for name in random.sample(["image", "id", "prompt", "path"], random.randrange(4)):
        value = str(documents.odd(random)).encode("utf-8", "surrogatepass")
        made[name] = documents.damaged(random, value) if random.random() < 0.3 else value
    if random.random() < 0.3:
        made.pop(random.choice(list(made)))
    return made


def _entry(tree: Tree, scratch: Path) -> None:
    fields = {name.encode(): value for name, value in tree.items()}
    for root in (None, scratch):
        request = content_of("7-0", fields, root, LIMITS).request
        assert request.id
        parse_reply(error_message(request, request.error or BadRequest("no"), b"", {}))
        if request.error:
            _check_message(request.error)


def _record(tree: Tree, scratch: Path) -> None:
    record = tree["input"]
    for name in ("a", "sub/a"):
        summary = read_record(record, name)
        if summary is not None:
            assert all("/." not in f"/{suffix.rpartition('/')[0]}/" for suffix in summary.suffixes), summary
    files_of(record)
    for read in (labels_of, lambda content: segmentation_of(content, "a")):
        try:
            read(record)
        except ValueError as error:
            _check_message(error)


def _state(tree: Tree, scratch: Path) -> None:
    try:
        state = JobState.from_lines(tree["input"])
    except ValueError as error:
        _check_message(error)
    else:
        assert JobState.from_json(state.to_json()) == state, "written, it is another"
        state.due_in(0.0)
        [failure.local_time for failure in state.failures]


def _state_lines(random: Random) -> bytes:
    lines = [
        documents.document_bytes(random, documents.job_state(random)) for _ in range(random.randrange(1, 4))
    ]
    return b"\n".join(lines)


def _dataset(random: Random) -> Tree:
    importer = random.choice(datasets.IMPORTERS)
    return {f"{importer}/{name}": content for name, content in datasets.tree(random, importer).items()}


def _import(tree: Tree, scratch: Path) -> None:
    importer = next(iter(tree)).partition("/")[0]
    place = Path(tempfile.mkdtemp(dir=scratch))  # a new one, because listings of folders are kept
    root, target = place / importer, place / "pairs"
    for name, content in tree.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if name.endswith("/") else path.write_bytes(content)
    try:
        options = DecodingOptions(LIMITS)
        images = load_importer(importer)(root / datasets.source_of(importer), None)
        outcomes = list(write_pairs(images, target, options, copies=False))
        for outcome in outcomes:
            if isinstance(outcome, JobError):
                _check_message(outcome)
        pairs = sum(isinstance(outcome, Imported) and outcome.prompts > 0 for outcome in outcomes)
        checked = list(check_prompts([target], options)) if pairs else []
        if len(checked) != pairs or any(not isinstance(one, Checked) or not one.image for one in checked):
            raise AssertionError(f"{pairs} pairs were written, and the check says {checked}")
    except InputUnavailable as error:
        _check_message(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)


TARGETS: Mapping[str, Target] = {
    "prompts": Target(_document(documents.prompt_file), _prompts),
    "images": Target(_single(images.image), _image, _bytes_of_image),
    "requests": Target(_document(documents.request), _request),
    "replies": Target(_document(documents.reply), _reply),
    "entries": Target(_fields, _entry),
    "importers": Target(_dataset, _import),
    "records": Target(_document(documents.record), _record),
    "states": Target(_single(_state_lines), _state),
}
