"""What the command line says before anything runs: help, versions, completion, and suggestions."""

from pathlib import Path

import pytest
from support.process import sampoll


@pytest.mark.parametrize(
    ("command", "suggestion"),
    [
        (["run", "--stetle", "3"], "No such option: --stetle; did you mean --settle?"),
        (["run", "--batch_size", "3"], "No such option: --batch_size; did you mean --batch-size?"),
        (["runn"], "No such command 'runn'. Did you mean 'run'?"),
        (["prompts", "import", ".", "--from", "yollo", "--to", "."], "did you mean yolo?"),
        (["run", "-i", ".", "-o", "../out", "--model", "grabcut", "--format", "pgn"], "did you mean png?"),
        (["models", "path", "vit-l"], "did you mean vit_l?"),
    ],
)
def test_a_misspelled_name_is_answered_with_the_nearest_one(
    command: list[str], suggestion: str, tmp_path: Path
) -> None:
    refused = sampoll(*command, cwd=tmp_path)

    assert (refused.returncode, suggestion in one_line(refused.stderr)) == (2, True), refused.stderr


def one_line(framed: str) -> str:
    """The text of an error of the command line, without its frame."""
    return " ".join(framed.replace("│", " ").split())
