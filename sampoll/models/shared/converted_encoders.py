"""Converted encoders, kept on this machine: a directory for each checkpoint, and for its int8 encoder."""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of
from sampoll.inputs.photograph import photograph
from sampoll.models.shared.network import ImageRules, Network
from sampoll.models.shared.openvino import (
    OpenVinoEncoder,
    check_conversion,
    converted,
    core,
    imported_openvino,
    version,
)
from sampoll.models.shared.private_copy import private_copy

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

CONVERSION = 2
"""Version of the conversion: increased when the same checkpoint is converted to a different graph, or other
files are kept of it."""
MODEL_FILE, WEIGHTS_FILE, DIGESTS_FILE = "encoder.xml", "encoder.bin", "encoder.sha256.json"


def cached_model(network: Network, checkpoint_sha256: str, cache: Path) -> "openvino.Model":
    """The graph of a checkpoint's encoder, in float32: read from `cache`, or converted from the network's,
    compared with it on a photograph, and then kept there.

    ModelUnavailable if it cannot be converted, or computes something else. If the cache is not writable,
    every start converts again.
    """
    directory = _place(checkpoint_sha256, cache)
    if directory.is_dir():
        try:
            return _read(directory, checkpoint_sha256)[0]
        except (ModelUnavailable, ValueError, RuntimeError) as error:
            log.warning("%s is damaged, and is converted again (%s)", directory, str(error).splitlines()[0])
            shutil.rmtree(directory, ignore_errors=True)
    began = time.monotonic()
    fields = {"event": "converting", "engine": OpenVinoEncoder.engine}
    log.info(
        "converting the encoder for OpenVINO, once for this checkpoint; this takes a while", extra=fields
    )
    encoder = network.encoder(torch.float32)
    model = converted(encoder)
    check_conversion(model, encoder, prepared_photograph(network.rules))
    seconds = time.monotonic() - began
    log.info(
        "converted and checked in %.0f s", seconds, extra={"event": "converted", "seconds": round(seconds, 3)}
    )
    try:
        save(model, directory, checkpoint_sha256)
    except (OSError, RuntimeError) as error:
        log.warning("cannot keep the converted encoder in %s: %s", directory, error)
    return model


def prepared_photograph(rules: ImageRules) -> Tensor:
    """The photograph that ships with sampoll, as an encoder gets it: (1, 3, S, S)."""
    return rules.prepared(photograph().pixels(), torch.device("cpu"), exact=True)[None]


def quantized_place(checkpoint_sha256: str, cache: Path) -> Path:
    """Where the int8 graph of a checkpoint's encoder is kept."""
    place = _place(checkpoint_sha256, cache)
    return place.with_name(f"{place.name}-int8")


def quantized_model(checkpoint_sha256: str, cache: Path) -> tuple["openvino.Model", str]:
    """The int8 graph of a checkpoint's encoder, and the SHA-256 of its files; ModelUnavailable if it was not
    made on this machine, or is damaged."""
    place = quantized_place(checkpoint_sha256, cache)
    advice = "make one with `sampoll models quantize --checkpoint FILE IMAGES`, or use --precision bf16"
    if not place.is_dir():
        raise ModelUnavailable(f"no int8 encoder of this checkpoint in {place}: {advice}")
    try:
        return _read(place, checkpoint_sha256)
    except (ModelUnavailable, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelUnavailable(f"the int8 encoder in {place} is damaged ({reason}): {advice}") from error


def _read(directory: Path, checkpoint_sha256: str) -> tuple["openvino.Model", str]:
    """The graph in `directory`, and the SHA-256 of its files; ValueError if they are not those that were
    written for this checkpoint."""
    with (
        private_copy(directory / MODEL_FILE) as graph,
        private_copy(directory / WEIGHTS_FILE) as weights,
    ):
        found = _digests(checkpoint_sha256, graph.sha256, weights.sha256)
        if _recorded(directory / DIGESTS_FILE) != found:
            raise ValueError("its files are not those that were written")
        sha256 = hashlib.sha256(f"{graph.sha256} {weights.sha256}".encode()).hexdigest()
        return core().read_model(graph.path, weights.path), sha256


def _digests(checkpoint_sha256: str, graph_sha256: str, weights_sha256: str) -> dict[str, str]:
    return {"checkpoint": checkpoint_sha256, MODEL_FILE: graph_sha256, WEIGHTS_FILE: weights_sha256}


def _recorded(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error


def _place(checkpoint_sha256: str, cache: Path) -> Path:
    return cache / f"{checkpoint_sha256[:16]}-{version()}-{CONVERSION}"


def save(model: "openvino.Model", directory: Path, checkpoint_sha256: str, *, replaces: bool = False) -> None:
    """Writes the model of a checkpoint as a whole or not at all, also while other processes write the same
    one. One that is there already is kept, unless this one `replaces` it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".") as temporary:
        new = Path(temporary, "model")
        imported_openvino().save_model(model, new / MODEL_FILE, compress_to_fp16=False)
        files = (sha256_of(new / name) for name in (MODEL_FILE, WEIGHTS_FILE))
        (new / DIGESTS_FILE).write_text(json.dumps(_digests(checkpoint_sha256, *files), indent=2) + "\n")
        if replaces and directory.is_dir():
            directory.rename(Path(temporary, "replaced"))
        try:
            new.rename(directory)
        except OSError:
            if not directory.is_dir():  # otherwise another process was faster
                raise
