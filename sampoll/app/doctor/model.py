"""Checks of the device and the weights: whether they can be used, and whether the weights fit the model."""

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from sampoll.app.assembly import LoadedModel, load_model
from sampoll.app.doctor.findings import Finding, error_of, ok, warning
from sampoll.config.quantities import in_units
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable, SampollError
from sampoll.files.cores import usable_cores
from sampoll.models.checkpoints import Checkpoint, checkpoint_file, is_official, official_checkpoints
from sampoll.models.registry import attribute_of, find_factory

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def check_device(settings: ModelSettings) -> Iterator[Finding]:
    """The device, precision and engine that a model with weights would use."""
    if _checkpoint_of(settings) is None:
        return
    import torch

    from sampoll.models.shared.device import chosen_engine, chosen_precision, torch_device

    built_for = (
        f"torch {version('torch')} for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPUs'}"
    )
    try:
        device = torch_device(settings.device)
        precision = chosen_precision(settings.precision, device)
        engine = chosen_engine(settings.engine, device, precision)
    except SampollError as error:
        yield error_of("device", error)
        if settings.device.startswith("cuda"):
            yield from _missing_cuda(built_for, has_cuda=torch.version.cuda is not None)
        return
    if device.type == "cuda":
        try:
            free, total = torch.cuda.mem_get_info(device)
        except RuntimeError as error:
            trouble = ModelUnavailable(f"{device} cannot be used: {error}")
            yield error_of("device", trouble, "nvidia-smi shows which processes use it, and its errors")
            return
        count = torch.cuda.device_count()
        which = f"{device}, one of {count}" if count > 1 else str(device)
        yield ok(
            "device",
            f"{torch.cuda.get_device_name(device)} as {which}, {in_units(free)} of {in_units(total)} free; "
            f"{_driver() or 'its driver'}, {built_for}; {precision}",
        )
        return
    yield ok("device", f"CPU with {usable_cores()} cores; {precision} by {engine}; {built_for}")
    if settings.device == "auto" and _driver():
        yield from _missing_cuda(built_for, has_cuda=torch.version.cuda is not None)
    if engine == "torch" and settings.engine == "auto":
        yield warning(
            "device",
            "OpenVINO, which is nearly twice as fast on most CPUs, is not used here",
            "pip install 'sampoll[openvino]', if it is not installed",
        )


def _missing_cuda(built_for: str, *, has_cuda: bool) -> Iterator[Finding]:
    if not has_cuda:
        yield warning(
            "device",
            f"{built_for} cannot use a GPU",
            "pip install a torch with CUDA: https://pytorch.org/get-started",
        )
    elif driver := _driver():
        yield warning(
            "device",
            f"there is an NVIDIA {driver}, but {built_for} cannot use it",
            "update the driver, or install a torch for an older CUDA",
        )
    else:
        yield warning(
            "device",
            "no NVIDIA driver is loaded here",
            "install it; in a container, start that with --gpus=all and the NVIDIA container toolkit",
        )


def _driver() -> str:
    """The NVIDIA driver and its version; "" if none is loaded."""
    try:
        first = NVIDIA_DRIVER.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return ""
    return "driver " + next((word for word in first.split() if word[0].isdigit() and "." in word), "?")


def check_model(settings: ModelSettings) -> tuple[list[Finding], LoadedModel | None]:
    """Checks the weights by loading the model; returns the loaded model, None after an error."""
    findings = []
    began = time.monotonic()
    try:
        factory = find_factory(settings)
        if (official := _checkpoint_of(settings)) is not None:
            findings.append(_weights(settings, official))
        loaded = load_model(settings, factory)
    except SampollError as error:
        return [*findings, error_of("model", error)], None
    info = loaded.segmenter.info
    how = ", ".join(part for part in (info.device, info.precision, info.engine) if part)
    findings.append(ok("model", f"{info.name} loaded in {time.monotonic() - began:.1f} s ({how})"))
    return findings, loaded


def _checkpoint_of(settings: ModelSettings) -> Checkpoint | None:
    """The official checkpoint of the model, if it has one."""
    try:
        found = attribute_of(find_factory(settings), "checkpoint")
    except ModelUnavailable:
        return None
    return found if isinstance(found, Checkpoint) else None


def _weights(settings: ModelSettings, official: Checkpoint) -> Finding:
    path = checkpoint_file(official, settings)
    if path.is_dir():
        return ok("checkpoint", f"{path}, a directory: weights of your own")
    size = path.stat().st_size
    published = official if official.size is None else _published_with(size)
    if published is not None and is_official(path, published):
        return ok("checkpoint", f"{path} is {published.model} as published")
    if published is None or published.size is None:
        return ok("checkpoint", f"{path}, {in_units(size)}: weights of your own")
    return warning(
        "checkpoint",
        f"{path} has the size of the published {published.model}, and another content",
        f"if it should be the published one, delete it and run `sampoll models pull {published.model}`",
    )


def _published_with(size: int) -> Checkpoint | None:
    return next((known for known in official_checkpoints().values() if known.size == size), None)
