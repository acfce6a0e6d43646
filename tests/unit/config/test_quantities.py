from pathlib import Path
from typing import Any

import pytest

from sampoll.config.fields import all_settings
from sampoll.config.quantities import bytes_of, seconds_of, size_text, time_text
from sampoll.config.resolve import describe, resolve
from sampoll.config.settings import Settings
from sampoll.core.errors import ConfigurationError, UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("7d", 604_800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 4s ", 4),
        ("0s", 0),
    ],
)
def test_a_time_may_have_units(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("512K", 2**19), ("64M", 2**26), ("64m", 2**26), ("64MiB", 2**26), ("1.5G", 3 * 2**29), ("1T", 2**40)],
)
def test_a_size_may_have_a_unit_which_is_a_power_of_1024(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("value", ["3", "0.5", "1e3", 3, 0.5, None, True])
def test_a_plain_number_is_left_to_its_setting(value: Any) -> None:
    assert seconds_of(value) is value
    assert bytes_of(value) is value


@pytest.mark.parametrize("text", ["", "soon", "10M", "5x", "-5s", "s", "1h 30m", "9" * 400 + "s", "٣s"])
def test_another_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number, or a time such as"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["", "big", "64MB", "-5M", "M", "5s", "9" * 400 + "G"])
def test_another_text_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes, or a size such as"):
        bytes_of(text)


@pytest.mark.parametrize("seconds", [0, 0.1, 1, 60, 90, 600, 3600, 86_400, 604_800, 1_234_567.5])
def test_a_time_is_written_so_that_it_reads_back(seconds: float) -> None:
    assert seconds_of(time_text(seconds)) == seconds


@pytest.mark.parametrize("size", [1, 1000, 1024, 2**26, 2**30, 3 * 2**29, 2**40])
def test_a_size_is_written_so_that_it_reads_back(size: int) -> None:
    assert int(bytes_of(size_text(size))) == size


QUANTITIES = [
    (setting.section, setting.key, text)
    for setting in all_settings()
    for text in {"SECONDS": ["90s", "1h30m"], "BYTES": ["65M", "3K"]}.get(
        setting.extra("metavar").removeprefix("auto|"), ()
    )
]


@pytest.mark.parametrize(("section", "key", "text"), QUANTITIES)
def test_units_mean_the_same_as_flag_variable_and_toml_and_are_printed_so_that_they_read_back(
    section: str, key: str, text: str, tmp_path: Path
) -> None:
    toml = tmp_path / "sampoll.toml"
    toml.write_text(f'[{section}]\n{key} = "{text}"\n')
    variable = f"SAMPOLL_{key.upper().replace('-', '_')}"

    by_flag, by_variable, by_file = (
        resolve({key: text}, {}),
        resolve({}, {variable: text}),
        resolve({}, {}, toml),
    )

    assert by_flag.settings == by_variable.settings == by_file.settings != resolve({}, {}).settings
    toml.write_text(describe(by_flag))
    assert resolve({}, {}, toml).settings == by_flag.settings


def test_every_setting_that_is_named_for_its_unit_may_have_one() -> None:
    named = {
        field.alias
        for section in Settings.model_fields.values()
        for name, field in section.annotation.model_fields.items()  # type: ignore[union-attr]
        if name.endswith(("_seconds", "_bytes"))
    }

    assert named == {key for _, key, _ in QUANTITIES}


def test_a_bad_quantity_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"^--settle: must be a number, or a time .*, got 'soon'$"):
        resolve({"settle": "soon"}, {})
    with pytest.raises(
        ConfigurationError, match=r"^SAMPOLL_MIN_FREE: must be a number of bytes, .*got '64MB'$"
    ):
        resolve({}, {"SAMPOLL_MIN_FREE": "64MB"})
    with pytest.raises(UsageError, match=r"^--lease: Input should be greater than 0, got '0s'$"):
        resolve({"lease": "0s"}, {})
