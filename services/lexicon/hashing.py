"""Texts as vectors without a model: hashed stems, word pairs and character n-grams, the same on every machine.

Character n-grams bring words of one family together that the stemmer keeps apart (provision, provisioned, provisioner).
"""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.lexicon.tokenise import terms

__all__ = ["DIMENSION", "hash_vector"]

DIMENSION: Final = 1024
"""Numbers per vector."""
_PAIR_WEIGHT: Final = 0.3
_GRAM_WEIGHT: Final = 1.0
_GRAMS: Final = (3, 4, 5)
_SHORTEST_SPELT: Final = 4
_CACHED_WORDS: Final = 50_000


def hash_vector(text: str) -> NDArray[np.float32]:
    """The vector of a text: signed feature hashing with sublinear term frequency.

    Returns:
        float32 (DIMENSION,) of length 1, so that a dot product is a cosine; zeros for a text without a term.

    Source: Weinberger et al. (2009), Feature hashing for large scale multitask learning.
    """
    found = terms(text)
    if not found:
        return np.zeros(DIMENSION, np.float32)
    counts = Counter(found)
    pairs = Counter(itertools.pairwise(found))
    hashes = [np.array([_hash("w", term) for term in counts] + [_hash("p", *pair) for pair in pairs], np.int64)]
    weights = [
        np.concatenate(
            [
                1.0 + np.log(np.fromiter(counts.values(), float)),
                _PAIR_WEIGHT * (1.0 + np.log(np.fromiter(pairs.values(), float))),
            ]
        )
    ]
    grams = [(_grams(term), count) for term, count in counts.items()]
    if any(len(some) for some, _ in grams):
        spelt = np.concatenate([some for some, _ in grams])
        shares = np.concatenate([np.full(len(some), count / max(len(some), 1) ** 0.5) for some, count in grams])
        # Summed over all words before the root is taken: an ending that many words share tells little.
        unique, places = np.unique(spelt, return_inverse=True)
        hashes.append(unique)
        weights.append(_GRAM_WEIGHT * np.sqrt(np.bincount(places, weights=shares)))
    numbers = np.concatenate(hashes)
    signed = np.concatenate(weights) * np.where(numbers >> 31, 1.0, -1.0)
    vector = np.bincount(numbers % DIMENSION, weights=signed, minlength=DIMENSION)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@lru_cache(maxsize=_CACHED_WORDS)
def _grams(term: str) -> NDArray[np.int64]:
    """Hashes of a stem's character n-grams; short ones have none of their own."""
    if len(term) < _SHORTEST_SPELT:
        return np.zeros(0, np.int64)
    marked = f"<{term}>"
    return np.array([_hash("g", marked[at : at + n]) for n in _GRAMS for at in range(len(marked) - n + 1)], np.int64)


@lru_cache(maxsize=4 * _CACHED_WORDS)
def _hash(*parts: str) -> int:
    # CRC-32 and not hash(): Python salts its own anew in every process.
    return zlib.crc32(" ".join(parts).encode())
