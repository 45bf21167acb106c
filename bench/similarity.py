"""How much of one text another one says again, in the same order."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["rouge_l"]


def rouge_l(reference: str, candidate: str) -> float:
    """ROUGE-L of a candidate against a reference: the F1 of their longest common subsequence of words.

    Words are lower-cased runs of ASCII letters and digits, not stemmed. Punctuation parts words and does not count; the
    number of a citation does, so take "[1]" out beforehand where it should not.

    Args:
        reference: The text to be matched.
        candidate: The text that is judged. The figure is the same with the two exchanged.

    Returns:
        In [0, 1]; 0 where either text holds no word.

    Source: Lin (2004), "ROUGE: A Package for Automatic Evaluation of Summaries", section 3; computed by rouge-score.
    """
    return float(_scorer().score(reference, candidate)["rougeL"].fmeasure)


@cache
def _scorer() -> Any:
    # It brings NLTK, which takes seconds to import, and few commands compare texts.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)
