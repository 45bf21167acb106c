"""Words on a terminal: one line, one paragraph, one place in a document."""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from argo.result import Citation, Passage

__all__ = ["RELEVANT", "TextFlow", "clean", "line", "paragraph", "place_of"]

RELEVANT = 0.5
"""Relevance from which a passage is shown as one that answers."""
_WIDEST_TEXT = 100


def clean(text: str) -> str:
    """The text without control characters, which a document could use to write over the terminal."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf")
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def line(console: Console, *parts: str | tuple[str, str], indent: int = 0) -> None:
    """Show one line, cut at the edge, for what is scanned and not read; a part is text, or text with its style."""
    text = Text.assemble(" " * indent, *(_cleaned(part) for part in parts))
    console.print(text, no_wrap=True, overflow="ellipsis")


def _cleaned(part: str | tuple[str, str]) -> str | tuple[str, str]:
    if isinstance(part, str):
        return clean(part).replace("\n", " ")
    return clean(part[0]).replace("\n", " "), part[1]


def paragraph(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    """Show words to be read, wrapped at a readable width."""
    width = min(console.width, _WIDEST_TEXT)
    words = Text(clean(text), style=style)
    console.print(Padding(words, (0, 0, 0, indent), expand=False) if indent else words, width=width)


def place_of(passage: Passage | Citation, room: int) -> str:
    """Source and headings in at most room characters; the outer headings go first, since the innermost says most."""
    page = passage.page if isinstance(passage, Passage) else None
    tail = f", page {page}" if page is not None else ""
    headings = passage.section.split(" > ") if passage.section else []
    place = " > ".join([passage.source, *headings]) + tail
    while len(place) > room and len(headings) > 1:
        headings = headings[1:]
        place = " > ".join([passage.source, "\N{HORIZONTAL ELLIPSIS}", *headings]) + tail
    return place


class TextFlow:
    """Writes text as it arrives, wrapped between words."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDEST_TEXT)
        self._written = ""
        self._waiting = ""
        self._column = 0

    def write(self, text: str) -> None:
        """Write the words that are whole; the last one waits for what follows."""
        if not self._written:
            self._console.print()
        self._written += text
        *words, self._waiting = re.split(r"(?<=\s)", self._waiting + clean(text))
        for word in words:
            self._put(word)

    def finish(self) -> str:
        """Write what waits and end the line; returns all that was written, without outer blanks."""
        if self._written:
            self._put(self._waiting)
            self._console.print()
        written, self._written, self._waiting, self._column = self._written.strip(), "", "", 0
        return written

    def _put(self, word: str) -> None:
        bare = cell_len(word.rstrip())
        if self._column and self._column + bare > self._width:
            self._console.print()
            self._column = 0
        # Blanks at the edge would wrap by themselves.
        shown = word if self._column + cell_len(word) < self._width else word.rstrip(" ")
        self._console.print(Text(shown), end="", soft_wrap=True)
        self._column = 0 if "\n" in word else self._column + cell_len(word)
