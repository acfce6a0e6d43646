"""What is forced to the disk, and when."""

from enum import Enum


class Durability(Enum):
    """What is forced to the disk, and when. It matters for power cuts only: a killed process loses nothing.

    FILE forces each file by itself. BATCH writes the files of a group and then forces their filesystem once.
    """

    BATCH = "batch"
    FILE = "file"
    OFF = "off"
