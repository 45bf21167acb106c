"""Readers: bytes and a media type to a parsed document, one module for each format.

The libraries behind a format load when its first document comes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from argo.errors import InvalidArgumentError
from argo.limits import DOCUMENT_BYTES
from services.retriever.document import BrokenDocumentError, ParsedDocument, bounded_title
from services.retriever.metadata import read_metadata

__all__ = ["MEDIA_TYPES", "detect_media_type", "read_document"]

Reader = Callable[[bytes], ParsedDocument]

_DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "text/markdown": "markdown",
        "text/x-rst": "restructuredtext",
        "text/plain": "text",
        "text/html": "html",
        "application/pdf": "pdf",
        _DOCX: "docx",
    }
)
"""Media type to the module of this package that reads it."""
_ENDINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "md": "text/markdown",
        "markdown": "text/markdown",
        "rst": "text/x-rst",
        "rest": "text/x-rst",
        "txt": "text/plain",
        "text": "text/plain",
        "html": "text/html",
        "htm": "text/html",
        "xhtml": "text/html",
        "pdf": "application/pdf",
        "docx": _DOCX,
    }
)
_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"text/x-markdown": "text/markdown", "text/prs.fallenstein.rst": "text/x-rst", "application/xhtml+xml": "text/html"}
)


def detect_media_type(source: str, media_type: str = "") -> str:
    """The media type to read a document by.

    Args:
        source: Path or URL; its ending decides where no media type is given.
        media_type: What the caller says, parameters such as "; charset=utf-8" allowed; empty for unknown.

    Raises:
        InvalidArgumentError: No reader for it; the message lists those there are.
    """
    given = media_type.partition(";")[0].strip().lower()
    if given:
        known = _ALIASES.get(given, given)
    else:
        name = source.partition("?")[0].rsplit("/", 1)[-1]
        known = _ENDINGS.get(name.rsplit(".", 1)[-1].lower(), "") if "." in name else ""
    if known not in MEDIA_TYPES:
        raise InvalidArgumentError(
            f"media_type of {source!r} must be one of {', '.join(sorted(MEDIA_TYPES))} "
            f"or the source must end in one of {', '.join('.' + ending for ending in _ENDINGS)}, got {media_type!r}"
        )
    return known


def read_document(data: bytes, media_type: str, source: str) -> ParsedDocument:
    """Read a document's text and structure.

    Args:
        data: The file's bytes.
        media_type: One of MEDIA_TYPES, as detect_media_type returns it.
        source: Path or URL; document numbers are often part of it.

    Raises:
        BrokenDocumentError: The bytes are not of that type, or are too large to unpack.
    """
    if len(data) > DOCUMENT_BYTES:
        raise BrokenDocumentError(f"a document must have at most {DOCUMENT_BYTES} bytes, {source!r} has {len(data)}")
    module = importlib.import_module(f"{__name__}.{MEDIA_TYPES[media_type]}")
    read: Reader = module.read
    try:
        document = read(data)
    except BrokenDocumentError as error:
        raise BrokenDocumentError(f"{source!r} cannot be read as {media_type}: {error}") from error
    except Exception as error:
        # The parsers raise what they like on broken input (KeyError, RecursionError, struct.error and others), and one
        # broken file must not end an ingest. The cause stays on the chain for the log.
        raise BrokenDocumentError(
            f"{source!r} cannot be read as {media_type}: {type(error).__name__} while parsing"
        ) from error
    document = replace(document, title=bounded_title(document.title))
    number, version, working_group = read_metadata(source, document)
    return replace(document, number=number, version=version, working_group=working_group)
