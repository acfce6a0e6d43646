"""The sizes of Hiera, SAM 2's image encoder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HieraSizes:
    """Of one model: channels and heads of the first stage, blocks and windows of each stage, the blocks that
    attend to the whole image, and the rows and columns of the positions that are stretched over the image."""

    width: int
    heads: int
    depths: tuple[int, ...]
    global_blocks: tuple[int, ...]
    windows: tuple[int, ...] = (8, 4, 14, 7)
    background: int = 7

    @property
    def depth(self) -> int:
        return sum(self.depths)
