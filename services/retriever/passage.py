"""Documents into passages that follow their structure: whole sections where they fit, whole tables, a word cap."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from services.lexicon.sentence import split_sentences
from services.retriever.document import Block, BlockKind, ParsedDocument

__all__ = ["PIPELINE", "Passage", "PassageRules", "make_passages"]

PIPELINE: Final = "2"
"""Version of readers and passage rules; a document indexed under another one is read again."""
SECTION_JOINT: Final = " > "
_FENCE: Final = "```"
_LONG_WORD: Final = re.compile(r"\S{300}(?=\S)")
"""What is longer than any address, such as an embedded file: cut, since all limits are in words."""


class PassageRules(BaseModel):
    """How large passages get; all in words, as parted by blanks."""

    model_config = ConfigDict(frozen=True)

    words: int = Field(default=260, ge=40, le=1_000)
    """Most words of a passage."""
    table_words: int = Field(default=280, ge=40, le=2_000)
    """A table up to this size stays whole; a longer one is split between rows, each part with the head row."""
    overlap_words: int = Field(default=30, ge=0, le=200)
    """Most words that a passage repeats of the one before it in the same section."""
    pack_words: int = Field(default=260, ge=0, le=1_000)
    """A small section is packed with its neighbours into one passage up to this size; 0 keeps every section apart."""
    small_words: int = Field(default=110, ge=0, le=1_000)
    """A section of fewer words is small; larger ones stand alone, so that a citation names the section it is from."""

    def fingerprint(self) -> str:
        """Text that changes when the same document would give other passages."""
        return f"{PIPELINE}/{self.words}/{self.table_words}/{self.overlap_words}/{self.pack_words}/{self.small_words}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, as it is stored and found."""

    id: str
    text: str
    """Paragraphs, list items, rows and the headings of packed sections, one a line; code stands between fences."""
    source: str
    title: str
    section: str
    """Heading path, outermost first, joined with " > "; where sections were packed, what they share."""
    media_type: str = ""
    page: int | None = None
    number: str = ""
    version: str = ""
    working_group: str = ""

    @property
    def indexed_text(self) -> str:
        """What embedders and the lexical index read: the title and headings give a passage its subject."""
        head = self.section if self.title in self.section else f"{self.title}{SECTION_JOINT}{self.section}"
        return f"{head}\n{self.text}"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that is not split any further."""

    text: str
    words: int
    headings: tuple[str, ...]
    page: int | None
    kind: BlockKind


def make_passages(
    document: ParsedDocument, *, source: str, content_hash: str, media_type: str, rules: PassageRules
) -> list[Passage]:
    """Cut a document into passages.

    A section that fits is one passage; small neighbours under the same heading are packed together, each with its
    own heading line; a longer section is cut into parts of about equal length, at paragraphs, list items, rows or
    sentences, with some overlap.

    Args:
        document: What a reader returned.
        source: Path or URL, part of each passage's id.
        content_hash: SHA-256 of the document's bytes.
        media_type: As detected.
        rules: Word limits.

    Returns:
        Passages in the order of the document; none where it holds no text.
    """
    sections = [list(group) for _, group in itertools.groupby(document.blocks, key=lambda block: block.headings)]
    passages = []
    for index, pieces in enumerate(_pack(sections, rules)):
        identity = f"{source}\x00{content_hash}\x00{rules.fingerprint()}\x00{index}"
        shared = _shared_headings([piece.headings for piece in pieces])
        passages.append(
            Passage(
                id=hashlib.sha256(identity.encode()).hexdigest()[:20],
                text=_render(pieces, shared),
                source=source,
                title=document.title,
                section=SECTION_JOINT.join(shared),
                media_type=media_type,
                page=next((piece.page for piece in pieces if piece.page is not None), None),
                number=document.number,
                version=document.version,
                working_group=document.working_group,
            )
        )
    return passages


def _pack(sections: Sequence[list[Block]], rules: PassageRules) -> Iterator[list[_Piece]]:
    """Pieces of each passage: one or more whole sections, or a part of one."""
    open_pieces: list[_Piece] = []
    for section in sections:
        pieces = [piece for block in section for piece in _pieces(block, rules)]
        words = _words(pieces)
        before = _words(open_pieces)
        fits = before + words + len(" ".join(section[0].headings[-1:]).split()) <= rules.pack_words
        small = min(before, words) < rules.small_words
        if open_pieces and fits and small and _related(open_pieces[-1].headings, section[0].headings):
            open_pieces.extend(pieces)
            continue
        if open_pieces:
            yield open_pieces
            open_pieces = []
        if words <= rules.words or len(pieces) == 1:
            open_pieces = pieces
        else:
            yield from _split(pieces, rules)
    if open_pieces:
        yield open_pieces


def _related(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two sections stand under the same top heading."""
    return bool(one) and bool(other) and one[0] == other[0]


