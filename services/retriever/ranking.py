"""Ranks: lexical scores with their documents' own, fused with dense ranks."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["fuse", "top_rows", "with_documents"]

Rows = NDArray[np.intp]
Floats = NDArray[np.float32]

_RANK_OFFSET: Final = 60.0
"""The constant of reciprocal rank fusion. Source: Cormack, Clarke and Buettcher (2009)."""
_DOCUMENT_WEIGHT: Final = 1.0
_DOCUMENT_DEPTH: Final = 300


def with_documents(scores: Floats, documents: NDArray[np.int32]) -> Floats:
    """Passage scores in [0, 2] that count the document's second-best passage as well.

    A document of which two passages fit is on the subject; one stray passage may share its words by chance.

    Args:
        scores: BM25 scores, (passages,).
        documents: Number of each passage's document, (passages,).

    Returns:
        Score over the best score, plus the mean of the document's two best over the best such mean; 0 for passages
        without any term of the text.
    """
    best = float(scores.max(initial=0.0))
    if best <= 0.0:
        return np.zeros_like(scores)
    rows = top_rows(scores, _DOCUMENT_DEPTH)
    order = np.lexsort((-scores[rows], documents[rows]))
    rows = rows[order]
    group = documents[rows]
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    sizes = np.diff(np.r_[starts, len(rows)])
    second = np.where(sizes > 1, scores[rows[np.minimum(starts + 1, len(rows) - 1)]], 0.0)
    mean = np.zeros(int(documents.max()) + 1, np.float32)
    mean[group[starts]] = (scores[rows[starts]] + second) / 2
    own = mean[documents] / max(float(mean.max()), 1e-9)
    return np.asarray(np.where(scores > 0, scores / best + _DOCUMENT_WEIGHT * own, 0.0), np.float32)


def top_rows(scores: Floats, count: int) -> Rows:
    """Rows of the highest positive scores, best first; equal scores keep the order of the collection."""
    rows = np.arange(len(scores)) if len(scores) <= count else np.argpartition(-scores, count)[:count]
    rows = rows[scores[rows] > 0]
    return np.asarray(rows[np.lexsort((rows, -scores[rows]))], np.intp)


def fuse(lexical: Rows, dense: Rows, dense_weight: float) -> tuple[Rows, Floats]:
    """Reciprocal rank fusion of two rankings.

    Args:
        lexical: Rows, best first.
        dense: Rows, best first.
        dense_weight: Weight of the dense ranking; the lexical one has 1.

    Returns:
        Rows of either, best first, and their fused scores.
    """
    rows = np.concatenate([lexical, dense])
    shares = np.concatenate(
        [
            1.0 / (_RANK_OFFSET + 1.0 + np.arange(len(lexical))),
            dense_weight / (_RANK_OFFSET + 1.0 + np.arange(len(dense))),
        ]
    )
    unique, places = np.unique(rows, return_inverse=True)
    fused = np.bincount(places, weights=shares, minlength=len(unique))
    order = np.lexsort((unique, -fused))
    return np.asarray(unique[order], np.intp), np.asarray(fused[order], np.float32)
