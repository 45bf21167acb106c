"""Relevance: the calibrated probability that a passage answers a text.

A logistic regression on general features, one set of coefficients for each embedder, fitted by
:mod:`services.retriever.calibrate` and kept beside this module with where they came from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.lexicon.content import content_words
from services.lexicon.tokenise import raw_words, word_terms
from services.retriever.lexical import LexicalIndex, QueryTerms

__all__ = ["FEATURES", "Calibration", "features", "load_calibration"]

Matrix = NDArray[np.float64]

FEATURES: Final = (
    "cosine",
    "bm25_share",
    "bm25_share_by_size",
    "window_coverage",
    "head_coverage",
    "name_coverage",
    "log_words",
    "log_terms",
    "log_passages",
)
"""Names of the columns that `features` gives, in order."""
_SIZES: Final = (100.0, 6_000.0)
"""Passages of the smallest and the largest collection of the fits; others count as the nearer of these, since what a
share of BM25 is worth cannot be carried on beyond them."""
_CACHED_TEXTS: Final = 4_096
_FALLBACK: Final = "hashing"


@dataclass(frozen=True)
class Calibration:
    """Coefficients of one embedder."""

    embedder: str
    weights: NDArray[np.float64]
    """One for each feature."""
    bias: float
    provenance: str
    """Data, numbers and command of the fit."""

    def relevance(self, rows: Matrix) -> Matrix:
        """Probability for each row of features, in [0, 1]."""
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(rows @ self.weights + self.bias, -30.0, 30.0))))


@lru_cache(maxsize=8)
def load_calibration(embedder: str) -> Calibration:
    """The coefficients for an embedder; for one without a fit of its own those of the nearest kind.

    Models are told by their folder's or repository's name, so that "sentence-transformers:/opt/all-MiniLM-L6-v2" and
    "sentence-transformers:sentence-transformers/all-MiniLM-L6-v2" share one fit.
    """
    entries: dict[str, dict[str, Any]] = json.loads(
        resources.files("services.retriever").joinpath("calibration", "coefficients.json").read_text("utf-8")
    )
    family = "minilm" if "minilm" in embedder.lower() else "hashing" if embedder == "hashing" else "model"
    name = family if family in entries else ("minilm" if family == "model" and "minilm" in entries else _FALLBACK)
    entry = entries[name]
    weights = np.array([entry["weights"].get(feature, 0.0) for feature in FEATURES])
    return Calibration(embedder, weights, float(entry["bias"]), str(entry["provenance"]))


def features(
    index: LexicalIndex,
    texts: Sequence[str],
    bm25: NDArray[np.float32],
    cosine: NDArray[np.float32],
    rows: Sequence[int],
) -> Matrix:
    """Features of some passages for some texts.

    Args:
        index: The lexical index that knows the passages.
        texts: Questions, foci or subqueries.
        bm25: BM25 score of each of the passages for each text, (texts, rows).
        cosine: Cosine of each of the passages with each text, (texts, rows).
        rows: The passages.

    Returns:
        float64 (texts, rows, features).
    """
    count = len(rows)
    if not count or not texts:
        return np.zeros((len(texts), count, len(FEATURES)))
    read = [_read(text) for text in texts]
    queries = [index.query(text) for text in texts]
    named = [index.query(names) for names, _ in read]
    total = _column([max(query.total_weight, 1e-9) for query in queries])
    named_total = _column([query.total_weight for query in named])
    weights = _weights(index, queries)
    passages = [index.passages[row] for row in rows]
    windows = np.concatenate([passage.windows for passage in passages])
    sizes = np.concatenate([passage.window_sizes for passage in passages])
    per_window = np.add.reduceat(weights[:, windows], _starts(sizes), axis=1)
    in_passage = np.array([len(passage.window_sizes) for passage in passages])
    best_window = np.maximum.reduceat(per_window, _starts(in_passage), axis=1)
    share = bm25 / _column([max(index.greatest_score(query), 1e-9) for query in queries])
    size = np.log(np.clip(len(index.passages), *_SIZES))
    names = _sums(_weights(index, named), [passage.distinct for passage in passages])
    columns = (
        cosine,
        share,
        # The more passages, the more of them share words with a text that they do not answer.
        share * size,
        best_window / total,
        _sums(weights, [passage.head for passage in passages]) / total,
        # A text without names misses none.
        np.where(named_total > 0, names / np.where(named_total > 0, named_total, 1.0), 1.0),
        # Half of many words say more than half of few.
        np.log1p([[words] for _, words in read]),
        np.log1p([len(passage.distinct) for passage in passages]),
        size,
    )
    made = np.empty((len(texts), count, len(FEATURES)))
    for place, column in enumerate(columns):
        made[:, :, place] = column
    return made


def _column(values: Sequence[float]) -> NDArray[np.float32]:
    """One value for each text, to stand beside rows."""
    return np.array(values, np.float32)[:, None]


@lru_cache(maxsize=_CACHED_TEXTS)
def _read(text: str) -> tuple[str, int]:
    """The names in a text, and how many words it has that tell what it is on."""
    # A name has a digit, or a capital past its first letter, which every sentence has.
    names = " ".join(
        word for word in raw_words(text) if any(c.isdigit() for c in word) or any(c.isupper() for c in word[1:])
    )
    return names, len({found[0] for word in content_words(text) if (found := word_terms(word))})


def _weights(index: LexicalIndex, queries: Sequence[QueryTerms]) -> NDArray[np.float32]:
    """Weight of every term of the vocabulary in each text; the last place takes the -1 of a passage without words."""
    weights = np.zeros((len(queries), len(index.idf) + 1), np.float32)
    for row, query in zip(weights, queries, strict=True):
        row[query.known] = query.weights
    return weights


def _starts(sizes: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Where each of some slices begins that stand side by side."""
    return np.asarray(np.cumsum(sizes) - sizes, np.intp)


def _sums(weights: NDArray[np.float32], groups: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
    """Weights of each text summed over each group of terms, (texts, groups); an empty group sums to 0."""
    # Each group is led by the place that weighs nothing, since reduceat cannot sum an empty slice.
    blank = np.array([-1], np.int32)
    joined = np.concatenate([part for group in groups for part in (blank, group)])
    starts = _starts(np.array([len(group) + 1 for group in groups]))
    return np.asarray(np.add.reduceat(weights[:, joined], starts, axis=1))
