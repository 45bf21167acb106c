"""The small files by which a running stack is found: written in one step, and never the reason for its end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deploy.terminal import shown

__all__ = ["Tell", "publish_file", "write_file"]

Tell = Callable[[str], None]
"""Takes a line for the user."""


def write_file(path: Path, value: Any, tell: Tell) -> None:
    """Write a value as JSON in one step, so that no reader sees half of it.

    A full disk ends no service, so it must not end the stack: what cannot be written is told, and stays as it was.

    Args:
        path: The file; its folder is made.
        value: What JSON can hold.
        tell: Takes the line that says why it could not be written.
    """
    new = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        tell(
            f"{path.name} cannot be written: {error.strerror} ({shown(path)}); "
            "the stack goes on, and those that read the file see what was there before"
        )


@contextlib.contextmanager
def publish_file(path: Path, value: Any, tell: Tell) -> Iterator[None]:
    """Have a file there, as :func:`write_file` writes it, until the block is left."""
    write_file(path, value, tell)
    try:
        yield
    finally:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            tell(f"{path.name} cannot be taken away: {error.strerror} ({shown(path)})")
