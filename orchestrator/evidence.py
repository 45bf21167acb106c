"""The evidence of a question: what its searches found, merged, ranked and capped.

Each search is a ranked list. A passage's place in the evidence comes from reciprocal rank fusion over the lists, so
that no list's score scale matters and a passage that several searches agree on comes first. The best passage of each
focus is kept whatever the others say.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from argo.v1 import types_pb2

__all__ = ["Evidence", "RankedList", "normalise"]

_FUSION_OFFSET: Final = 20.0
"""k of reciprocal rank fusion. Cormack et al. (2009) use 60 for lists of 1,000; lists here have about ten."""

_NOT_WORD: Final = re.compile(r"[\W_]+")


# Searches of one question, and of questions about one thing, find the same passages again and again.
@functools.lru_cache(maxsize=2_048)
def normalise(text: str) -> str:
    """The text as it counts for telling whether two searches or passages are the same."""
    return _NOT_WORD.sub(" ", text.casefold()).strip()


@dataclass(frozen=True)
class RankedList:
    """What one search found, best first; the focus id is empty for the question's own search."""

    focus_id: str
    text: str
    passages: tuple[types_pb2.Passage, ...]


@dataclass
class Evidence:
    """Merges ranked lists and keeps the best passages within a cap.

    Args:
        max_passages: Most passages kept.
        max_words: Most words kept over all passages.
    """

    max_passages: int
    max_words: int
    lists: list[RankedList] = field(default_factory=list)
    _merged: dict[str, types_pb2.Passage] = field(default_factory=dict)
    _same_text: dict[str, str] = field(default_factory=dict)
    _kept: list[types_pb2.Passage] | None = None

    def add(self, found: RankedList) -> int:
        """Merge one search.

        Returns:
            Number of passages that were not known before.
        """
        new = 0
        unique: list[types_pb2.Passage] = []
        seen: set[str] = set()
        for passage in found.passages:
            identity = self._same_text.setdefault(normalise(passage.text), passage.id)
            if identity in seen:
                continue
            seen.add(identity)
            known = self._merged.get(identity)
            if known is None:
                copy = types_pb2.Passage()
                copy.CopyFrom(passage)
                self._merged[identity] = copy
                new += 1
            else:
                _raise_relevance(known, passage)
            unique.append(self._merged[identity])
        self.lists.append(RankedList(found.focus_id, found.text, tuple(unique)))
        self._kept = None
        return new

    def has_searched(self, text: str) -> bool:
        """Whether this text, apart from case and punctuation, was already searched."""
        key = normalise(text)
        return any(normalise(known.text) == key for known in self.lists)

    def __len__(self) -> int:
        """Number of different passages found."""
        return len(self._merged)

    def kept(self) -> list[types_pb2.Passage]:
        """The passages within the cap, best first; the same for the same lists, in whatever order they came back."""
        if self._kept is None:
            self._kept = self._choose()
        return list(self._kept)

    def _choose(self) -> list[types_pb2.Passage]:
        fused: dict[str, float] = {}
        firsts: dict[str, list[str]] = {}
        # Sorted, since a sum of floats depends on its order.
        for ranked in sorted(self.lists, key=lambda ranked: (ranked.focus_id, ranked.text)):
            for rank, passage in enumerate(ranked.passages):
                fused[passage.id] = fused.get(passage.id, 0.0) + 1.0 / (_FUSION_OFFSET + rank)
            firsts.setdefault(ranked.focus_id, []).extend(passage.id for passage in ranked.passages[:1])
        by_score = sorted(fused, key=lambda identity: (-fused[identity], identity))
        place = {identity: index for index, identity in enumerate(by_score)}
        best_of_each = [min(ids, key=place.__getitem__) for ids in firsts.values() if ids]
        chosen: set[str] = set()
        words = 0
        for identity in dict.fromkeys([*sorted(best_of_each, key=place.__getitem__), *by_score]):
            size = len(self._merged[identity].text.split())
            if words + size > self.max_words:
                continue
            chosen.add(identity)
            words += size
            if len(chosen) == self.max_passages:
                break
        return [self._merged[identity] for identity in by_score if identity in chosen]

    def best_relevance(self, focus_id: str, kept: Sequence[types_pb2.Passage]) -> float:
        """Largest relevance of the kept passages to one focus; 0 where none has been judged against it."""
        return max(
            (entry.relevance for passage in kept for entry in passage.focus_relevance if entry.focus_id == focus_id),
            default=0.0,
        )


def _raise_relevance(known: types_pb2.Passage, found: types_pb2.Passage) -> None:
    """A passage found twice keeps its larger relevance, to the text and to each focus."""
    known.relevance = max(known.relevance, found.relevance)
    by_focus = {entry.focus_id: entry for entry in known.focus_relevance}
    for entry in found.focus_relevance:
        mine = by_focus.get(entry.focus_id)
        if mine is None:
            known.focus_relevance.add().CopyFrom(entry)
        else:
            mine.relevance = max(mine.relevance, entry.relevance)
