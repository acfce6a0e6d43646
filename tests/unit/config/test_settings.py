import logging
import re
import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest
from support.process import REPOSITORY

from sampoll.config.fields import all_settings
from sampoll.config.resolve import Resolved, describe, resolve
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ConfigurationError, InputUnavailable, OutputUnavailable, UsageError
from sampoll.transports.redis.server import server_of


@pytest.fixture(autouse=True)
def _no_config_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sampoll.toml"
    path.write_text(text)
    return path


def settle(resolved: Resolved) -> tuple[float, str]:
    return resolved.settings.spool.settle_seconds, resolved.origins.get("settle", "default")


def test_flags_win_over_variables_over_toml_over_defaults(tmp_path: Path) -> None:
    path = toml(tmp_path, "[spool]\nsettle = 2.0\n")
    environment = {"SAMPOLL_SETTLE": "3"}

    assert settle(resolve({}, {})) == (1.0, "default")
    assert settle(resolve({}, {}, path)) == (2.0, f"{path}: [spool] settle")
    assert settle(resolve({}, environment, path)) == (3.0, "SAMPOLL_SETTLE")
    assert settle(resolve({"settle": "4"}, environment, path)) == (4.0, "--settle")


def test_the_toml_is_named_by_flag_or_variable_or_lies_in_a_configuration_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("user", 5), ("system", 6)):
        (tmp_path / name / "sampoll").mkdir(parents=True)
        (tmp_path / name / "sampoll" / "sampoll.toml").write_text(f"[spool]\nsettle = {seconds}.0\n")
    named = toml(tmp_path, "[spool]\nsettle = 7.0\n")
    monkeypatch.chdir(tmp_path)

    assert settle(resolve({}, {"SAMPOLL_CONFIG": str(named)}))[0] == 7
    assert settle(resolve({}, {}))[0] == 5
    (tmp_path / "user" / "sampoll" / "sampoll.toml").unlink()
    assert settle(resolve({}, {}))[0] == 6
    (tmp_path / "system" / "sampoll" / "sampoll.toml").unlink()
    assert settle(resolve({}, {}))[0] == 1  # the one in the working directory does not count


