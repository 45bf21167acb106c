"""What a guesser gets on a multiple-choice benchmark without reading a document: the floor under every accuracy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from bench.oran_bench import ChoiceQuestion

__all__ = ["BASELINES", "baseline_accuracy", "guesses"]

_ALL_OF_THE_ABOVE: Final = re.compile(r"\ball\s+(?:of\s+)?(?:the\s+)?(?:above|these|mentioned)\b", re.IGNORECASE)


def _chance(question: ChoiceQuestion, letter: int) -> Fraction:
    return Fraction(1, len(question.options))


def _longest(question: ChoiceQuestion, letter: int) -> Fraction:
    # Of several equally long ones, one at random.
    longest = max(len(option) for option in question.options)
    picked = [place for place, option in enumerate(question.options) if len(option) == longest]
    return Fraction(question.key in picked, len(picked))


def _letter(question: ChoiceQuestion, letter: int) -> Fraction:
    return Fraction(question.key == letter)


def _all_of_the_above(question: ChoiceQuestion, letter: int) -> Fraction:
    for place, option in enumerate(question.options):
        if _ALL_OF_THE_ABOVE.search(option):
            return Fraction(question.key == place)
    return _longest(question, letter)


BASELINES: Final = {
    "chance": _chance,
    "longest option": _longest,
    "most common letter": _letter,
    "all of the above, else longest": _all_of_the_above,
}
"""Guessers by name."""


def guesses(questions: Sequence[ChoiceQuestion]) -> list[dict[str, float]]:
    """Chance of each guesser to be right, for each question, in [0, 1].

    The letter is the most common key of these very questions, so its accuracy is the most that any letter gets.

    Raises:
        ValueError: There are no questions.
    """
    return [{name: float(chance) for name, chance in row.items()} for row in _guesses(questions)]


def baseline_accuracy(questions: Sequence[ChoiceQuestion]) -> dict[str, float]:
    """Expected accuracy of each guesser over some questions, in [0, 1].

    Raises:
        ValueError: There are no questions.
    """
    rows = _guesses(questions)
    return {name: float(sum((row[name] for row in rows), Fraction(0)) / len(rows)) for name in BASELINES}


def _guesses(questions: Sequence[ChoiceQuestion]) -> list[dict[str, Fraction]]:
    if not questions:
        raise ValueError("questions must hold at least 1 entry, got 0")
    (letter, _), *_ = Counter(question.key for question in questions).most_common(1)
    return [{name: guess(question, letter) for name, guess in BASELINES.items()} for question in questions]
