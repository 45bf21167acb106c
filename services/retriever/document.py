"""What a reader makes of a file: blocks of text, each under its heading path."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from argo.errors import InvalidArgumentError
from services.retriever.furniture import is_furniture

__all__ = ["Block", "BlockKind", "BrokenDocumentError", "Outline", "ParsedDocument", "bounded_title"]

_TITLE_CHARACTERS: Final = 300
"""Of a heading or title, which every passage under it carries; no specification's is as long."""
_MOST_BLOCKS: Final = 500_000
_MOST_CHARACTERS: Final = 32_000_000
"""Of all blocks together; no reader of a plain document can reach it, one that unpacks or repeats can."""


class BrokenDocumentError(InvalidArgumentError):
    """A document's bytes are not what its media type says, or are larger than a reader will unpack."""


def bounded_title(text: str) -> str:
    """A heading or title on one line, cut where none is as long."""
    return " ".join(text[: 4 * _TITLE_CHARACTERS].split())[:_TITLE_CHARACTERS].rstrip()


class BlockKind(enum.Enum):
    """What a block is, which decides where it may be split."""

    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, list, table or code listing."""

    kind: BlockKind
    text: str
    """Without markup. Lists and tables have one item or row a line, cells parted by " | "."""
    headings: tuple[str, ...]
    """Heading path, outermost first."""
    page: int | None = None
    """Counted from 1, where the format has pages."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document without its markup and page furniture."""

    title: str
    """Empty where the document names none."""
    blocks: tuple[Block, ...]
    number: str = ""
    """Document number, such as O-RAN.WG4.CUS.0."""
    version: str = ""
    working_group: str = ""
    """Such as WG4."""


@dataclass(slots=True)
class Outline:
    """Collects blocks under the headings met so far, for readers that walk a file from top to bottom."""

    blocks: list[Block] = field(default_factory=list)
    _open: list[tuple[int, str]] = field(default_factory=list)
    _characters: int = 0

    def heading(self, level: int, text: str) -> None:
        """Open a section; sections of the same or a deeper level end."""
        text = bounded_title(text)
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        if text:
            self._open.append((level, text))

    @property
    def headings(self) -> tuple[str, ...]:
        """The heading path that the next block gets."""
        return tuple(text for _, text in self._open)

    def add(self, kind: BlockKind, text: str, page: int | None = None) -> None:
        """Add a block, unless it is blank, a licence header or navigation.

        Raises:
            BrokenDocumentError: There are too many, or they hold too much.
        """
        lines = [line.rstrip() for line in text.replace("\x00", "").splitlines()]
        text = "\n".join(line for line in lines if line.strip())
        if kind is BlockKind.PARAGRAPH:
            text = " ".join(text.split())
        if not text or is_furniture(text, self.headings):
            return
        self._characters += len(text)
        if self._characters > _MOST_CHARACTERS:
            raise BrokenDocumentError(f"its text must have at most {_MOST_CHARACTERS} characters, and has more")
        if len(self.blocks) >= _MOST_BLOCKS:
            raise BrokenDocumentError(f"it must have at most {_MOST_BLOCKS} paragraphs, lists and tables, and has more")
        self.blocks.append(Block(kind, text, self.headings, page))

    def first_heading(self) -> str:
        """The outermost heading of the first block that has one; empty if none has."""
        return next(self._outermost(), "")

    def _outermost(self) -> Iterator[str]:
        for block in self.blocks:
            if block.headings:
                yield block.headings[0]
        yield from (text for _, text in self._open[:1])