@pytest.mark.parametrize(
    ("flags", "environment", "text", "kind", "message"),
    [
        (
            {"settle": "-1"},
            {},
            "",
            UsageError,
            "--settle: Input should be greater than or equal to 0, got '-1'",
        ),
        ({"device": "tpu"}, {}, "", UsageError, "--device: "),
        (
            {"mask-policy": "worst"},
            {},
            "",
            UsageError,
            "--mask-policy: Input should be 'best', 'first' or 'single'",
        ),
        ({"mask-policy": "frist"}, {}, "", UsageError, "got 'frist'; did you mean first?"),
        ({"ready-suffix": "ready"}, {}, "", UsageError, "--ready-suffix: must be a dot and some letters"),
        ({"ready-suffix": ".JSON"}, {}, "", UsageError, "--ready-suffix: must not be the suffix of an image"),
        ({}, {"SAMPOLL_BATCH_SIZE": "many"}, "", ConfigurationError, "SAMPOLL_BATCH_SIZE: "),
        (
            {},
            {},
            "[spool]\nrescan = 0\n",
            ConfigurationError,
            "[spool] rescan: Input should be greater than 0",
        ),
        (
            {},
            {},
            "[spool]\nsetle = 1\n",
            ConfigurationError,
            "[spool] setle is not known; did you mean settle?",
        ),
        (
            {},
            {},
            "[spol]\nsettle = 1\n",
            ConfigurationError,
            "[spol] is not known; did you mean spool?",
        ),
        ({}, {}, "settle = 1\n", ConfigurationError, "settle belongs in [spool], not in the top level"),
        ({}, {}, "[model]\nsettle = 1\n", ConfigurationError, "settle belongs in [spool], not in [model]"),
        ({}, {}, "spool = 3\n", ConfigurationError, "spool is a section: write [spool]"),
        ({}, {}, "[spool\n", ConfigurationError, "is not TOML"),
    ],
)
def test_a_bad_value_is_refused_with_its_place(
    tmp_path: Path, flags: Any, environment: Any, text: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        resolve(flags, environment, toml(tmp_path, text))


def test_a_toml_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the configuration .*nowhere\.toml"):
        resolve({}, {}, tmp_path / "nowhere.toml")


def test_an_unknown_variable_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        resolve({}, {"SAMPOLL_SETLE": "1"})

    assert (
        "SAMPOLL_SETLE is no setting of sampoll and is ignored; did you mean SAMPOLL_SETTLE?" in caplog.text
    )


def test_an_empty_variable_counts_as_not_set() -> None:
    assert resolve({}, {"SAMPOLL_INPUT": "", "SAMPOLL_SETTLE": ""}).settings == resolve({}, {}).settings


def test_paths_in_a_toml_are_relative_to_it(tmp_path: Path) -> None:
    path = toml(tmp_path, '[spool]\ninput = "in"\noutput = "/srv/out"\ndone = "old"\n')

    spool = resolve({}, {}, path).settings.spool

    assert (spool.input, spool.output, spool.done) == (tmp_path / "in", Path("/srv/out"), tmp_path / "old")
    assert resolve({}, {}, toml(tmp_path, '[spool]\ndone = "delete"\n')).settings.spool.done == "delete"


def test_the_printed_settings_are_toml_and_give_the_same_settings(tmp_path: Path) -> None:
    flags = {"input": '/a "b"\\c', "continuous": True, "settle": "0.5", "stop-file": "STOP", "done": "/d"}
    resolved = resolve(flags, {"SAMPOLL_MODEL": "grabcut"})

    text = describe(resolved)

    assert resolve({}, {}, toml(tmp_path, text)).settings == resolved.settings
    assert tomllib.loads(text)["model"]["model"] == "grabcut"
    assert re.search(r'^model = "grabcut" +# SAMPOLL_MODEL$', text, re.MULTILINE)
    assert re.search(r"^settle = 0.5 +# --settle$", text, re.MULTILINE)
    assert re.search(r"^rescan = 2.0 +# default$", text, re.MULTILINE)
    assert re.search(r"^# checkpoint is not set +# default$", text, re.MULTILINE)


def test_every_setting_has_one_name_and_a_sentence() -> None:
    keys = [setting.key for setting in all_settings()]

    assert len(keys) == len(set(keys))
    for setting in all_settings():
        assert setting.field.description
        assert setting.field.description.endswith(".")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_the_example_configurations_load(path: Path) -> None:
    settings = resolve({}, {}, path).settings

    assert settings.model.checkpoint is not None
    if path.stem not in ("redis", "http"):
        assert settings.spool.input is not None
        assert settings.spool.output is not None


def test_there_are_example_configurations() -> None:
    assert len(list((REPOSITORY / "configs").glob("*.toml"))) == 4


def test_printed_settings_with_a_url_can_be_read_again(tmp_path: Path) -> None:
    resolved = resolve({"redis-url": "redis://a/1"}, {})
    (tmp_path / "printed.toml").write_text(describe(resolved))

    settings = resolve({}, {}, tmp_path / "printed.toml").settings

    assert server_of(settings.redis) == server_of(resolved.settings.redis)


LOGINS = ["secret/secret", "secret#secret", "secret?secret", "secret[secret", "secret secret", "secret\udcff"]


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize(("key", "scheme"), [("redis-url", "redis"), ("mirror", "https")])
def test_an_address_is_refused_without_being_repeated(
    tmp_path: Path, key: str, scheme: str, login: str
) -> None:
    with pytest.raises(UsageError, match=f"^--{key}: must be") as refusal:
        resolve({key: f"{scheme}://user:{login}@host"}, {})

    assert "secret" not in "".join(traceback.format_exception(refusal.value)).replace(str(__file__), "")


@pytest.mark.parametrize(
    "value", ["http:/user:secret@host", "user:secret@host", "https://host/?token=secret"]
)
def test_what_is_no_address_of_a_folder_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SAMPOLL_MIRROR: must begin with http://") as refusal:
        resolve({}, {"SAMPOLL_MIRROR": value})

    assert "secret" not in str(refusal.value)


def test_a_login_in_the_place_of_another_setting_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refusal:
        resolve({"http": "redis://user:secret@host"}, {})

    assert "secret" not in str(refusal.value)


def test_secrets_are_shown_nowhere() -> None:
    flags = {"redis-url": "redis://user:hush@host:1/2", "mirror": "https://hush@host/folder"}
    resolved = resolve(flags, {"SAMPOLL_REDIS_PASSWORD": "hush"})

    described = describe(resolved)

    assert (
        "hush" not in f"{described} {resolved} {resolved.settings!s} {server_of(resolved.settings.redis)!r}"
    )
    printed = tomllib.loads(described)
    assert printed["redis"]["redis-url"] == "redis://***@host:1/2"
    assert printed["model"]["mirror"] == "https://***@host/folder"


def test_a_password_that_is_no_text_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[redis\] redis-password: ") as refusal:
        resolve({}, {}, toml(tmp_path, "[redis]\nredis-password = 8127\n"))

    assert "8127" not in str(refusal.value)


@pytest.mark.parametrize("key", ["redis-in", "redis-username", "stream"])
def test_a_setting_that_is_no_path_is_text(key: str) -> None:
    with pytest.raises(UsageError, match=f"^--{key}: must be text in UTF-8$"):
        resolve({key: "a\udcff"}, {})


def test_a_tilde_is_the_home_directory_whatever_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = toml(tmp_path, '[spool]\ninput = "~/in"\noutput = "./~/out"\n')

    by_file = resolve({}, {}, path).settings.spool
    by_variable = resolve({}, {"SAMPOLL_INPUT": "~/in"}).settings.spool
    by_flag = resolve({"input": "~/in", "done": "~/done"}, {}).settings.spool

    assert by_file.input == by_variable.input == by_flag.input == Path("/home/me/in")
    assert by_flag.done == Path("/home/me/done")
    assert by_file.output == tmp_path / "~/out"


def test_a_tilde_names_the_configuration_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    toml(tmp_path, "[spool]\nsettle = 7.0\n")

    assert settle(resolve({}, {"SAMPOLL_CONFIG": "~/sampoll.toml"}))[0] == 7


def test_an_unknown_home_directory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^SAMPOLL_INPUT: the home directory ~no-such-user"):
        resolve({}, {"SAMPOLL_INPUT": "~no-such-user/in"})


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must not contain the character NUL"):
        resolve({}, {}, toml(tmp_path, '[spool]\ninput = "a\\u0000b"\n'))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("input", InputUnavailable),
        ("output", OutputUnavailable),
        ("done", OutputUnavailable),
        ("home", ConfigurationError),
        ("embedding-cache", ConfigurationError),
        ("root", ConfigurationError),
    ],
)
@pytest.mark.parametrize("path", ["file", "file/below", "link"])
def test_a_file_in_the_place_of_a_directory_is_refused(
    key: str, kind: type[Exception], path: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    variable = f"SAMPOLL_{key.upper().replace('-', '_')}"

    with pytest.raises(kind, match=f"^{variable}: must be a directory, but .* is a file, got "):
        resolve({}, {variable: str(tmp_path / path)})


def test_a_directory_that_is_missing_or_linked_to_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    for path in ("missing/below", "real", "link"):
        assert resolve({"output": str(tmp_path / path)}, {}).settings.spool.output == tmp_path / path


def test_any_path_is_described_in_printable_toml(tmp_path: Path) -> None:
    odd = "/a\x1b]0;t\x07\n\x7f\x9b\u202eb"
    resolved = resolve({"input": odd, "output": "/\udcff"}, {})

    text = describe(resolved)

    assert all(line.isprintable() for line in text.splitlines())
    printed = tomllib.loads(text)["spool"]
    assert printed["input"] == odd
    assert printed["output"] == "/\\xff"  # TOML has no notation for bytes


def test_the_memory_for_embeddings_is_that_of_64_images_of_any_model_unless_it_is_set() -> None:
    assert ModelSettings().embedding_memory_for(4 * 2**20) == 256 * 2**20
    assert ModelSettings().embedding_memory_for(16 * 2**20) == 1024 * 2**20
    for value in ("1G", 2**30):
        settings = ModelSettings.model_validate({"embedding-memory": value})
        assert settings.embedding_memory_for(4 * 2**20) == 2**30


@pytest.mark.parametrize(
    ("cores", "streams"), [(1, 1), (4, 1), (8, 1), (15, 1), (16, 2), (24, 3), (64, 8), (128, 16)]
)
def test_a_cpu_computes_one_image_for_each_eight_cores_at_once(cores: int, streams: int) -> None:
    assert ModelSettings().streams_on(cores) == streams
    assert ModelSettings().batch_size_on("cpu", streams) == streams


def test_the_images_at_once_can_be_set_and_are_no_more_than_the_cores() -> None:
    settings = ModelSettings.model_validate({"cpu-streams": 4})
    assert (settings.streams_on(64), settings.streams_on(2)) == (4, 2)


def test_a_variable_that_other_programs_know_counts_if_our_own_is_not_set() -> None:
    shared = {"LABEL_STUDIO_URL": "http://studio:8080", "LABEL_STUDIO_API_KEY": "0123456789abcdef"}
    own = {"SAMPOLL_LABEL_STUDIO_URL": "http://other:8080"}

    resolved, overridden = resolve({}, shared), resolve({}, {**shared, **own})

    settings = overridden.settings.label_studio
    assert (settings.url and settings.url.get_secret_value()) == "http://other:8080"
    assert (settings.api_key and settings.api_key.get_secret_value()) == "0123456789abcdef"
    assert resolved.origins["label-studio-url"] == "LABEL_STUDIO_URL"
    assert "0123456789abcdef" not in describe(resolved)
