"""Bytes of a text file to characters."""

from __future__ import annotations

from services.retriever.document import BrokenDocumentError

__all__ = ["decode"]


def decode(data: bytes) -> str:
    """Decode as the byte-order mark says, else UTF-8, else Windows-1252; line ends become line feeds.

    Raises:
        BrokenDocumentError: The bytes hold NUL characters, so that they are not text at all.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    if "\x00" in text:
        raise BrokenDocumentError("holds NUL characters, so it is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
