import cv2
import numpy as np
from skimage import data
from support.images import iou

from sampoll.inputs.photograph import photograph
from sampoll.models.grabcut.segmenter import segment


def test_it_is_the_cup_of_scikit_image() -> None:
    pixels = photograph().pixels()

    assert np.abs(pixels.astype(np.int16) - data.coffee()).mean() < 4


def test_its_prompt_gives_the_cup_and_the_saucer() -> None:
    shown = photograph()
    outline = np.zeros((400, 600), np.uint8)
    for centre, axes in (((278, 229), (201, 159)), ((290, 113), (118, 96))):
        cv2.ellipse(outline, centre, axes, 0, 0, 360, 1, thickness=-1)

    assert iou(segment(shown.pixels(), shown.prompt).pixels(), outline.astype(np.bool_)) > 0.9
