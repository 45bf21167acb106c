"""What the launcher tells its user: short lines on stderr, so that stdout is the answer's alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

__all__ = ["Terminal", "shown"]


def shown(path: Path) -> str:
    """A path as its reader would type it: relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class Terminal:
    """Writes lines, and on a terminal one line that is written over.

    Args:
        stream: Where to; stderr when None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._passing = False

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self._clear()
        self._write(f"{text}\n")

    def passing(self, text: str) -> None:
        """Write a line that the next one replaces; nothing where the stream is no terminal."""
        if self._live:
            self._clear()
            self._write(text)
            self._passing = True

    def quote(self, lines: Sequence[str]) -> None:
        """Write another program's lines, set off from our own."""
        for line in lines:
            self.line(f"  | {line}")

    def _clear(self) -> None:
        if self._passing:
            self._write("\r\x1b[2K")
            self._passing = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
