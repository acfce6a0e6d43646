"""The rules over arrays are those in torch, which are compared with the authors' code elsewhere."""

import numpy as np
import pytest
import torch
from support.images import image_of

from sampoll.models.shared.mask_choice import CANDIDATES, MaskPolicy, sam2_choice, sam_choice
from sampoll.models.shared.network import ImageRules
from sampoll.models.shared.numpy_rules import NumpyPaddedSquare, NumpyResizedSquare, NumpyRules
from sampoll.models.shared.padded_square import PaddedSquare
from sampoll.models.shared.sam2_rules import ResizedSquare

CPU = torch.device("cpu")
RULES: dict[str, tuple[ImageRules, NumpyRules]] = {
    "padded": (PaddedSquare(128, (32, 32)), NumpyPaddedSquare(128, (32, 32))),
    "resized": (ResizedSquare(128, 32), NumpyResizedSquare(128, 32)),
}
SIZES = [(40, 57), (128, 128), (300, 211), (90, 33), (1, 1), (128, 4)]


@pytest.fixture(params=RULES)
def rules(request: pytest.FixtureRequest) -> tuple[ImageRules, NumpyRules]:
    return RULES[request.param]


@pytest.mark.parametrize("size", SIZES)
def test_images_are_prepared_alike(rules: tuple[ImageRules, NumpyRules], size: tuple[int, int]) -> None:
    by_torch, by_numpy = rules
    image = image_of(*size)

    theirs = by_torch.prepared(image, CPU, exact=True).numpy()

    ours = by_numpy.prepared(image)
    assert ours.shape == (3, 128, 128)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-5  # of values around one


@pytest.mark.parametrize("size", SIZES)
def test_logits_become_as_large_as_the_image_alike(
    rules: tuple[ImageRules, NumpyRules], size: tuple[int, int]
) -> None:
    by_torch, by_numpy = rules
    logits = np.random.default_rng(0).normal(0, 5, (3, 32, 32)).astype(np.float32)

    theirs = by_torch.full_size(torch.from_numpy(logits), size).numpy()

    ours = by_numpy.full_size(logits, size)
    assert ours.shape == (3, *size)
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_mask_prompts_and_refined_logits_are_alike(
    rules: tuple[ImageRules, NumpyRules], size: tuple[int, int]
) -> None:
    by_torch, by_numpy = rules
    mask = np.random.default_rng(0).normal(0, 30, (256, 256)).astype(np.float32)

    ours, theirs = by_numpy.mask_input(mask, size), by_torch.mask_input(torch.from_numpy(mask), size).numpy()

    assert np.abs(ours - theirs).max() < 1e-3
    refined = by_torch.refined(torch.from_numpy(mask)).numpy()
    assert np.array_equal(by_numpy.refined(mask), refined)


def test_points_are_at_the_same_places(rules: tuple[ImageRules, NumpyRules]) -> None:
    by_torch, by_numpy = rules
    points = np.array([[0.0, 0.0], [56.5, 39.25]])
    assert np.array_equal(by_numpy.places(points, (40, 57)), by_torch.places(points, (40, 57)))


@pytest.mark.parametrize("policy", CANDIDATES)
def test_the_mask_of_a_policy_is_chosen_for_each_prompt(policy: MaskPolicy) -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.3], [0.2, 0.1, 0.3, 0.4]], np.float32)
    logits = np.arange(8, dtype=np.float32).reshape(2, 4, 1, 1) - 3.5

    chosen, of_them = sam_choice(logits, scores, policy)

    expected = {"best": [2, 3], "first": [1, 1], "single": [0, 0]}[policy]
    assert of_them.tolist() == [scores[row, token] for row, token in enumerate(expected)]
    assert chosen[:, 0, 0].tolist() == [logits[row, token, 0, 0] for row, token in enumerate(expected)]


def test_a_single_mask_of_sam_2_that_is_not_stable_is_the_best_of_the_others() -> None:
    stable, unstable, empty = np.full((4, 4), 1.0), np.full((4, 4), 0.01), np.full((4, 4), -1.0)
    singles = np.stack([stable, unstable, empty])
    logits = np.stack([singles, *[singles + 5 * token for token in (1, 2, 3)]], axis=1).astype(np.float32)
    scores = np.array([[0.1, 0.2, 0.4, 0.3]] * 3, np.float32)

    _, of_them = sam2_choice(logits, scores, "single")

    assert of_them.tolist() == scores[0, [0, 2, 0]].tolist()
