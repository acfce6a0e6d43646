"""The unit of a service on a folder, made of the example."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sampoll.app.systemd_unit import Service, check_user, unit_name, unit_of
from sampoll.core.errors import UsageError

SERVICE = Service(
    name="cells",
    command=("/opt/venv/bin/sampoll",),
    user="lab",
    input=Path("/data/in"),
    output=Path("/data/out"),
    done=Path("/data/in/done"),
    config=Path("/etc/cells.toml"),
    http=None,
    reads=(Path("/opt/venv"),),
)


def values(service: Service) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit_of(service), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_a_unit_has_the_paths_and_the_user_of_the_service_and_all_else_of_the_example() -> None:
    unit = values(SERVICE)

    assert unit["ExecStart"] == [
        "/opt/venv/bin/sampoll run --config /etc/cells.toml --input /data/in --output /data/out --continuous "
        "--http 127.0.0.1:9180"
    ]
    assert unit["ReadWritePaths"] == unit["RequiresMountsFor"] == ["/data/in /data/out"]
    assert unit["User"] == ["lab"]
    assert "Group" not in unit
    assert unit["RuntimeDirectory"] == ["cells"]
    assert "SAMPOLL_HOME=/var/cache/sampoll XDG_RUNTIME_DIR=/run/cells" in unit["Environment"]
    assert (unit["ProtectHome"], unit["PrivateTmp"]) == (["yes"], ["yes"])
    assert unit["WatchdogSec"] == ["60"]
    assert "/srv/sampoll" not in unit_of(SERVICE)
    assert "/opt/sampoll" not in unit_of(SERVICE)


def test_what_is_done_may_be_kept_in_a_directory_of_its_own() -> None:
    assert values(replace(SERVICE, done=Path("/kept")))["ReadWritePaths"] == ["/data/in /data/out /kept"]


def test_an_address_of_the_settings_is_not_replaced() -> None:
    assert "--http" not in values(replace(SERVICE, http="0.0.0.0:80"))["ExecStart"][0]


@pytest.mark.parametrize("path", ["/home/lab/in", "/root/in", "/run/user/1000/in"])
def test_a_service_sees_the_home_directories_that_it_needs(path: str) -> None:
    assert values(replace(SERVICE, input=Path(path)))["ProtectHome"] == ["read-only"]
    assert values(replace(SERVICE, reads=(Path(path),)))["ProtectHome"] == ["read-only"]


def test_a_service_sees_the_temporary_directories_that_it_needs() -> None:
    assert values(replace(SERVICE, output=Path("/tmp/out")))["PrivateTmp"] == ["no"]


@pytest.mark.parametrize(
    ("path", "written", "argument"),
    [
        ("/a b", '"/a b"', '"/a b"'),
        ("/50%", "/50%%", "/50%%"),
        ("/a$b", "/a$b", "/a$$b"),
        ("/a;b", '"/a;b"', '"/a;b"'),
        ("/größe", "/größe", "/größe"),
    ],
)
def test_special_characters_of_systemd_in_paths_are_plain_characters(
    path: str, written: str, argument: str
) -> None:
    unit = values(replace(SERVICE, input=Path(path), done=None))

    assert unit["ReadWritePaths"] == [f"{written} /data/out"]
    assert f"--input {argument} --output" in unit["ExecStart"][0]


@pytest.mark.parametrize("path", ['/a"b', "/a'b", "/a\\b", "/a\nUser=root", "/a\udcff"])
def test_a_path_that_not_every_key_of_a_unit_can_name_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="choose another path"):
        unit_of(replace(SERVICE, output=Path(path)))


@pytest.mark.parametrize("name", ["cells", "cells.timer", "a b.service", "cells@.service", ".service"])
def test_the_file_of_a_unit_has_the_name_of_one(name: str) -> None:
    with pytest.raises(UsageError, match=r"give NAME\.service"):
        unit_name(Path(name))

    assert unit_name(Path("etc/cells-2.service")) == "cells-2"


@pytest.mark.parametrize(
    ("user", "message"), [("root", "--user NAME"), ("a b", "cannot be"), ("", "cannot be")]
)
def test_a_service_does_not_run_as_root_or_as_what_is_no_name(user: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_user(user)

    assert check_user("www-data") == "www-data"
