import pytest

from sampoll.core.jobs import Point, Prompt
from sampoll.models.shared.prompt_tokens import TOKENS_AT_ONCE, batches


def points(count: int) -> Prompt:
    return Prompt(points=tuple(Point(x, 1, 1) for x in range(count)))


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (2, [64, 64, 12]),
        (TOKENS_AT_ONCE // 64, [64, 64, 12]),
        (TOKENS_AT_ONCE // 3, [3] * 46 + [2]),
        (2 * TOKENS_AT_ONCE, [1] * 140),
    ],
)
def test_prompts_of_very_many_points_are_decoded_with_fewer_others(tokens: int, expected: list[int]) -> None:
    prompt = points(tokens - 1)  # and the padding token

    assert [len(batch) for batch in batches([[prompt] * 140], 64)] == expected
