"""Files that one process writes while others read them: replaced as a whole, and told to be another."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["file_state", "replace_file"]


def file_state(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written or replaced; the same for each file that is not there."""
    try:
        entry = path.stat()
    except OSError:
        return (0, 0, 0)
    return (entry.st_mtime_ns, entry.st_size, entry.st_ino)


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Put a file in the place of another at once, on disk when this returns; a reader meanwhile has the one before.

    Raises:
        OSError: The folder is not there or cannot be written to; nothing of the new file is left.
    """
    # Made with mode 600: nobody else sees what is written before the mode is set.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
