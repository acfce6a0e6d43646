import pytest

from sampoll.core.wording import counted, duration_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 half pairs"), (1, "1 half pair"), (2, "2 half pairs"), (1000, "1000 half pairs")],
)
def test_only_one_is_singular(count: int, text: str) -> None:
    assert counted(count, "half pair") == text


def test_a_plural_may_be_given() -> None:
    assert [counted(count, "image has", "images have") for count in (1, 2)] == [
        "1 image has",
        "2 images have",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (90, "1.5 min"), (1000, "17 min"), (11520, "3.2 h"), (90000, "1.0 d")],
)
def test_a_duration_is_in_its_largest_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
