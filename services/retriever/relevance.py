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

from services.retriever.lexical import LexicalIndex, QueryTerms

__all__ = ["FEATURES", "Calibration", "features", "load_calibration"]

Matrix = NDArray[np.float64]

FEATURES: Final = (
    "cosine",
    "bm25_share",
    "window_coverage",
    "head_coverage",
    "log_passages",
)
"""Names of the columns that `features` gives, in order."""
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
    index: LexicalIndex, query: QueryTerms, bm25: NDArray[np.float32], cosine: NDArray[np.float32], rows: Sequence[int]
) -> Matrix:
    """Features of some passages for one text.

    Args:
        index: The lexical index that knows the passages.
        query: The text's terms.
        bm25: BM25 score of each of the passages, (rows,).
        cosine: Cosine of each of the passages with the text, (rows,).
        rows: The passages.

    Returns:
        float64 (rows, features).
    """
    count = len(rows)
    if not count:
        return np.zeros((0, len(FEATURES)))
    total = max(query.total_weight, 1e-9)
    # The last place takes the -1 of a passage without words.
    weights = np.zeros(len(index.idf) + 1, np.float32)
    weights[query.known] = query.weights
    passages = [index.passages[row] for row in rows]
    windows = np.concatenate([passage.windows for passage in passages])
    sizes = np.concatenate([passage.window_sizes for passage in passages])
    per_window = np.add.reduceat(weights[windows], _starts(sizes))
    in_passage = np.array([len(passage.window_sizes) for passage in passages])
    best_window = np.maximum.reduceat(per_window, _starts(in_passage))
    return np.column_stack(
        [
            cosine,
            bm25 / max(index.greatest_score(query), 1e-9),
            best_window / total,
            _sums(weights, [passage.head for passage in passages]) / total,
            # The more passages, the more of them share words with a text that they do not answer.
            np.full(count, np.log(len(index.passages))),
        ]
    ).astype(np.float64)


def _starts(sizes: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Where each of some slices begins that stand side by side."""
    return np.asarray(np.cumsum(sizes) - sizes, np.intp)


def _sums(weights: NDArray[np.float32], groups: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
    """Weights summed over each group of terms; an empty group sums to 0."""
    # Each group is led by the place that weighs nothing, since reduceat cannot sum an empty slice.
    blank = np.array([-1], np.int32)
    joined = np.concatenate([part for group in groups for part in (blank, group)])
    return np.asarray(np.add.reduceat(weights[joined], _starts(np.array([len(group) + 1 for group in groups]))))
