from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import nms

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Everything
from sampoll.core.results import Mask
from sampoll.models.shared import automatic_masks
from sampoll.models.shared.automatic_masks import Candidates, Stable, chosen_masks
from sampoll.models.shared.packed_bits import packed_bits
from sampoll.models.shared.thresholds import MaskThresholds

SIZE = (6, 11)
BOXES = st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 6), st.integers(0, 3))
"""Left, top, and how far right and bottom are from there: they often are the same, and some have no area."""
FOUND = st.lists(st.tuples(BOXES, st.sampled_from([0.25, 0.5, 0.75]), st.booleans()), max_size=30)
THRESHOLDS = st.sampled_from([0.0, 0.3, 0.7, 1.0])


def stable(found: list[tuple[tuple[int, int, int, int], float, bool]]) -> Stable:
    """Frames, of which some lack a pixel inside, so that masks with the same box may differ; and one without
    any pixel."""
    masks = torch.zeros((len(found) + 1, *SIZE), dtype=torch.bool)
    for mask, ((left, top, width, height), _, is_open) in zip(masks, found, strict=False):
        mask[top : top + height + 1, left : left + width + 1] = True
        if is_open:
            mask[top + 1 : top + height, left + 1 : left + width] = False
    return Stable(packed_bits(masks), torch.tensor([score for _, score, _ in found] + [0.5]))


def kept_by_nms(found: Stable, everything: Everything) -> list[Mask]:
    """The masks that NMS over all of them keeps, as segment_anything has it."""
    masks = [
        Mask.from_packed(bits, SIZE, score)
        for bits, score in zip(found.bits.numpy(), found.scores.tolist(), strict=True)
    ]
    corners = [(m.box.left, m.box.top, m.box.right, m.box.bottom) if m.box else (0, 0, 0, 0) for m in masks]
    kept = nms(torch.tensor(corners, dtype=torch.float32), found.scores, everything.box_nms_thresh)
    return [masks[index] for index in kept.tolist()]


@given(FOUND, THRESHOLDS)
def test_no_candidate_that_is_left_out_early_would_have_been_chosen(
    found: list[tuple[tuple[int, int, int, int], float, bool]], box_nms_thresh: float
) -> None:
    everything = Everything(box_nms_thresh=box_nms_thresh)
    candidates = Candidates(everything, SIZE)
    candidates.add(stable(found))

    chosen = chosen_masks(candidates.masks(), everything, lambda: None)

    expected = kept_by_nms(stable(found), everything)
    assert [mask.score for mask in chosen] == [mask.score for mask in expected]
    assert [mask.packed.tobytes() for mask in chosen] == [mask.packed.tobytes() for mask in expected]


def test_of_masks_with_the_same_box_the_best_one_is_kept_compressed() -> None:
    candidates = Candidates(Everything(), SIZE)
    for score in (0.5, 0.25, 0.75, 0.75):
        candidates.add(stable([((1, 1, 5, 3), score, score == 0.75)]))

    box, empty = (
        [mask for mask in candidates.masks() if mask.box],
        [mask for mask in candidates.masks() if not mask.box],
    )

    assert [mask.score for mask in box] == [0.75]
    assert len(empty) == 4
    assert all(isinstance(mask.bits, bytes) for mask in box + empty)


def test_candidates_that_take_too_much_memory_fail_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic_masks, "MASK_BYTES", 100)
    candidates = Candidates(Everything(), SIZE)

    candidates.add(stable([((left, 0, 4, 3), 0.5, False) for left in range(5)]))

    with pytest.raises(
        BadPrompt, match=r"^everything: its candidates take more than 100 bytes: lower points"
    ):
        candidates.add(stable([((left, 1, 5, 2), 0.5, False) for left in range(5)]))


def test_each_mask_that_is_cleaned_is_progress() -> None:
    pixels = np.ones((40, 40), np.bool_)
    pixels[5, 5] = False
    masks = [Mask.from_array(np.roll(pixels, 3 * n, axis=1), 0.5).compressed() for n in range(3)]
    parts: list[None] = []
    advance: Callable[[], None] = lambda: parts.append(None)  # noqa: E731

    everything = Everything(box_nms_thresh=1, min_mask_region_area=10)
    chosen = chosen_masks(masks, everything, advance)

    assert len(parts) == 3
    assert all(mask.area == 1600 and isinstance(mask.bits, bytes) for mask in chosen)


def test_thresholds_are_those_of_the_model_unless_the_prompt_says_them() -> None:
    own = MaskThresholds(0.8, 0.9)

    assert own.asked_by(Everything()) == own
    assert own.asked_by(Everything(pred_iou_thresh=0)) == MaskThresholds(0, 0.9)
    assert own.asked_by(Everything(stability_score_thresh=0)) == MaskThresholds(0.8, 0)
