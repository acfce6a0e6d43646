"""Segmenters for `--model support.fakes:NAME` in tests that start the real process."""

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import DeviceFailed, ModelUnavailable, OutOfMemory
from sampoll.core.jobs import PROMPT_KINDS, Prompt, RgbImage
from sampoll.core.results import Mask
from support.mutants import MUTANTS
from support.segmenters import BoxSegmenter, KeptBoxes

if "MUTANT" in os.environ:
    MUTANTS[os.environ["MUTANT"]]().__enter__()

POISON_HEIGHT = 13
"""Images of this height make the segmenters below misbehave."""


def boxes(_: ModelSettings) -> BoxSegmenter:
    return BoxSegmenter()


class _TakesWords:
    """The factory of `words`: a model that takes all kinds of prompts."""

    prompts = PROMPT_KINDS

    def __call__(self, _: ModelSettings) -> BoxSegmenter:
        return BoxSegmenter()


words = _TakesWords()


class _Misbehaving(BoxSegmenter):
    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        if any(image.shape[0] == POISON_HEIGHT for image in images):
            self.misbehave()
        return super().embed(images)

    def misbehave(self) -> None:
        raise NotImplementedError


class _Killing(_Misbehaving):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class _Raising(_Misbehaving):
    def misbehave(self) -> None:
        raise ArithmeticError("the poison was found")


class _OutOfMemory(_Misbehaving):
    def misbehave(self) -> None:
        raise OutOfMemory("not enough memory for the poison")


class _Forgetful(BoxSegmenter):
    """Has no memory for its first batch."""

    _is_first = True

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        if self._is_first:
            self._is_first = False
            raise OutOfMemory("not enough memory for the first one")
        return super().embed(images)


class _Lost(_Misbehaving):
    def misbehave(self) -> None:
        raise DeviceFailed("the CUDA device failed: an illegal memory access was encountered")


class _LostOnce(_Lost):
    """Loses its device in the first process, which creates the file `$FAKES_STARTED`."""

    def misbehave(self) -> None:
        started = Path(os.environ["FAKES_STARTED"])
        if not started.exists():
            started.touch()
            super().misbehave()


class _HangingOnce(_Misbehaving):
    """Hangs in the first process, which creates the file `$FAKES_STARTED`."""

    def misbehave(self) -> None:
        started = Path(os.environ["FAKES_STARTED"])
        if not started.exists():
            started.touch()
            signal.pause()


class _Gone(_Misbehaving):
    def misbehave(self) -> None:
        raise ModelUnavailable("the model is gone")


class _Waiting(_Misbehaving):
    """Creates the file `$FAKES_STARTED` when it works, and continues once `$FAKES_GO` exists."""

    def misbehave(self) -> None:
        Path(os.environ["FAKES_STARTED"]).touch()
        while not Path(os.environ["FAKES_GO"]).exists():
            time.sleep(0.01)


def killing(_: ModelSettings) -> BoxSegmenter:
    return _Killing()


def raising(_: ModelSettings) -> BoxSegmenter:
    return _Raising()


def out_of_memory(_: ModelSettings) -> BoxSegmenter:
    return _OutOfMemory()


def forgetful(_: ModelSettings) -> BoxSegmenter:
    return _Forgetful()


def lost(_: ModelSettings) -> BoxSegmenter:
    return _Lost()


def lost_once(_: ModelSettings) -> BoxSegmenter:
    return _LostOnce()


def hanging_once(_: ModelSettings) -> BoxSegmenter:
    return _HangingOnce()


def gone(_: ModelSettings) -> BoxSegmenter:
    return _Gone()


class _NeverEmbedding(KeptBoxes):
    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        raise ArithmeticError("the encoder was called")


def kept(_: ModelSettings) -> BoxSegmenter:
    return _NeverEmbedding() if "FAKES_EMBEDS" in os.environ else KeptBoxes()


def waiting(_: ModelSettings) -> BoxSegmenter:
    return _Waiting()


class _KeptWaiting(_Waiting, KeptBoxes):
    pass


def kept_waiting(_: ModelSettings) -> BoxSegmenter:
    return _KeptWaiting()


class _Slow(BoxSegmenter):
    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        time.sleep(0.4 * len(images))
        return super().embed(images)


class _Hogging(_Misbehaving):
    """Creates the file `$FAKES_STARTED`, and then keeps the interpreter's lock for three seconds, as code of
    libraries may: no other thread of the process runs."""

    def misbehave(self) -> None:
        Path(os.environ["FAKES_STARTED"]).touch()
        ctypes.PyDLL(None).sleep(3)


class _Counted(KeptBoxes):
    """Writes a line for each image that it embeds to the file `$FAKES_EMBEDDED`."""

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        with Path(os.environ["FAKES_EMBEDDED"]).open("a") as file:
            file.write("embedded\n" * len(images))
        return super().embed(images)


class _Batched(BoxSegmenter):
    """Is slow, and writes the number of images of each batch to the file `$FAKES_EMBEDDED`."""

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        time.sleep(0.3)
        with Path(os.environ["FAKES_EMBEDDED"]).open("a") as file:
            file.write(f"{len(images)}\n")
        return super().embed(images)


def batched(_: ModelSettings) -> BoxSegmenter:
    return _Batched()


def slow(_: ModelSettings) -> BoxSegmenter:
    return _Slow()


def hogging(_: ModelSettings) -> BoxSegmenter:
    return _Hogging()


def counted(_: ModelSettings) -> BoxSegmenter:
    return _Counted()


class _Blind(BoxSegmenter):
    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return [
            [[Mask.from_array(np.zeros(image.shape[:2], np.bool_), 0.9)] for _ in prompts]
            for image, prompts in work
        ]


class _Broken(BoxSegmenter):
    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        raise ArithmeticError("the model is broken")


def blind(_: ModelSettings) -> BoxSegmenter:
    return _Blind()


def broken(_: ModelSettings) -> BoxSegmenter:
    return _Broken()
