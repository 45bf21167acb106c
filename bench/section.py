"""Documents as sections: a heading path, and what stands under it as paragraphs and described terms.

Read here by the formats' own libraries and not by the retriever's readers, so that what a question is made of does not
depend on what it measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from argo.errors import InvalidArgumentError
from bench import section_markdown, section_rst
from bench.outline import Outline, Section

__all__ = ["Document", "read_documents"]

_READERS: Final[Mapping[str, Callable[[str, Outline], None]]] = {
    ".md": section_markdown.read,
    ".rst": section_rst.read,
}


@dataclass(frozen=True)
class Document:
    """One file and its sections."""

    path: str
    """Relative to the documents' folder, with slashes."""
    text: str
    """As it stands in the file."""
    sections: tuple[Section, ...] = field(repr=False)

    @property
    def repository(self) -> str:
        """The first two folders of the path, owner and repository."""
        return "/".join(self.path.split("/")[:2])


def read_documents(docs: Path) -> Iterator[Document]:
    """Read every Markdown and reStructuredText file of a folder, in the order of their paths.

    Args:
        docs: Folder of `<owner>/<repository>/...`; files that lie higher belong to no repository and are passed over.

    Raises:
        InvalidArgumentError: It holds no such file, or one that cannot be parsed; names it.
    """
    paths = sorted(
        path for path in docs.rglob("*") if path.suffix.lower() in _READERS and len(path.relative_to(docs).parts) > 2
    )
    if not paths:
        raise InvalidArgumentError(f"docs must hold <owner>/<repository>/... with .md or .rst files, got {docs}")
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        outline = Outline()
        try:
            _READERS[path.suffix.lower()](text, outline)
        except Exception as error:
            # The parsers raise what they like on broken input.
            raise InvalidArgumentError(
                f"docs must hold documents that can be parsed, got {path}: {type(error).__name__}"
            ) from error
        yield Document(path.relative_to(docs).as_posix(), text, outline.sections())
