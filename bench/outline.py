"""What a reader fills while it walks a document: headings, and the text under each."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Outline", "Section"]


@dataclass(frozen=True)
class Section:
    """The text between one heading and the next."""

    headings: tuple[str, ...]
    """Heading path, outermost first."""
    line: int
    """Of the heading, counted from 1."""
    paragraphs: tuple[str, ...]
    """Paragraphs and list items, each on one line, without markup."""
    terms: tuple[tuple[str, str], ...]
    """Described terms: a term and its description, of definition lists and of the first two columns of tables."""

    @property
    def heading(self) -> str:
        """The innermost heading."""
        return self.headings[-1]


@dataclass
class Outline:
    """Collects text under the headings met so far; text above the first heading is dropped."""

    _open: list[tuple[int, str]] = field(default_factory=list)
    _line: int = 1
    _paragraphs: list[str] = field(default_factory=list)
    _terms: list[tuple[str, str]] = field(default_factory=list)
    _done: list[Section] = field(default_factory=list)

    def heading(self, level: int, text: str, line: int) -> None:
        """Close the section before, and open one; sections of the same or a deeper level end."""
        self._close()
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(text.split())))
        self._line = line

    def paragraph(self, text: str) -> None:
        """Add a paragraph or a list item."""
        if folded := " ".join(text.split()):
            self._paragraphs.append(folded)

    def term(self, term: str, description: str) -> None:
        """Add a described term."""
        self._terms.append((" ".join(term.split()), " ".join(description.split())))

    def _close(self) -> None:
        if self._open and all(text for _, text in self._open):
            headings = tuple(text for _, text in self._open)
            self._done.append(Section(headings, self._line, tuple(self._paragraphs), tuple(self._terms)))
        self._paragraphs, self._terms = [], []

    def sections(self) -> tuple[Section, ...]:
        """Every section, in the order of the document."""
        self._close()
        self._open = []
        return tuple(self._done)
