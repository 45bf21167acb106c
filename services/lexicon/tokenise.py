"""Words and index terms of O-RAN prose.

A *word* is what a reader sees as one: ``O-DU``, ``E2SM-KPM``, ``RRU.PrbTotDl``, ``app_mgr``, ``3.2.1``. A *term* is
what an index compares: words lower-cased and stemmed, and for an identifier its parts as well, so that
``RRU.PrbTotDl`` is found by ``prb`` and ``E2SM-KPM`` by ``kpm``.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Final

import Stemmer

from services.lexicon.stopword import STOP_WORDS

__all__ = ["parts", "raw_words", "stem", "terms", "word_terms", "words"]

# Letters and digits, joined by single hyphens, dots, underscores, apostrophes or plus signs. A slash parts words:
# "UL/DL" is two of them, and so are the steps of a path.
_WORD: Final = re.compile(r"[^\W_]+(?:[-\u2010\u2011_.'\u2019+][^\W_]+)*")
_SEPARATOR: Final = re.compile(r"[-_.'+]+")
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+|[^\W\dA-Za-z_]+")
_ACRONYM_PLURAL: Final = re.compile(r"[A-Z]s$")
_FOLDED: Final = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2019": "'", "\u03bc": "u", "\u00b5": "u"})
_LONGEST_WORD: Final = 64
"""Longer tokens are hashes and encoded blobs; only their parts are kept."""
_CACHED_WORDS: Final = 65_536


class _Snowball(threading.local):
    """One stemmer for each thread: PyStemmer objects must not be shared."""

    def __init__(self) -> None:
        self.stemmer = Stemmer.Stemmer("english")


_SNOWBALL: Final = _Snowball()


def raw_words(text: str) -> list[str]:
    """Words in order, as written, with typographic hyphens, apostrophes and the micro sign folded to ASCII."""
    return _WORD.findall(text.translate(_FOLDED))


def words(text: str) -> list[str]:
    """Lower-case words in order; identifiers such as ``o-du`` or ``rru.prbtotdl`` stay whole."""
    return [word.lower() for word in raw_words(text)]


@lru_cache(maxsize=_CACHED_WORDS)
def stem(word: str) -> str:
    """Snowball stem of one word, in lower case."""
    return str(_SNOWBALL.stemmer.stemWord(word.lower()))


@lru_cache(maxsize=_CACHED_WORDS)
def parts(word: str) -> tuple[str, ...]:
    """Lower-case parts of an identifier, split at separators and at camel case; empty for a plain word.

    Single letters are left out: the ``o`` of ``o-du`` tells nothing.
    """
    found: list[str] = []
    for piece in _SEPARATOR.split(word):
        camel = [piece] if piece.islower() or piece.isupper() else _CAMEL.findall(piece)
        # A single letter marks a word of its own kind (xApp, gNB, IPv4), not two words written together.
        if any(len(part) == 1 for part in camel):
            camel = [piece]
        if len(camel) > 1:
            found.append(piece.lower())
        found.extend(part.lower() for part in camel)
    whole = word.lower()
    return tuple(dict.fromkeys(part for part in found if len(part) > 1 and part != whole))


@lru_cache(maxsize=_CACHED_WORDS)
def word_terms(word: str) -> tuple[str, ...]:
    """Index terms of one word as written: its stem, then the stems of its parts; empty for a stop word."""
    if _ACRONYM_PLURAL.search(word):
        word = word[:-1]
    whole = word.lower().removesuffix("'s")
    if whole in STOP_WORDS:
        return ()
    if len(whole) == 1 and not whole.isdigit():
        return ()
    found = [] if len(whole) > _LONGEST_WORD else [stem(whole)]
    found.extend(stem(part) for part in parts(word) if part not in STOP_WORDS)
    return tuple(dict.fromkeys(found))


def terms(text: str) -> list[str]:
    """Index terms of a text in order, with repetition; stop words are left out.

    Args:
        text: Prose, in the case it was written in (camel case tells where an identifier parts).

    Returns:
        Stems. An identifier gives its whole form first and then its parts.
    """
    return [term for word in raw_words(text) for term in word_terms(word)]
