"""How much of one text another one says again."""

from __future__ import annotations

import re
import string
from collections import Counter
from functools import cache
from typing import Any, Final

__all__ = ["exact_match", "normalised", "rouge_l", "token_f1", "without_citations"]

_CITATION: Final = re.compile(r"\s*\[\d+\]")
_ARTICLE: Final = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def without_citations(text: str) -> str:
    """An answer without its citation marks, such as " [1]", which are no words of it."""
    return _CITATION.sub("", text)


def normalised(text: str) -> str:
    """The text as SQuAD compares answers: lower case, without punctuation, articles and extra blanks.

    Punctuation is taken out and leaves no blank, so that "RRU.PrbTotDl" is one word.

    Source: the evaluation script of SQuAD 1.1, Rajpurkar et al. (2016).
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(reference: str, candidate: str) -> bool:
    """Whether both texts are the same once :func:`normalised`."""
    return normalised(reference) == normalised(candidate)


def token_f1(reference: str, candidate: str) -> float:
    """The F1 of the words that both texts have, each as often as both have it, whatever their order.

    Args:
        reference: The text to be matched.
        candidate: The text that is judged. The figure is the same with the two exchanged.

    Returns:
        In [0, 1]; where either text has no word once :func:`normalised`, 1 if neither has one and otherwise 0.

    Source: the evaluation script of SQuAD 2.0, Rajpurkar, Jia and Liang (2018).
    """
    wanted, given = normalised(reference).split(), normalised(candidate).split()
    if not wanted or not given:
        return float(wanted == given)
    both = (Counter(wanted) & Counter(given)).total()
    return 2 * both / (len(wanted) + len(given))


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
