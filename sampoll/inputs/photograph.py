"""The photograph that ships with sampoll: a cup of coffee, by Rachel Michetti, CC0.

It is `skimage.data.coffee()` of scikit-image, as a JPEG.
"""

from dataclasses import dataclass
from pathlib import Path

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.jobs import Box, Prompt, RgbImage
from sampoll.inputs.decode import decode_image

_FILE = Path(__file__).with_name("coffee.jpg")


@dataclass(frozen=True)
class Photograph:
    """An image file, and a prompt for the object that it shows."""

    file_name: str
    content: bytes
    prompt: Prompt

    def pixels(self) -> RgbImage:
        return decode_image(self.content, self.file_name, LimitSettings().max_pixels)


def photograph() -> Photograph:
    """A cup on its saucer, 600 x 400 pixels, with a box around both."""
    prompt = Prompt(box=Box(72, 10, 488, 392), label="cup")
    return Photograph(_FILE.name, _FILE.read_bytes(), prompt)
