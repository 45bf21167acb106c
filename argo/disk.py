"""How much room is left on a disk: what a library calls an I/O error is often a full one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["free_bytes", "shown_size"]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


def free_bytes(path: Path) -> int:
    """Bytes that may still be written to the disk of a file or folder, there or not; 0 where it takes no more files."""
    for place in (path, *path.absolute().parents):
        try:
            room = os.statvfs(place)
        except OSError:
            continue
        # A file system that does not count files has 0 of 0.
        return 0 if room.f_files > 0 and room.f_favail == 0 else room.f_bavail * room.f_frsize
    return 0


def shown_size(size_bytes: int) -> str:
    """A size for a message: "12 KiB", "340 MiB"."""
    return f"{size_bytes // _KIB} KiB" if size_bytes < 10 * _MIB else f"{size_bytes // _MIB} MiB"
