import pytest

from sampoll.core.suggestions import did_you_mean, nearest

MODELS = ("grabcut", "vit_b", "vit_h", "vit_l")


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("vitb", MODELS, "vit_b"),
        ("ViT-B", MODELS, "vit_b"),
        ("sam_vit_h", MODELS, "vit_h"),
        ("grab-cut", MODELS, "grabcut"),
        ("bbox", ("points", "box", "mask"), "box"),
        ("point", ("points", "box", "mask"), "points"),
        ("SAMPOLL_MODLE", ("SAMPOLL_MODEL", "SAMPOLL_HTTP"), "SAMPOLL_MODEL"),
    ],
)
def test_the_most_similar_name_is_suggested(name: str, known: tuple[str, ...], found: str) -> None:
    assert nearest(name, known) == found
    assert did_you_mean(name, known) == f"; did you mean {found}?"


@pytest.mark.parametrize(
    ("name", "known"),
    [("elephant", MODELS), ("", MODELS), ("vit_x", MODELS), ("vit_b", ()), ("v" * 10**7, MODELS)],
)
def test_nothing_is_suggested_for_an_unlike_name_or_one_that_several_are_like(
    name: str, known: tuple[str, ...]
) -> None:
    assert did_you_mean(name, known) == ""


def test_a_prefix_of_all_names_makes_none_of_them_similar() -> None:
    known = ("SAMPOLL_MODEL", "SAMPOLL_HTTP")

    assert nearest("SAMPOLL_XYZ", known, prefix="SAMPOLL_") == ""
