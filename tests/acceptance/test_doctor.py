"""`sampoll doctor`: finds errors before a run does, and says what to do."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.folders import Folders, files_below
from support.process import sampoll
from support.redis_servers import Server, free_port

from sampoll.app.doctor import model, storage
from sampoll.app.doctor.findings import Finding
from sampoll.config.quantities import in_units
from sampoll.config.settings.model import ModelSettings
from sampoll.config.settings.spool import SpoolSettings
from sampoll.files.watch import Watch
from sampoll.models.checkpoints import official_checkpoint
from sampoll.spool.layout import Layout

GRABCUT = ("--model", "grabcut")


def examined(*arguments: object, **more: Any) -> tuple[int, dict[str, list[Mapping[str, str]]]]:
    """The exit code, and the findings by check."""
    doctor = sampoll("doctor", "--json", *arguments, **more)
    assert doctor.stdout, doctor.stderr
    document = json.loads(doctor.stdout)
    assert document["exit_code"] == doctor.returncode
    by_check: dict[str, list[Mapping[str, str]]] = {}
    for finding in document["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    return doctor.returncode, by_check


def examined_without_rights(
    folders: Folders, directory: Path, mode: int
) -> tuple[int, dict[str, list[Mapping[str, str]]]]:
    """The same for a user who has only these rights on one of the directories."""
    directory.chmod(mode)
    try:
        return examined(*folders.flags, *GRABCUT, unprivileged=True)
    finally:
        directory.chmod(0o755)


def levels(findings: Mapping[str, list[Mapping[str, str]]]) -> set[str]:
    return {finding["level"] for of_check in findings.values() for finding in of_check}


def test_doctor_reports_ok_and_leaves_no_files(folders: Folders) -> None:
    folders.output.mkdir()
    for name in ("waits.jpg", "waits.json"):
        (folders.input / name).write_bytes(b"not looked into")

    code, findings = examined(*folders.flags, *GRABCUT, "--continuous")
    people = sampoll("doctor", *folders.flags, *GRABCUT)

    assert code == people.returncode == 0
    assert levels(findings) == {"ok"}
    checks = {
        "configuration",
        "directories",
        "input",
        "output",
        "permissions",
        "events",
        "model",
        "self-test",
    }
    assert set(findings) == checks
    assert "announces new files" in findings["events"][0]["message"]
    assert "ok       self-test: an image and a box became a mask" in people.stdout
    assert files_below(folders.input.parent) == ["in/waits.jpg", "in/waits.json"]
    assert list(folders.input.parent.rglob("*self-test*")) == []


def test_a_run_succeeds_where_doctor_found_no_error(folders: Folders) -> None:
    code, findings = examined(*folders.flags, *GRABCUT)

    assert code == 0
    assert "a run will create it" in findings["directories"][0]["message"]
    assert not folders.output.exists()
    assert sampoll("run", *folders.flags, *GRABCUT).returncode == 0


@pytest.mark.parametrize(
    ("flags", "check", "message"),
    [
        (("--settle", "soon"), "configuration", "--settle"),
        (("-i", "nowhere"), "directories", "correct --input"),
        (("--min-free", 10**18), "directories", "--min-free"),
        (("--model", "vit_b"), "model", "sampoll models pull vit_b"),
        (("--model", "vit_b", "--device", "cuda:99"), "device", "device"),
        (("--format", "nonsense"), "configuration", "among formats"),
        (("--model", "support.fakes:lost_at_once"), "model", "no callable"),
    ],
)
def test_doctor_exits_with_the_exit_code_of_the_run(
    folders: Folders, flags: tuple[object, ...], check: str, message: str
) -> None:
    folders.output.mkdir()

    code, findings = examined(*folders.flags, *GRABCUT, *flags)
    run = sampoll("run", *folders.flags, *GRABCUT, *flags, "--dry-run", "--skip-done")

    assert code == run.returncode or check == "directories"
    errors = [finding for finding in findings[check] if finding["level"] == "error"]
    assert message in errors[0]["message"]


def test_directories_that_cannot_be_written_are_found(folders: Folders) -> None:
    folders.output.mkdir()
    for directory, name in ((folders.input, "input"), (folders.output, "output")):
        code, findings = examined_without_rights(folders, directory, 0o555)
        assert code == 77
        assert name in findings["directories"][0]["message"]
    folders.output.rmdir()
    for directory in (folders.output.parent, folders.input):  # and where the output is still to be created
        code, findings = examined_without_rights(folders, directory, 0o555)
        assert code == 77
        assert str(directory) in findings["directories"][0]["message"]


def test_an_input_that_cannot_be_listed_is_found(folders: Folders) -> None:
    folders.output.mkdir()
    code, findings = examined_without_rights(folders, folders.input, 0o333)

    assert code == 77
    assert "cannot use the input" in findings["directories"][0]["message"]


def test_files_that_cannot_be_read_are_found_before_they_fail(folders: Folders) -> None:
    folders.output.mkdir()
    (folders.input / "secret.jpg").touch(mode=0o000)

    code, findings = examined(*folders.flags, *GRABCUT, unprivileged=True)

    assert code == 0
    [finding] = findings["permissions"]
    assert finding["level"] == "warning"
    assert "secret.jpg" in finding["message"]
    assert "umask" in finding["advice"]


def test_a_model_that_misses_the_object_gets_a_warning(folders: Folders) -> None:
    code, findings = examined(*folders.flags, "--model", "support.fakes:blind")

    assert code == 0
    assert findings["self-test"][0]["level"] == "warning"
    assert "0.00 only (IoU)" in findings["self-test"][0]["message"]


def test_a_model_that_fails_is_an_error(folders: Folders) -> None:
    code, findings = examined(*folders.flags, "--model", "support.fakes:broken")

    assert code == 1
    assert "the model failed: ArithmeticError" in findings["self-test"][0]["message"]


def test_variables_that_name_no_setting_are_reported(folders: Folders) -> None:
    _, findings = examined(*GRABCUT, env={"SAMPOLL_INPUTS": "x"})

    assert findings["configuration"][0]["level"] == "warning"
    assert "SAMPOLL_INPUTS" in findings["configuration"][0]["message"]


def test_redis_is_checked_if_a_setting_names_it(server: Server, client: Any) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        code, findings = examined(*GRABCUT, "--redis-port", server.port)
        missing, gone = examined(*GRABCUT, "--redis-port", free_port())
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    assert "redis" not in examined(*GRABCUT)[1]
    assert code == 0
    assert "answered in" in findings["redis"][0]["message"]
    assert "noeviction" in findings["redis"][1]["advice"]
    assert missing == 69
    assert "--redis-url" in gone["redis"][0]["advice"]


def events_of(settings: SpoolSettings, directory: Path) -> Finding:
    output = directory / "out"
    (directory / "in").mkdir()
    output.mkdir()
    layout = Layout((directory / "in").resolve(), output.resolve(), None, settings.recursive)
    (layout.input / "deeper").mkdir()
    return next(f for f in storage.check_directories(settings, layout) if f.check == "events")


def test_too_many_folders_to_watch_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "INOTIFY", tmp_path)
    (tmp_path / "max_user_watches").write_text("1\n")
    settings = SpoolSettings.model_validate({"continuous": True, "recursive": True})

    finding = events_of(settings, tmp_path)

    assert "2 folders, and only 1 can be watched" in finding.message
    assert "sysctl fs.inotify.max_user_watches=4" in finding.advice


def test_missing_events_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "EVENT_SECONDS", 0.1)
    monkeypatch.setattr(Watch, "_started", lambda watch: None)

    finding = events_of(SpoolSettings.model_validate({"continuous": True}), tmp_path)

    assert "no event came" in finding.message
    assert "max_user_instances" in finding.advice


def test_a_driver_that_torch_cannot_use_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.42.01  Tue Jun 15\n")
    monkeypatch.setattr(model, "NVIDIA_DRIVER", driver)

    findings = list(model.check_device(ModelSettings()))

    [warned] = [finding for finding in findings if "driver" in finding.message]
    assert "driver 470.42.01" in warned.message
    assert "update the driver" in warned.advice


def test_weights_are_compared_with_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    settings = ModelSettings.model_validate({"checkpoint": path})
    published = official_checkpoint("vit_b")
    assert "weights of your own" in model._weights(settings, published).message

    os.truncate(path, 1000)
    monkeypatch.setattr(model, "_published_with", lambda size: published)
    assert "sampoll models pull vit_b" in model._weights(settings, published).advice
    monkeypatch.setattr(model, "is_official", lambda path, published: True)
    assert "vit_b as published" in model._weights(settings, published).message


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**50, "1024.0 TiB")]
)
def test_sizes_are_shown_with_units(size: int, text: str) -> None:
    assert in_units(size) == text
