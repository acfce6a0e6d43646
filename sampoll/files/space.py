"""How much room a disk has."""

import os


def free_bytes(room: os.statvfs_result) -> int:
    """What users without privileges may still write."""
    return room.f_bavail * room.f_frsize
