"""Prompts from the settings, for images without one."""

from pathlib import Path

import pytest

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import ConfigurationError
from sampoll.inputs.common_prompt import default_prompt
from sampoll.inputs.options import DecodingOptions

OPTIONS = DecodingOptions()
BOXES_ONLY = DecodingOptions(model="boxes", prompt_kinds=("box",))


def test_a_default_prompt_is_everything_words_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "text:cat.json"
    file.write_bytes(b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}')

    everything, words = default_prompt("everything", OPTIONS), default_prompt("text:a cat", OPTIONS)
    of_file = default_prompt(str(file), OPTIONS)

    assert (everything.content, everything.name) == (b'{"everything": {}}', "--default-prompt")
    assert words.content == b'{"text":"a cat"}'
    assert (of_file.content, of_file.name) == (file.read_bytes(), "text:cat.json")


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        ("text: ", OPTIONS, "--default-prompt 'text: ' has no words: write what to look for, as text:cat"),
        ("text:\udcff", OPTIONS, "--default-prompt must be text in UTF-8"),
        (
            "no.json",
            OPTIONS,
            "--default-prompt no.json cannot be read: No such file or directory, and is neither",
        ),
        ("text:" + "cat " * 90, OPTIONS, f"--default-prompt 'text:{'cat ' * 18}cat...' has more than 256"),
        ("everything", BOXES_ONLY, "--default-prompt 'everything' is not taken by --model boxes, which"),
        ("text:cat", BOXES_ONLY, "--default-prompt 'text:cat' is not taken by --model boxes, which"),
    ],
)
def test_a_default_prompt_that_cannot_be_used_is_refused(
    value: str, options: DecodingOptions, message: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        default_prompt(value, options)

    assert str(refused.value).startswith(message)


def test_a_prompt_for_all_images_and_a_default_one_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="leave one out"):
        SpoolSettings(prompt=Path("a.json"), default_prompt="everything")
