"""Which kept passages carry which evidence, under one cap that is the same for every strategy.

Longer lists and longer passages raise recall by themselves, so quality is compared at equal words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from bench.question import Evidence, Question, fold

__all__ = ["ALT_COVER", "MAX_PASSAGES", "MAX_WORDS", "Match", "PassageLike", "cap", "cover", "match"]

MAX_PASSAGES: Final = 10
MAX_WORDS: Final = 2_000
ALT_COVER: Final = 0.6
"""Least share of a support's words that a passage of another document must hold to count."""

_WORD: Final = re.compile(r"[^\W_]+")


class PassageLike(Protocol):
    """What is read of a passage; the wire's message and the SDK's both have it."""

    @property
    def text(self) -> str:
        """The words."""

    @property
    def source(self) -> str:
        """Document, as it was ingested."""


_P = TypeVar("_P", bound=PassageLike)


def cap(passages: Sequence[_P], *, max_passages: int = MAX_PASSAGES, max_words: int = MAX_WORDS) -> list[_P]:
    """The passages that count: whole ones in rank order, up to the first that would pass a bound.

    Args:
        passages: Kept passages, best first.
        max_passages: Most passages.
        max_words: Most words in all, split at white space.
    """
    kept: list[_P] = []
    words = 0
    for passage in passages[:max_passages]:
        words += len(passage.text.split())
        if words > max_words:
            break
        kept.append(passage)
    return kept


def cover(support: str, text: str) -> float:
    """Share of the distinct words of a support that a text holds; a word is a run of letters and digits."""
    wanted = set(_WORD.findall(support.lower()))
    return len(wanted & set(_WORD.findall(text.lower()))) / len(wanted) if wanted else 0.0


def _carries(passage: PassageLike, evidence: Evidence, alt_paths: Sequence[str]) -> bool:
    if passage.source == evidence.path:
        return fold(evidence.support) in fold(passage.text)
    return passage.source in alt_paths and cover(evidence.support, passage.text) >= ALT_COVER


@dataclass(frozen=True)
class Match:
    """How the passages of one answer meet the evidence of its question."""

    evidence_rank: tuple[int | None, ...]
    """For each evidence, the rank of the first passage that carries it, counted from 1; None where none does."""

    passage_carries: tuple[bool, ...]
    """For each passage, whether it carries any evidence."""

    @property
    def complete(self) -> bool:
        """Whether there is evidence and all of it was found."""
        return bool(self.evidence_rank) and all(rank is not None for rank in self.evidence_rank)


def match(question: Question, passages: Sequence[PassageLike]) -> Match:
    """Find the evidence of a question among the passages of its answer, best first and already capped."""
    table = [
        [_carries(passage, evidence, question.alt_paths) for passage in passages] for evidence in question.evidence
    ]
    return Match(
        evidence_rank=tuple(row.index(True) + 1 if any(row) else None for row in table),
        passage_carries=tuple(any(row[index] for row in table) for index in range(len(passages))),
    )
