"""Accuracy on the questions that a system is surest of: what it would get right if it left the others unanswered."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from argo.errors import InvalidArgumentError
from bench.statistic import wilson_interval

__all__ = ["Covered", "Graded", "cover_accuracy", "parse_coverages", "pick", "surest"]


@dataclass(frozen=True)
class Graded:
    """A question with what its answer came to."""

    id: str
    correct: bool
    confidence: float
    """Larger is surer; comparable among the questions of one system."""


@dataclass(frozen=True)
class Covered:
    """Accuracy at one coverage."""

    coverage: float
    """Share of the questions that is answered."""
    n: int
    correct: int
    accuracy: float
    low: float
    """Lower end of its 95 % Wilson interval."""
    high: float
    least_confidence: float
    """Of the questions that are answered."""


def pick(probabilities: Sequence[float], question_id: str) -> int | None:
    """The most probable option; among equal ones a draw that the question's id settles.

    An option's place and length have no say in the draw, and neither has the system: each one that knows nothing of a
    question guesses the same.

    Args:
        probabilities: Of the options in the order in which they came.
        question_id: Settles the draw.

    Returns:
        Index of the option; None where there are no probabilities.
    """
    if not probabilities:
        return None
    top = max(probabilities)
    equal = [place for place, value in enumerate(probabilities) if value == top]
    return min(equal, key=lambda place: hashlib.sha256(f"{question_id}\0{place}".encode()).digest())


def surest(rows: Sequence[Graded], coverage: float) -> list[Graded]:
    """The share of rows with the largest confidence, at least one; among equal ones the id settles who is in."""
    count = max(1, round(coverage * len(rows)))
    return sorted(rows, key=lambda row: (-row.confidence, zlib.crc32(row.id.encode()), row.id))[:count]


def cover_accuracy(rows: Sequence[Graded], coverage: float) -> Covered:
    """Accuracy on the share of questions that are answered with the most confidence.

    Args:
        rows: All questions, at least one; a failed one is wrong, with a confidence below all others.
        coverage: In (0, 1].

    Source: Geifman and El-Yaniv (2017), selective classification.
    """
    kept = surest(rows, coverage)
    correct = sum(row.correct for row in kept)
    low, high = wilson_interval(correct, len(kept))
    return Covered(coverage, len(kept), correct, correct / len(kept), low, high, kept[-1].confidence)


def parse_coverages(text: str) -> list[float]:
    """Shares parted by commas, largest first.

    Raises:
        InvalidArgumentError: One is no number in (0, 1].
    """
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgumentError(f"coverage must be numbers parted by commas, such as 1,0.3, got {text!r}") from None
    for share in shares:
        if not 0 < share <= 1:
            raise InvalidArgumentError(f"coverage must be above 0 and at most 1, got {share:g}")
    return sorted(set(shares), reverse=True)
