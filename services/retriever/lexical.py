"""The lexical index: BM25 over stemmed terms, and the terms of each passage for relevance features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.lexicon.sentence import split_sentences
from services.lexicon.tokenise import terms
from services.retriever.passage import Passage

__all__ = ["LexicalIndex", "PassageTerms", "QueryTerms", "Vocabulary"]

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]

_K1: Final = 1.2
_B: Final = 0.75
_KEPT_QUERIES: Final = 4_096
_WINDOW: Final = 2
"""Sentences read together when looking for the place in a passage that answers."""


@dataclass(slots=True)
class Vocabulary:
    """Term to number; it only grows, so that passages keep their numbers over rebuilds."""

    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, found: Sequence[str]) -> Ids:
        """Numbers of terms, new ones included."""
        numbers = self.numbers
        return np.array([numbers.setdefault(term, len(numbers)) for term in found], np.int32)


@dataclass(frozen=True, slots=True)
class PassageTerms:
    """The terms of one passage, as numbers of the vocabulary."""

    distinct: Ids
    """Distinct terms of text, section and title, in ascending order."""
    counts: Ids
    """How often each of them stands there."""
    head: Ids
    """Distinct terms of section and title."""
    windows: Ids
    """Distinct terms of each window of sentences, one window after the other."""
    window_sizes: Ids
    """Terms in each window."""

    @classmethod
    def of(cls, passage: Passage, vocabulary: Vocabulary) -> PassageTerms:
        """Read a passage's terms once, when it comes in."""
        title = "" if passage.title in passage.section else passage.title
        head = vocabulary.add(terms(f"{passage.section}\n{title}"))
        sentences = [vocabulary.add(terms(sentence)) for sentence in split_sentences(passage.text)]
        indexed = np.concatenate([*sentences, head]) if sentences else head
        count = max(1, len(sentences) - _WINDOW + 1)
        windows = [np.unique(np.concatenate(sentences[at : at + _WINDOW] or [head])) for at in range(count)]
        windows = [window for window in windows if len(window)] or [np.zeros(1, np.int32) - 1]
        distinct, counts = np.unique(indexed, return_counts=True)
        return cls(
            distinct=distinct,
            counts=counts.astype(np.int32),
            head=np.unique(head),
            windows=np.concatenate(windows).astype(np.int32),
            window_sizes=np.array([len(window) for window in windows], np.int32),
        )


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """The distinct terms of a searched text with what the collection knows of them."""

    known: Ids
    """Numbers of the terms that the collection has."""
    weights: Scores
    """Their inverse document frequencies."""
    unknown_weight: float
    """Summed weight of the terms that no passage has, each at the greatest inverse document frequency."""
    unknown: int
    """How many those are."""

    @property
    def total_weight(self) -> float:
        """Weight of all terms; 0 where the text has none."""
        return float(self.weights.sum()) + self.unknown_weight


class LexicalIndex:
    """BM25 over a fixed set of passages; made anew when passages come or go, and then swapped in whole.

    Args:
        passages: Terms of each passage; the place in this sequence is the passage's row.
        vocabulary: The numbers that they use.

    Source: Robertson and Zaragoza (2009), with the inverse document frequency of Lucene, which is never negative.
    """

    def __init__(self, passages: Sequence[PassageTerms], vocabulary: Vocabulary) -> None:
        self.passages = passages
        self._numbers = vocabulary.numbers
        self._size = len(vocabulary.numbers)
        self._queries: dict[str, QueryTerms] = {}
        count = len(passages)
        terms_of = np.concatenate([passage.distinct for passage in passages] or [np.zeros(0, np.int32)])
        counts = np.concatenate([passage.counts for passage in passages] or [np.zeros(0, np.int32)])
        sizes = np.array([len(passage.distinct) for passage in passages], np.int64)
        rows = np.repeat(np.arange(count, dtype=np.int32), sizes)
        lengths = np.bincount(rows, weights=counts, minlength=count)
        frequency = np.bincount(terms_of, minlength=self._size)
        self._known = frequency > 0
        self.idf = np.where(self._known, np.log1p((count - frequency + 0.5) / (frequency + 0.5)), 0.0).astype(
            np.float32
        )
        self.greatest_idf = float(np.log1p((count + 0.5) / 0.5))
        norm = _K1 * (1.0 - _B + _B * lengths / max(float(lengths.mean()) if count else 1.0, 1e-9))
        values = self.idf[terms_of] * counts / (counts + norm[rows])
        # Columns: each term's passages side by side, so that a search touches nothing else.
        order = np.argsort(terms_of, kind="stable")
        self._rows = rows[order]
        self._data = values[order].astype(np.float32)
        self._starts = np.r_[0, np.cumsum(frequency)]
        self._greatest = np.zeros(self._size, np.float32)
        if len(order):
            filled = np.flatnonzero(self._known)
            self._greatest[filled] = np.maximum.reduceat(self._data, self._starts[filled])

    def query(self, text: str) -> QueryTerms:
        """The terms of a text; those of the last texts are kept, since one search asks several times."""
        known = self._queries.get(text)
        if known is None:
            if len(self._queries) >= _KEPT_QUERIES:
                self._queries = {}  # begun anew: safe between threads, and the ones that matter are soon back
            known = self._queries[text] = self._query(text)
        return known

    def _query(self, text: str) -> QueryTerms:
        found = dict.fromkeys(terms(text))
        numbers = [self._numbers.get(term, self._size) for term in found]
        # The vocabulary may have grown, or passages may have gone, since this index was made.
        known = np.array([n for n in numbers if n < self._size and self._known[n]], np.int32)
        unknown = len(numbers) - len(known)
        return QueryTerms(known, self.idf[known], unknown * self.greatest_idf, unknown)

    def scores(self, query: QueryTerms) -> Scores:
        """BM25 score of every passage, float32 (passages,)."""
        scores = np.zeros(len(self.passages), np.float32)
        for term in query.known:
            start, end = self._starts[term], self._starts[term + 1]
            scores[self._rows[start:end]] += self._data[start:end]  # a row stands once in a term's column
        return scores

    def greatest_score(self, query: QueryTerms) -> float:
        """What a passage would score that is, for each term of the text, as good as the best one."""
        # A term that nobody has could have been as telling as any.
        return float(self._greatest[query.known].sum()) + query.unknown_weight
