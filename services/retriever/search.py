"""Search over a snapshot: dense and lexical ranks fused, and the relevance of what was found."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from argo.errors import ArgoError, NotReadyError, UnavailableError
from services.retriever.collection import Snapshot
from services.retriever.embedder import Embedder, Vectors
from services.retriever.passage import Passage
from services.retriever.ranking import fuse, top_rows, with_documents
from services.retriever.relevance import Calibration, features
from services.retriever.store import PassageStore

__all__ = ["EXACT_PASSAGES", "Filter", "QueryVectors", "RankedPassage", "Searcher"]

_LOG = logging.getLogger(__name__)
EXACT_PASSAGES: Final = 20_000
"""Up to here all vectors are compared, which is exact and takes less time than a call into Chroma's graph index."""
_DEPTH: Final = 100
"""Passages of each ranking that take part in the fusion."""
_CACHED_QUERIES: Final = 4_096
_DENSE_WEIGHT: Final = 1.0
_HASHING_WEIGHT: Final = 0.2
"""Hashed words say again what the lexical index says, so their ranks weigh little."""
_FOCUS_WEIGHT: Final = 2.0
"""Weight of the foci in the vector that a model's dense ranking goes by, beside 1 for the text."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Narrows a search."""

    source_prefixes: tuple[str, ...] = ()
    """Keep passages whose source starts with one of these; empty keeps all."""
    working_groups: tuple[str, ...] = ()
    """Keep passages of these working groups; empty keeps all."""

    def keeps(self, passage: Passage) -> bool:
        """Whether a passage is searched."""
        return (not self.source_prefixes or passage.source.startswith(self.source_prefixes)) and (
            not self.working_groups or passage.working_group in self.working_groups
        )


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """A passage as ranked for one text."""

    passage: Passage
    dense_score: float | None
    """Cosine; None where only the lexical index found it."""
    lexical_score: float | None
    """BM25; None where only the dense index found it."""
    score: float
    """After fusion; comparable within one text."""
    relevance: float
    """Calibrated probability that the passage answers the text."""
    focus_relevance: tuple[float, ...]
    """The same for each focus, in the order of the request."""


