"""How much room is left on a disk: what a library calls an I/O error is often a full one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["disk_state", "is_full"]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


def is_full(path: Path, needed_bytes: int) -> bool:
    """Whether the disk of a file or folder, there or not, has no room for so many bytes, or for one file more."""
    room = _room(path)
    # A file system that counts no files says 0 of 0.
    return room is not None and (
        room.f_bavail * room.f_frsize < needed_bytes or (room.f_files > 0 and room.f_favail == 0)
    )


def disk_state(path: Path) -> str:
    """The disk of a file or folder in words for a message: "its disk is full, with 12 KiB free"."""
    room = _room(path)
    if room is None:
        return "its disk is full"
    if room.f_files > 0 and room.f_favail == 0:
        return f"its disk is full: it holds {room.f_files} files, the most that it can"
    free_bytes = room.f_bavail * room.f_frsize
    free = f"{free_bytes // _KIB} KiB" if free_bytes < 10 * _MIB else f"{free_bytes // _MIB} MiB"
    return f"its disk is full, with {free} free"


def _room(path: Path) -> os.statvfs_result | None:
    for place in (path, *path.absolute().parents):
        try:
            return os.statvfs(place)
        except OSError:
            continue
    return None
