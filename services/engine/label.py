"""Which of a few labels a server's answer names, and how likely it held each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

__all__ = ["parse_label", "renormalise"]

_MARKS = " \t\r\n()[]{}*_`\"'.:,;!"
_LEAD = re.compile(r"\s*(?:the\s+)?(?:correct\s+)?answer(?:\s+is)?\s*[:=]?\s*", re.IGNORECASE)


def parse_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that a text names and no other: alone, before a closing mark ("B) ..."), or after "answer is".

    A label that only begins a sentence ("A good answer is ...") is not taken: a wrong choice is worse than none.

    Args:
        text: What the model wrote, where it was not held to the labels.
        labels: The labels; letter case counts only where two of them differ by nothing else.

    Returns:
        The label as it stands in labels; None where the text names none.
    """
    rest = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
    known = {label: label for label in labels}
    folded: dict[str, str] = {}
    for label in labels:
        folded[label.casefold()] = "" if label.casefold() in folded else label
    for candidate in (rest.strip(_MARKS), _before_mark(rest)):
        found = known.get(candidate) or folded.get(candidate.casefold())
        if found:
            return found
    return None


def _before_mark(text: str) -> str:
    """What stands before the first closing mark or line end, without its own brackets."""
    return re.split(r"[).:\]\n]", text.strip().lstrip("([{*_`\"'"), maxsplit=1)[0].strip(_MARKS)


def renormalise(logprobs: Iterable[tuple[str, float]], labels: Sequence[str]) -> tuple[float, ...]:
    """Probabilities of the labels among themselves, from the log-probabilities of the answer's first token.

    Args:
        logprobs: Tokens and their natural log-probabilities. Several may spell one label (" A", "A"): they add up.
        labels: The labels. One that is not listed counts as 0, since servers list the likeliest tokens.

    Returns:
        One probability for each label, summing to 1; empty where none is listed.
    """
    found: dict[str, list[float]] = {label: [] for label in labels}
    for token, logprob in logprobs:
        if token.strip() in found and not math.isnan(logprob):
            found[token.strip()].append(logprob)
    highest = max((one for each in found.values() for one in each), default=-math.inf)
    if math.isinf(highest):
        return ()
    masses = [sum(math.exp(one - highest) for one in found[label]) for label in labels]
    return tuple(mass / sum(masses) for mass in masses)
