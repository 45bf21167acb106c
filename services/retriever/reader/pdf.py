"""PDF, by pypdf: text page by page, without running headers, footers and the table of contents."""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from typing import Final

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from services.retriever.document import BrokenDocumentError, Outline, ParsedDocument
from services.retriever.furniture import is_toc_line
from services.retriever.reader.text import add_paragraphs

__all__ = ["read"]

_MOST_PAGES: Final = 3_000
_MOST_CHARACTERS: Final = 30_000_000
"""A few kilobytes of compressed streams can unpack to gigabytes; no specification comes near this."""
_EDGE_LINES: Final = 3
"""Running headers and footers stand in the first and last lines of a page."""
_RUNNING_SHARE: Final = 0.5
_FEWEST_PAGES_FOR_RUNNING: Final = 4
_DIGITS: Final = re.compile(r"\d+")
_SENTENCE_END: Final = re.compile(r"[.!?:;]\s*$")


def read(data: bytes) -> ParsedDocument:
    """Read a PDF file that has text; a scan without any is refused, as there is nothing to index in it.

    Raises:
        BrokenDocumentError: Not a PDF, encrypted, without text, or too large.
    """
    pages, title = _pages(data)
    if not any(line.strip() for page in pages for line in page):
        raise BrokenDocumentError(f"its {len(pages)} pages hold no text; a scan needs text recognition first")
    running = _running_lines(pages)
    outline = Outline()
    for number, lines in enumerate(pages, start=1):
        kept = [line for line in lines if _shape(line) not in running and not is_toc_line(line)]
        add_paragraphs(outline, _paragraphs(kept), page=number)
    return ParsedDocument(title=title or outline.first_heading(), blocks=tuple(outline.blocks))


def _pages(data: bytes) -> tuple[list[list[str]], str]:
    """Lines of each page, and the title of the document's own information."""
    # pypdf reports each oddity of a file as a warning; whether the file could be read is what the outcome says.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise BrokenDocumentError("it is encrypted; remove its password first")
        if len(reader.pages) > _MOST_PAGES:
            raise BrokenDocumentError(f"it must have at most {_MOST_PAGES} pages, got {len(reader.pages)}")
        pages: list[list[str]] = []
        characters = 0
        for page in reader.pages:
            text = page.extract_text()
            characters += len(text)
            if characters > _MOST_CHARACTERS:
                raise BrokenDocumentError(f"its text must have at most {_MOST_CHARACTERS} characters")
            pages.append(text.splitlines())
        title = str((reader.metadata.title if reader.metadata else None) or "").strip()
    except PyPdfError as error:
        raise BrokenDocumentError(f"{type(error).__name__}: {error}") from error
    return pages, title


def _shape(line: str) -> str:
    """A line with its numbers and blanks made equal, so that "Page 3" and "Page 4" are the same."""
    return " ".join(_DIGITS.sub("0", line).split())


def _running_lines(pages: list[list[str]]) -> set[str]:
    """Shapes of the lines that stand at the edge of at least half of the pages."""
    if len(pages) < _FEWEST_PAGES_FOR_RUNNING:
        return set()
    counts: Counter[str] = Counter()
    for lines in pages:
        filled = [line for line in lines if line.strip()]
        counts.update({_shape(line) for line in filled[:_EDGE_LINES] + filled[-_EDGE_LINES:]})
    return {shape for shape, count in counts.items() if count >= _RUNNING_SHARE * len(pages)}


def _paragraphs(lines: list[str]) -> list[str]:
    """Lines with words joined over line ends, and a blank line where a paragraph seems to end.

    PDF has no paragraphs: one ends where a line closes a sentence and is clearly shorter than the widest line.
    """
    widest = max((len(line) for line in lines), default=0)
    result: list[str] = []
    for line in lines:
        if result and result[-1].endswith("-") and line[:1].islower():
            result[-1] = result[-1][:-1] + line
        else:
            result.append(line)
        if _SENTENCE_END.search(line) and len(line) < 0.8 * widest:
            result.append("")
    return result
