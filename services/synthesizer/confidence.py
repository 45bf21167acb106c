"""Whether the evidence answers the question at all, before anyone looks for the sentence that does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from services.lexicon.content import content_words
from services.lexicon.tokenise import word_terms
from services.synthesizer.engine import EvidencePassage
from services.synthesizer.statement import Statement

__all__ = ["answer_confidence"]

_MISSING_WEIGHT: Final = 2.0
"""What the log-odds lose where no passage has any word of the question; set on the primer's and the development
questions and 45 near-domain ones without an answer."""
_FLOOR: Final = 0.005
"""Keeps log-odds finite."""


def answer_confidence(question: str, evidence: Sequence[EvidencePassage], statements: Sequence[Statement]) -> float:
    """How sure the evidence makes it that the documents answer a question.

    A retriever judges each passage by itself. What no passage says at all shows only over all of them: a question whose
    rare words none of them has asks for something else, however near its subject.

    Args:
        question: The user's words.
        evidence: Passages with their calibrated relevance to what was searched and to each focus.
        statements: What they say.

    Returns:
        In [0, 1]: mean log-odds of the best relevance to a focus and of the best relevance to a searched text, less the
        share of the question's content words that no passage has. 0 without evidence.
    """
    if not evidence:
        return 0.0
    searched = max(passage.relevance for passage in evidence)
    focused = max((value for passage in evidence for value in passage.focus_relevance.values()), default=searched)
    words = {terms[0] for word in content_words(question) if (terms := word_terms(word))}
    said: set[str] = set()
    for statement in statements:
        said |= statement.terms | statement.heading
    missing = len(words - said) / len(words) if words else 0.0
    odds = (_log_odds(searched) + _log_odds(focused)) / 2.0 - _MISSING_WEIGHT * missing
    return 1.0 / (1.0 + math.exp(-odds))


def _log_odds(probability: float) -> float:
    return math.log((probability + _FLOOR) / (1.0 - probability + _FLOOR))
