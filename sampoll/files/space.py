"""The free space of a disk."""

import os


def free_bytes(room: "os.statvfs_result") -> int:
    """The bytes that users without privileges may still write."""
    return room.f_bavail * room.f_frsize
