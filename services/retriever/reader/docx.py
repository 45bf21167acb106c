"""DOCX, by python-docx: paragraphs, lists and tables under their heading styles."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Final

import docx
from docx.document import Document
from docx.table import Table
from docx.text.paragraph import Paragraph

from services.retriever.document import BlockKind, BrokenDocumentError, Outline, ParsedDocument

__all__ = ["read"]

_MOST_UNPACKED_BYTES: Final = 256 * 1024 * 1024
"""A DOCX file is a ZIP archive; a hostile one of a few kilobytes can claim terabytes."""
_MOST_ENTRIES: Final = 10_000
_HEADING: Final = re.compile(r"^(?:heading|\u00fcberschrift|titre)\s*(\d)$", re.IGNORECASE)
_LIST_STYLE: Final = re.compile(r"^(?:list|bullet)", re.IGNORECASE)
_FURNITURE_STYLE: Final = re.compile(r"^(?:toc|table of figures|header|footer|index)\b", re.IGNORECASE)


def read(data: bytes) -> ParsedDocument:
    """Read a DOCX file.

    Raises:
        BrokenDocumentError: Not a DOCX archive, or one that unpacks to too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # These sizes bound what is unpacked also where they lie: an entry is read no further than its own says.
            entries = len(archive.infolist())
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise BrokenDocumentError(str(error)) from error
    if unpacked > _MOST_UNPACKED_BYTES:
        raise BrokenDocumentError(f"it must unpack to at most {_MOST_UNPACKED_BYTES} bytes, got {unpacked}")
    if entries > _MOST_ENTRIES:
        raise BrokenDocumentError(f"it must hold at most {_MOST_ENTRIES} files, got {entries}")
    document: Document = docx.Document(io.BytesIO(data))
    outline = Outline()
    title = str(document.core_properties.title or "").strip()
    listed: list[str] = []
    for item in document.iter_inner_content():
        style = (item.style.name or "") if item.style is not None else ""
        if isinstance(item, Paragraph) and _LIST_STYLE.match(style) and item.text.strip():
            listed.append(f"- {' '.join(item.text.split())}")
            continue
        outline.add(BlockKind.LIST, "\n".join(listed))
        listed.clear()
        if isinstance(item, Table):
            outline.add(BlockKind.TABLE, "\n".join(_rows(item)))
        elif heading := _HEADING.match(style):
            outline.heading(int(heading.group(1)), item.text)
        elif style.lower() == "title":
            title = title or item.text.strip()
        elif not _FURNITURE_STYLE.match(style):
            outline.add(BlockKind.PARAGRAPH, item.text)
    outline.add(BlockKind.LIST, "\n".join(listed))
    return ParsedDocument(title=title or outline.first_heading(), blocks=tuple(outline.blocks))


def _rows(table: Table) -> list[str]:
    """Rows with cells parted by " | "; a cell merged over columns is named once."""
    lines: list[str] = []
    for row in table.rows:
        cells: list[str] = []
        before: object = None
        for cell in row.cells:
            if cell._tc is not before:  # python-docx has no public way to tell a merged cell from an equal one
                cells.append(" ".join(cell.text.split()))
            before = cell._tc
        lines.append(" | ".join(cells))
    return [line for line in lines if line.strip(" |")]
