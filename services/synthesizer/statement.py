"""Passages as statements: sentences, list items with their lead-in, table rows with their head, lines of code.

A statement can be read by itself. Headings, tables of contents, licence lines and leftovers of markup are none.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.lexicon.sentence import split_sentences
from services.lexicon.tokenise import raw_words, word_terms

__all__ = ["Statement", "StatementKind", "read_statements"]

_CELL: Final = " | "
_ITEM: Final = re.compile(r"^\s*(?:[-*+\u2022\u25e6\u2013]|\(?(?:\d{1,3}|[a-zA-Z])[.)])\s+(?=\S)")
_HEADING_WORDS: Final = 14
_FURNITURE: Final = re.compile(
    r"SPDX-License|licensed under|all rights reserved|^\W*copyright\b|(?:\.\s?){4,}\s*\d*\s*$|"
    r"^\W*(?:table of )?contents\W*$|"
    r"^\W*(?:see also|note|warning|tip|todo|tbd|n/a)\W*$|^\s*https?://\S+\s*$|^\W*(?:figure|fig\.|table)\s+[\d.]+\b.{0,80}$",
    re.IGNORECASE,
)
_MARKED: Final = re.compile(r"[*`_\[<:|]")
_MARKUP: Final = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r":[a-z]+:`([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]+>`_{1,2}"), r"\1"),
    (re.compile(r"`{1,3}([^`]+)`{1,3}_{0,2}"), r"\1"),
    (re.compile(r"\*\*([^*\s][^*]*?)\*\*|(?<!\w)\*([^*\s][^*]*?)\*(?!\w)"), r"\1\2"),
    (
        re.compile(r"</?[a-zA-Z][^<>]{0,80}/?>(?![\w:/])"),
        lambda match: match[0] if match[0].isupper() or "_" in match[0] else "",
    ),
)
_FRAGMENT_END: Final = re.compile(r"[.!?:;][\"')\]]*$")
_LETTER: Final = re.compile(r"[A-Za-z]")
_LEAST_WORDS: Final = 4
_LONGEST_WORDS: Final = 80
_LONGEST_LEAD_WORDS: Final = 40
_MOST_CELLS: Final = 7
_HEAD_WORDS: Final = 5


class StatementKind(enum.Enum):
    """Where a statement comes from."""

    PROSE = "prose"
    ITEM = "item"
    ROW = "row"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Statement:
    """Something a passage says that can be read by itself."""

    passage: int
    """Place of the passage in the evidence."""
    place: int
    """Place of the statement in its passage."""
    kind: StatementKind
    text: str
    """As it is shown: without markup, with lead-in or head."""
    quote: str
    """The words of the passage."""
    order: tuple[str, ...]
    """Index terms in order, with repetition."""
    terms: frozenset[str]
    heading: frozenset[str]
    """Index terms of the headings above it."""


def read_statements(passage: int, text: str, section: str) -> Sequence[Statement]:
    """What a passage says, in reading order.

    Args:
        passage: Place of the passage in the evidence, kept in each statement.
        text: The passage: paragraphs, items, rows and headings one a line, code between fences.
        section: Its heading path.
    """
    return [
        Statement(passage, place, kind, shown, quote, order, terms, heading)
        for place, (kind, shown, quote, order, terms, heading) in enumerate(_read(text, section))
    ]


_Raw = tuple[StatementKind, str, str, tuple[str, ...], frozenset[str], frozenset[str]]


@lru_cache(maxsize=4_096)
def _read(text: str, section: str) -> tuple[_Raw, ...]:
    """The same without the place, cached: popular passages come back with every other question."""
    reader = _Reader(section)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        reader.line(line, lines[number + 1] if number + 1 < len(lines) else "")
    return tuple(reader.found)


class _Reader:
    """Walks the lines of one passage."""

    def __init__(self, section: str) -> None:
        self.found: list[_Raw] = []
        self._section = frozenset(_terms(section))
        self._heading = self._section
        self._lead = ""
        self._head: list[str] = []
        self._in_table = False
        self._code = False

    def line(self, line: str, following: str) -> None:
        """Take in one line, knowing the next."""
        bare = line.strip()
        self._in_table = self._in_table and _CELL in bare
        if bare.startswith("```"):
            self._code = not self._code
        elif self._code:
            self._add(StatementKind.CODE, bare, bare)
        elif not bare or _FURNITURE.search(bare):
            self._lead = ""
        elif _CELL in bare:
            self._row([cell.strip() for cell in bare.split(_CELL)], bare)
        elif item := _ITEM.match(line):
            self._item(line[item.end() :].strip())
        elif self._is_heading(bare, following):
            self._lead = ""
            self._heading = self._section | frozenset(_terms(bare))
        else:
            self._paragraph(bare)

    def _is_heading(self, bare: str, following: str) -> bool:
        """Whether a line is the heading of a packed section: short, unpunctuated, with something under it."""
        return bool(following.strip()) and len(bare.split()) <= _HEADING_WORDS and not re.search(r"[.:;!?,]$", bare)

    def _paragraph(self, bare: str) -> None:
        """Sentences; one that ends in a colon leads the items or code below it."""
        sentences = split_sentences(bare)
        self._lead = sentences[-1] if sentences and sentences[-1].endswith(":") else ""
        for sentence in sentences:
            if not sentence.endswith(":"):
                self._add(StatementKind.PROSE, clean(sentence), sentence)

    def _item(self, item: str) -> None:
        """Sentences of a list item; a fragment is read with its lead-in."""
        sentences = split_sentences(item)
        if sentences and sentences[-1].endswith(":"):
            self._lead = sentences.pop()
        for sentence in sentences:
            shown = clean(sentence)
            fragment = len(shown.split()) < _LEAST_WORDS + 2 or not _FRAGMENT_END.search(shown)
            if self._lead and fragment and len(self._lead.split()) <= _LONGEST_LEAD_WORDS:
                shown = f"{clean(self._lead)} {shown}"
            self._add(StatementKind.ITEM, shown, sentence)

    def _row(self, cells: list[str], bare: str) -> None:
        """A table row, each cell named by the table's first row; a list of terms has no such row."""
        if not self._in_table:
            self._in_table = True
            is_head = all(len(cell.split()) <= _HEAD_WORDS and not cell.endswith(".") for cell in cells)
            self._head = cells if is_head else []
            if is_head:
                return
        cells = [clean(cell) for cell in cells]
        if len(cells) == len(self._head) <= _MOST_CELLS:
            pairs = zip(self._head, cells, strict=True)
            shown = "; ".join(f"{clean(name)}: {cell}" if name else cell for name, cell in pairs if cell)
        else:
            shown = f"{cells[0]}: {'; '.join(cell for cell in cells[1:] if cell)}"
        self._add(StatementKind.ROW, shown, bare)

    def _add(self, kind: StatementKind, shown: str, quote: str) -> None:
        """Keep what is long enough to say something and short enough to be read."""
        words = len(shown.split())
        if kind is not StatementKind.CODE and not _LEAST_WORDS <= words <= _LONGEST_WORDS:
            return
        if not shown or words > _LONGEST_WORDS or len(_LETTER.findall(shown)) * 2 < len(shown.replace(" ", "")):
            return
        order = _terms(shown)
        self.found.append((kind, shown, quote, order, frozenset(order), self._heading))


def _terms(text: str) -> tuple[str, ...]:
    """Index terms in order."""
    return tuple(term for word in raw_words(text) for term in word_terms(word))


def clean(text: str) -> str:
    """A text without markup of Markdown or reStructuredText, white space folded."""
    if _MARKED.search(text):
        for pattern, replacement in _MARKUP:
            text = pattern.sub(replacement, text)
    return " ".join(text.split())
