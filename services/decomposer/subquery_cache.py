"""The subquery cache: a focus much like one that the model worded before is searched in the same words.

Beside the synthesizer's exact answer cache this one is approximate, since a wrong subquery costs one search where a
wrong answer would be the user's. What is like is told by hashed vectors of question and focus, each for itself: two
foci of one question share the question, and together they would always be alike.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from argo.identity import current_tenant
from argo.v1 import types_pb2
from services.decomposer.distinction import distinctions
from services.decomposer.engine import Subquery, SubqueryRequest
from services.lexicon.content import content_words
from services.lexicon.glossary import Glossary
from services.lexicon.hashing import DIMENSION, hash_vector

__all__ = ["SubqueryCache"]

_COMPARED: Final = 512
"""Most entries compared, those used last: more than have the same names, and a bound on the event loop's wait."""
_ROUNDING: Final = 1e-6
"""A text's cosine with itself may fall short of 1 by so much in float32."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What a request is compared by."""

    distinctions: np.uint64
    """Digest of all that must be the same."""
    question: NDArray[np.float32]
    focus: NDArray[np.float32]


class SubqueryCache:
    """The latest subqueries that a model worded for a first step, found by likeness; threads may share it.

    Args:
        most: Subqueries kept; the one that was used least recently goes first. 0 keeps none.
        least_similarity: Least cosine of the questions, and of the foci, at which a subquery is used again.
        glossary: Short and full forms, which name the same thing.
    """

    def __init__(self, most: int, least_similarity: float, glossary: Glossary) -> None:
        self._most = most
        self._least_similarity = least_similarity
        self._glossary = glossary
        # Zeros take no memory before they are written.
        self._distinctions = np.zeros(most, np.uint64)
        self._questions = np.zeros((most, DIMENSION), np.float32)
        self._foci = np.zeros((most, DIMENSION), np.float32)
        self._used_at = np.zeros(most, np.int64)
        self._subqueries: list[Subquery] = []
        self._uses = 0
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def find(self, request: SubqueryRequest) -> Subquery | None:
        """The subquery of a request much like this one, with no tokens used; None where there is none."""
        if not self._takes(request):
            return None
        key = self._key(request)
        with self._lock:
            slot = self._slot(key)
            if slot is None:
                self._misses += 1
                return None
            self._hits += 1
            self._touch(slot)
            return self._subqueries[slot]

    def keep(self, request: SubqueryRequest, subquery: Subquery) -> None:
        """Remember a subquery. One that the rules worded, or a failure, is for the caller not to hand in."""
        if not self._takes(request):
            return
        key = self._key(request)
        with self._lock:
            # Another call may have worded the same meanwhile.
            slot = self._slot(key)
            if slot is None:
                slot = self._free_slot()
                self._distinctions[slot] = key.distinctions
                self._questions[slot] = key.question
                self._foci[slot] = key.focus
                self._subqueries[slot] = Subquery(subquery.text, from_cache=True)
            self._touch(slot)

    def describe(self) -> types_pb2.CacheInfo | None:
        """What GetInfo says; None where none are kept."""
        if not self._most:
            return None
        with self._lock:
            return types_pb2.CacheInfo(
                entries=len(self._subqueries), most_entries=self._most, hits=self._hits, misses=self._misses
            )

    def _takes(self, request: SubqueryRequest) -> bool:
        # What earlier steps searched and found shapes a subquery more than the words of its focus do.
        return self._most > 0 and not request.history.searches and not request.history.passages

    def _key(self, request: SubqueryRequest) -> _Key:
        question, focus = request.question, request.focus.text
        options = tuple(request.options)
        # What one tenant asked shapes nothing of another's.
        same = (current_tenant(), options, distinctions(question, self._glossary), distinctions(focus, self._glossary))
        digest = hashlib.blake2b(repr(same).encode(), digest_size=8).digest()
        return _Key(np.uint64(int.from_bytes(digest)), self._vector(question), self._vector(focus))

    def _vector(self, text: str) -> NDArray[np.float32]:
        """The vector of what a text is on, with both forms of each acronym: which one was used matters little."""
        return hash_vector(" ".join([*content_words(text), *self._glossary.other_forms(text)]))

    def _slot(self, key: _Key) -> int | None:
        """The most similar one that may be used."""
        kept = len(self._subqueries)
        slots = np.flatnonzero(self._distinctions[:kept] == key.distinctions)
        if slots.size > _COMPARED:
            slots = slots[np.argpartition(self._used_at[slots], -_COMPARED)[-_COMPARED:]]
        for vectors, vector in ((self._foci, key.focus), (self._questions, key.question)):
            slots = slots[vectors[slots] @ vector >= self._least_similarity - _ROUNDING]
        if slots.size < 2:
            return int(slots[0]) if slots.size else None
        return int(slots[(self._foci[slots] @ key.focus + self._questions[slots] @ key.question).argmax()])

    def _free_slot(self) -> int:
        if len(self._subqueries) == self._most:
            return int(self._used_at.argmin())
        self._subqueries.append(Subquery(""))
        return len(self._subqueries) - 1

    def _touch(self, slot: int) -> None:
        self._uses += 1
        self._used_at[slot] = self._uses