@dataclass(slots=True)
class QueryVectors:
    """Vectors of searched texts; a question comes back as a focus of every later search, so the last ones are kept."""

    embedder: Embedder
    _kept: OrderedDict[str, Vectors] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts, (texts, dimension); the new ones are embedded in one call."""
        with self._lock:
            missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
            known = {text: self._kept[text] for text in texts if text in self._kept}
        if missing:
            known.update(zip(missing, self.embedder.embed_queries(missing), strict=True))
        with self._lock:
            for text in texts:
                self._kept[text] = known[text]
                self._kept.move_to_end(text)
            while len(self._kept) > _CACHED_QUERIES:
                self._kept.popitem(last=False)
        return np.stack([known[text] for text in texts])

    def has(self, texts: Sequence[str]) -> bool:
        """Whether none of the texts needs the embedder."""
        with self._lock:
            return all(text in self._kept for text in texts)


class Searcher:
    """Ranks passages of a snapshot.

    Args:
        vectors: Vectors of searched texts.
        store: Finds the nearest passages of a collection too large to compare with all of it.
        calibration: Coefficients of the relevance.
        exact_passages: Largest collection whose vectors are all compared.
    """

    def __init__(
        self,
        vectors: QueryVectors,
        store: PassageStore,
        calibration: Calibration,
        exact_passages: int = EXACT_PASSAGES,
    ) -> None:
        self._vectors = vectors
        self._store = store
        self._calibration = calibration
        self._exact_passages = exact_passages
        hashing = vectors.embedder.name == "hashing"
        self._dense_weight = _HASHING_WEIGHT if hashing else _DENSE_WEIGHT
        self._focus_weight = 0.0 if hashing else _FOCUS_WEIGHT
        self._is_away = False

    def search(
        self, snapshot: Snapshot, texts: Sequence[str], foci: Sequence[str], top_k: int, where: Filter
    ) -> list[list[RankedPassage]]:
        """The best passages of a snapshot that is not empty for each text, best first."""
        allowed = None
        if where.source_prefixes or where.working_groups:
            allowed = np.fromiter((where.keeps(entry.passage) for entry in snapshot.stored), bool, len(snapshot.stored))
            if not allowed.any():
                return [[] for _ in texts]
        vectors = self._vectors.of([*texts, *foci])
        dense = self._dense(snapshot, self._toward_foci(vectors, len(texts)), allowed)
        ranked: list[tuple[NDArray[np.intp], NDArray[np.float32], set[int]]] = []
        bm25s: list[NDArray[np.float32]] = []
        for text, nearest in zip(texts, dense, strict=True):
            bm25 = snapshot.lexical.scores(snapshot.lexical.query(text))
            if allowed is not None:
                bm25 = np.where(allowed, bm25, np.float32(0))
            bm25s.append(bm25)
            lexical = top_rows(with_documents(bm25, snapshot.documents), _DEPTH)
            rows, fused = fuse(lexical, nearest, self._dense_weight)
            ranked.append((rows[:top_k], fused[:top_k], set(nearest.tolist())))
        return self._describe(snapshot, [*texts, *foci], vectors, ranked, bm25s)

    def _toward_foci(self, vectors: Vectors, texts: int) -> Vectors:
        """Vectors of the texts drawn toward the mean of the foci, (texts, dimension), of length 1.

        A model of sentences places a focus, which is one, better than a subquery of gathered words, which suits BM25.
        """
        if not self._focus_weight or len(vectors) == texts:
            return vectors[:texts]
        drawn = vectors[:texts] + np.float32(self._focus_weight) * vectors[texts:].mean(axis=0)
        # Opposite vectors may cancel out; the length then has no meaning, and the text alone decides.
        lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
        return np.asarray(np.where(lengths > 1e-6, drawn / np.maximum(lengths, 1e-6), vectors[:texts]), np.float32)

    def _dense(self, snapshot: Snapshot, vectors: Vectors, allowed: NDArray[np.bool_] | None) -> list[NDArray[np.intp]]:
        """Rows nearest to each vector, best first."""
        if allowed is None and len(snapshot.stored) > self._exact_passages:
            # A store that is away or damaged costs time, not answers: all vectors are here.
            try:
                found = self._store.nearest(vectors, _DEPTH)
            except (NotReadyError, UnavailableError) as error:
                self._away(error)
            else:
                self._is_away = False
                # The store may be ahead of the snapshot, or hold what was just taken out of it.
                rows = [[snapshot.rows[key] for key in ids if key in snapshot.rows] for ids, _ in found]
                return [np.array(places, np.intp) for places in rows]
        # In this order BLAS reads the collection once, a third faster for a few texts than the other way round.
        cosines = (snapshot.vectors @ vectors.T).T
        if allowed is not None:
            cosines = np.where(allowed, cosines, np.float32(-1))
        return [top_rows(row, _DEPTH) for row in cosines]

    def _away(self, error: ArgoError) -> None:
        """Tell the operator, and once: every search would say the same."""
        if not self._is_away:
            _LOG.warning("%s; searches compare all vectors instead", error)
        self._is_away = True

    def _describe(
        self,
        snapshot: Snapshot,
        texts: Sequence[str],
        vectors: Vectors,
        ranked: Sequence[tuple[NDArray[np.intp], NDArray[np.float32], set[int]]],
        bm25s: Sequence[NDArray[np.float32]],
    ) -> list[list[RankedPassage]]:
        """Ranked passages with their scores and their relevance to every text and focus."""
        rows = sorted({int(row) for found, _, _ in ranked for row in found})
        places = {row: place for place, row in enumerate(rows)}
        cosines = vectors @ snapshot.vectors[rows].T
        # A focus is often worded as the question or a subquery is.
        distinct = list(dict.fromkeys(texts))
        number_of = [texts.index(text) for text in distinct]
        lexical = snapshot.lexical
        known = [
            bm25s[number] if number < len(bm25s) else lexical.scores(lexical.query(texts[number]))
            for number in number_of
        ]
        of_distinct = self._calibration.relevance(
            features(lexical, distinct, np.stack([scores[rows] for scores in known]), cosines[number_of], rows)
        )
        relevance = of_distinct[[distinct.index(text) for text in texts]]
        searched = len(ranked)
        return [
            [
                RankedPassage(
                    passage=snapshot.stored[row].passage,
                    dense_score=float(cosines[number, places[row]]) if row in near else None,
                    lexical_score=float(bm25s[number][row]) if bm25s[number][row] > 0 else None,
                    score=float(score),
                    relevance=float(relevance[number, places[row]]),
                    focus_relevance=tuple(float(value) for value in relevance[searched:, places[row]]),
                )
                for row, score in zip(found.tolist(), fused, strict=True)
            ]
            for number, (found, fused, near) in enumerate(ranked)
        ]
