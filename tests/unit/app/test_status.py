"""What `sampoll status` says about a service."""

import pytest

from sampoll.app.status import Status


@pytest.mark.parametrize(
    ("skipped", "said"), [(0, ""), (1, "1 bad prompt skipped"), (2, "2 bad prompts skipped")]
)
def test_bad_prompts_that_were_skipped_are_counted(skipped: int, said: str) -> None:
    [line] = Status([{"service": "run", "skipped_prompts": skipped}]).lines()

    assert said in line
    assert ("skipped" in line) == bool(said)
