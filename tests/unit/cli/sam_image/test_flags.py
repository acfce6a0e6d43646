"""The flags of the four old commands, as they were published, against our parsers."""

from argparse import Action, ArgumentParser
from collections.abc import Mapping
from typing import Any

import pytest

from sampoll.cli.sam_image import predict_poll, predict_redis, redis_recv, redis_send
from sampoll.config.resolve import resolve
from sampoll.transports.redis.server import server_of

REQUIRED = object()
TYPES = ["default", "vit_h", "vit_l", "vit_b"]

# The option's names, and its default; a flag without a value is False by default.
PUBLISHED: Mapping[str, tuple[ArgumentParser, Mapping[tuple[str, ...], Any]]] = {
    "sam_predict_poll": (
        predict_poll.parser(),
        {
            ("--model",): REQUIRED,
            ("--model_type",): None,
            ("--device",): "auto",
            ("--prediction_in",): REQUIRED,
            ("--prediction_out",): REQUIRED,
            ("--prediction_tmp",): None,
            ("--poll_wait",): 1.0,
            ("--continuous",): False,
            ("--use_watchdog",): False,
            ("--watchdog_check_interval",): 10.0,
            ("--delete_input",): False,
            ("--verbose",): False,
            ("--quiet",): False,
        },
    ),
    "sam_predict_redis": (
        predict_redis.parser(),
        {
            ("--redis_host",): "localhost",
            ("--redis_port",): 6379,
            ("--redis_password",): None,
            ("--redis_password_env",): None,
            ("--redis_db",): 0,
            ("--redis_in",): REQUIRED,
            ("--redis_out",): REQUIRED,
            ("--redis_timeout",): 0.01,
            ("--model",): REQUIRED,
            ("--model_type",): None,
            ("--device",): "auto",
            ("--verbose",): False,
        },
    ),
    "sam_test_redis_send": (
        redis_send.parser(),
        {
            ("-H", "--host"): "localhost",
            ("-p", "--port"): 6379,
            ("-d", "--database"): 0,
            ("-c", "--channel"): REQUIRED,
            ("-I", "--image"): REQUIRED,
            ("-P", "--prompt"): REQUIRED,
        },
    ),
    "sam_test_redis_recv": (
        redis_recv.parser(),
        {
            ("-H", "--host"): "localhost",
            ("-p", "--port"): 6379,
            ("-d", "--database"): 0,
            ("-c", "--channel"): REQUIRED,
            ("-o", "--output_dir"): REQUIRED,
            ("-f", "--file_prefix"): "%Y%m%d_%H%M%S.%f",
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_defaults_and_kinds_are_the_published_ones(name: str) -> None:
    parser, published = PUBLISHED[name]
    ours = {tuple(action.option_strings): action for action in parser._actions if action.dest != "help"}

    assert parser.prog == name
    assert ours.keys() == published.keys()
    for names, default in published.items():
        action: Action = ours[names]
        assert action.required == (default is REQUIRED), names
        assert action.default == (None if default is REQUIRED else default), names
        assert (action.nargs == 0) == (default is False), names
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert action.type is type(default), names
        if names == ("--model_type",):
            assert list(action.choices or ())[: len(TYPES)] == TYPES  # then those of other families
        else:
            assert action.choices is None, names


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_unique_prefix_of_a_long_name_is_accepted(name: str) -> None:
    parser, published = PUBLISHED[name]
    longs = ["--help", *(names[-1] for names in published)]
    needed = [word for n, default in published.items() if default is REQUIRED for word in (n[-1], "x")]
    for names, default in published.items():
        for end in range(3, len(names[-1]) + 1):
            prefix = names[-1][:end]
            if [long for long in longs if long.startswith(prefix)] != [names[-1]]:
                continue
            value = "vit_b" if names[-1] == "--model_type" else "7"
            parsed = parser.parse_args([*needed, prefix, *([] if default is False else [value])])

            got = getattr(parsed, names[-1].removeprefix("--"))
            assert got == (
                True if default is False else type(default)(value) if default in (1.0, 10.0) else got
            )
            assert str(got) in (value, "7.0", "True"), prefix


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "m", "--prediction_i", "a", "--prediction_o", "b", "--cont"], {"continuous": True}),
        (["--model=m", "--prediction_in=a", "--prediction_out=b", "--del"], {"delete_input": True}),
        (["--model", "m", "--prediction_in", "a", "--prediction_out", "b"], {"model_type": None}),
    ],
)
def test_command_lines_of_existing_scripts_are_parsed(arguments: list[str], expected: dict[str, Any]) -> None:
    parsed = vars(predict_poll.parser().parse_args(arguments))

    assert {**parsed, **expected} == parsed


@pytest.mark.parametrize("model_type", [None, "default", "vit_h", "vit_l", "vit_b"])
def test_default_is_the_huge_model(model_type: str | None) -> None:
    given = [] if model_type is None else ["--model_type", model_type]
    arguments = redis_arguments(*given)

    assert predict_redis._settings(arguments, {})["model"] == (
        model_type if model_type in ("vit_l", "vit_b") else "vit_h"
    )


@pytest.mark.parametrize(
    ("given", "environment", "password"),
    [
        ([], {}, None),
        (["--redis_password", "a"], {}, "a"),
        (["--redis_password_env", "P"], {"P": "b"}, "b"),
        (["--redis_password_env", "P"], {}, None),
        (["--redis_password", "a", "--redis_password_env", "P"], {"P": "b"}, "a"),
    ],
)
def test_a_password_flag_overrides_the_environment(
    given: list[str], environment: dict[str, str], password: str | None
) -> None:
    settings = predict_redis._settings(redis_arguments(*given), environment)

    assert settings.get("redis-password") == password


def test_flags_for_the_server_override_the_environment() -> None:
    environment = {"SAMPOLL_REDIS_URL": "redis://elsewhere:1/2"}
    flags = predict_redis._settings(redis_arguments("--redis_host", "here"), environment)

    server = server_of(resolve(flags, environment).settings.redis)

    assert str(server) == "redis://here:6379/0"


def redis_arguments(*given: str) -> Any:
    return predict_redis.parser().parse_args(["--model", "m", "--redis_in", "i", "--redis_out", "o", *given])


@pytest.mark.parametrize(
    ("environment", "policy"), [({}, "best"), ({"SAMPOLL_MASK_POLICY": "first"}, "first")]
)
def test_the_best_mask_is_used_unless_the_first_one_is_asked_for(
    environment: dict[str, str], policy: str
) -> None:
    settings = resolve(predict_redis._settings(redis_arguments(), environment), environment).settings

    assert settings.model.mask_policy == policy
    assert settings.model.precision == "auto"


def test_the_time_between_two_looks_for_messages_has_no_effect() -> None:
    with_it = predict_redis._settings(redis_arguments("--redis_timeout", "9"), {})

    assert with_it == predict_redis._settings(redis_arguments(), {})
