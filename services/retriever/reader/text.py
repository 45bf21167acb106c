"""Plain text: paragraphs between blank lines, headings where they are underlined or numbered."""

from __future__ import annotations

import re
from typing import Final

from services.retriever.document import BlockKind, Outline, ParsedDocument
from services.retriever.reader.encoding import decode

__all__ = ["NUMBERED_HEADING", "add_paragraphs", "read"]

_UNDERLINE: Final = re.compile(r"^([=\-~^*#])\1{2,}\s*$")
NUMBERED_HEADING: Final = re.compile(r"^(\d{1,2}(?:\.\d{1,3}){0,5})\.?\s{1,4}([A-Z][^.!?;:|]{2,80})$")
"""A clause heading of a specification, such as "5.3.2 Delay management"."""
_LIST_ITEM: Final = re.compile(r"^\s*(?:[-*+\u2022\u25e6\u25aa]|\(?\d{1,3}[.)]|[a-z]\))\s+\S")


def read(data: bytes) -> ParsedDocument:
    """Read a plain text file."""
    outline = Outline()
    add_paragraphs(outline, decode(data).split("\n"))
    return ParsedDocument(title=outline.first_heading(), blocks=tuple(outline.blocks))


def add_paragraphs(outline: Outline, lines: list[str], page: int | None = None) -> None:
    """Add the paragraphs and lists of running text to an outline, opening sections at its headings."""
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            listed = any(_LIST_ITEM.match(line) for line in paragraph)
            outline.add(BlockKind.LIST if listed else BlockKind.PARAGRAPH, "\n".join(_joined(paragraph)), page)
            paragraph.clear()

    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if not line.strip() or _UNDERLINE.match(line):
            close()
        elif _is_underlined(line, following, paragraph):
            close()
            outline.heading("=-~^*#".index(following.strip()[0]) + 1, line)
        elif not paragraph and (numbered := NUMBERED_HEADING.match(line.strip())):
            outline.heading(numbered.group(1).count(".") + 1, line)
        else:
            paragraph.append(line)
    close()


def _is_underlined(line: str, following: str, paragraph: list[str]) -> bool:
    return not paragraph and bool(_UNDERLINE.match(following)) and len(following.strip()) >= len(line.strip()) - 2


def _joined(lines: list[str]) -> list[str]:
    """Lines of a list with wrapped ones joined to their item."""
    joined: list[str] = []
    for line in lines:
        if joined and not _LIST_ITEM.match(line):
            joined[-1] = f"{joined[-1]} {line.strip()}"
        else:
            joined.append(line)
    return joined
