"""A passage as Chroma keeps it: its text, and the rest as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.retriever.passage import Passage
from services.retriever.store import StoredPassage

__all__ = ["from_chroma", "to_metadata"]


def to_metadata(stored: StoredPassage) -> dict[str, str | int]:
    """What Chroma keeps beside a text; it takes no None."""
    passage = stored.passage
    metadata: dict[str, str | int] = {
        "source": passage.source,
        "title": passage.title,
        "section": passage.section,
        "media_type": passage.media_type,
        "number": passage.number,
        "version": passage.version,
        "working_group": passage.working_group,
        "content_hash": stored.content_hash,
        "rules": stored.rules,
        "index": stored.index,
        "count": stored.count,
    }
    if passage.page is not None:
        metadata["page"] = passage.page
    return metadata


def from_chroma(identifier: str, text: str, metadata: Mapping[str, Any]) -> StoredPassage:
    """The passage that :func:`to_metadata` was made of."""
    passage = Passage(
        id=identifier,
        text=text,
        source=str(metadata["source"]),
        title=str(metadata["title"]),
        section=str(metadata["section"]),
        media_type=str(metadata["media_type"]),
        page=int(metadata["page"]) if "page" in metadata else None,
        number=str(metadata["number"]),
        version=str(metadata["version"]),
        working_group=str(metadata["working_group"]),
    )
    return StoredPassage(
        passage, str(metadata["content_hash"]), str(metadata["rules"]), int(metadata["index"]), int(metadata["count"])
    )