def _split(pieces: list[_Piece], rules: PassageRules) -> Iterator[list[_Piece]]:
    """Parts of about equal length, so that the last one is not a stump; each repeats the end of the one before."""
    left = _words(pieces)
    parts = math.ceil(left / rules.words)
    part: list[_Piece] = []
    fresh = 0
    for index, piece in enumerate(pieces):
        target = left / parts if parts > 0 else rules.words
        overfull = _words(part) + piece.words > rules.words
        if part and fresh and (overfull or (parts > 1 and fresh + piece.words / 2 > target)):
            yield part
            left -= fresh
            parts = max(1, parts - 1, math.ceil(left / rules.words))
            part, fresh = _overlap(pieces[:index], piece, rules), 0
        part.append(piece)
        fresh += piece.words
    if fresh:
        yield part


def _overlap(before: list[_Piece], following: _Piece, rules: PassageRules) -> list[_Piece]:
    """The end of what came before, as far as it fits the overlap and leaves room for the next piece."""
    overlap: list[_Piece] = []
    for piece in reversed(before):
        words = _words(overlap) + piece.words
        if words > rules.overlap_words or words + following.words > rules.words or piece.kind is BlockKind.TABLE:
            break
        overlap.insert(0, piece)
    return overlap


def _pieces(block: Block, rules: PassageRules) -> list[_Piece]:
    """A block as one piece, or as several where it is longer than a passage."""
    text = _LONG_WORD.sub(r"\g<0> ", block.text)
    words = len(text.split())
    most = rules.table_words if block.kind is BlockKind.TABLE else rules.words // 3
    if words <= most:
        return [_Piece(text, words, block.headings, block.page, block.kind)]
    if block.kind is BlockKind.PARAGRAPH:
        units = [part for sentence in split_sentences(text) for part in _chop(sentence, rules.words)]
    elif block.kind is BlockKind.TABLE:
        units = _table_parts(text.splitlines(), rules)
    else:
        units = [part for line in text.splitlines() for part in _chop(line, rules.words)]
    return [_Piece(unit, len(unit.split()), block.headings, block.page, block.kind) for unit in units]


def _table_parts(rows: list[str], rules: PassageRules) -> list[str]:
    """Groups of rows under a repeated head row, each within a passage."""
    head = rows[0] if len(rows[0].split()) <= rules.words // 4 else ""
    parts: list[str] = []
    group: list[str] = []
    room = rules.words - len(head.split())
    for row in rows[1:] if head else rows:
        for line in _chop(row, room):
            if group and sum(len(kept.split()) for kept in group) + len(line.split()) > room:
                parts.append("\n".join([head, *group] if head else group))
                group = []
            group.append(line)
    if group:
        parts.append("\n".join([head, *group] if head else group))
    return parts


def _chop(text: str, most: int) -> list[str]:
    """A text cut every so many words; only where nothing better, such as a sentence end, is within reach."""
    words = text.split()
    if len(words) <= most:
        return [text]
    return [" ".join(words[start : start + most]) for start in range(0, len(words), most)]


def _words(pieces: Sequence[_Piece]) -> int:
    return sum(piece.words for piece in pieces)


def _shared_headings(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest heading path that all of them begin with."""
    first, last = min(paths), max(paths)
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return tuple(one for one, _ in shared)


def _render(pieces: Sequence[_Piece], shared: tuple[str, ...]) -> str:
    """The passage's text: a heading line where a packed section begins, fences around code."""
    lines: list[str] = []
    headings = shared
    for _, run in itertools.groupby(pieces, key=lambda piece: (piece.headings, piece.kind is BlockKind.CODE)):
        group = list(run)
        if group[0].headings != headings:
            headings = group[0].headings
            lines.append(SECTION_JOINT.join(headings[len(shared) :]))
        code = group[0].kind is BlockKind.CODE
        lines.extend([_FENCE] * code + [piece.text for piece in group] + [_FENCE] * code)
    return "\n".join(line for line in lines if line)
