"""Questions that need two sections of different files: a question about each, joined by what both are about."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.fact import Fact, capitalised
from bench.wording import content_words, words

__all__ = ["Joined", "join_facts"]

_LEAST_LIKENESS: Final = 0.12
_MOST_SHARED: Final = 0.4
"""Share of the words of two facts beyond which one may answer for the other."""
_MOST_WORDS: Final = 60


@dataclass(frozen=True)
class Joined:
    """A question that needs both facts."""

    first: Fact
    second: Fact
    question: str
    bridged: bool
    """Whether the second asks about what answers the first, which it does not name."""


def join_facts(facts: Sequence[Fact], most: int) -> list[Joined]:
    """Join facts of different files that are about one thing, each fact once.

    Args:
        facts: In the order in which they are taken; those of one split.
        most: Most questions.

    Returns:
        Bridged ones first, as far as there are any; then those of likely pairs, the order kept.
    """
    taken: set[str] = set()
    joined: list[Joined] = []
    for first, second in (*_bridges(facts), *_likely(facts)):
        if len(joined) == most:
            break
        if first.support in taken or second.support in taken or not _apart(first, second):
            continue
        one = _join(first, second)
        if one is not None:
            joined.append(one)
            taken |= {first.support, second.support}
    return joined


def _apart(first: Fact, second: Fact) -> bool:
    """Whether neither file says what the other one is needed for."""
    return (
        first.document.path != second.document.path
        and second.document.path not in first.also
        and first.document.path not in second.also
        and not set(first.also) & set(second.also)
    )


def _thing(name: str) -> str:
    return " ".join(word for word in words(name) if word not in ("the", "a", "an", "each", "all"))


def _bridges(facts: Sequence[Fact]) -> Iterable[tuple[Fact, Fact]]:
    """Pairs where the answer of the first is what the second is about."""
    about: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.made.follow_up:
            about[_thing(fact.made.about)].append(fact)
    for first in facts:
        if first.made.answers and len(content_words(first.made.answers)) > 0:
            for second in about[_thing(first.made.answers)]:
                if _related(first, second):
                    yield first, second


def _related(first: Fact, second: Fact) -> bool:
    """Whether a thing of one name is likely to be one thing: in one repository, or named by more than one word."""
    name = content_words(first.made.answers)
    return first.document.repository == second.document.repository or len(name) > 1


def _likely(facts: Sequence[Fact]) -> list[tuple[Fact, Fact]]:
    """Pairs of facts that share rare words and do not say the same, the likeliest first."""
    bags = [content_words(f"{fact.question} {fact.support}") for fact in facts]
    vectors = _vectors(bags)
    holders: dict[str, list[int]] = defaultdict(list)
    for index, vector in enumerate(vectors):
        for word in vector:
            holders[word].append(index)
    pairs = []
    for index, vector in enumerate(vectors):
        likeness: defaultdict[int, float] = defaultdict(float)
        for word, weight in vector.items():
            for other in holders[word]:
                if other > index:
                    likeness[other] += weight * vectors[other][word]
        pairs += [
            (-value, index, other)
            for other, value in likeness.items()
            if value >= _LEAST_LIKENESS
            and len(bags[index] & bags[other]) <= _MOST_SHARED * len(bags[index] | bags[other])
        ]
    return [(facts[index], facts[other]) for _, index, other in sorted(pairs)]


def _vectors(bags: Sequence[set[str]]) -> list[dict[str, float]]:
    """Inverse document frequencies of each bag's words, of length 1."""
    counts = Counter(word for bag in bags for word in bag)
    vectors = []
    for bag in bags:
        weights = {word: math.log(len(bags) / counts[word]) for word in sorted(bag)}
        length = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        vectors.append({word: weight / length for word, weight in weights.items()})
    return vectors


def _join(first: Fact, second: Fact) -> Joined | None:
    """One question of two; None where it would be too long."""
    bridged = bool(
        first.made.answers and second.made.follow_up and _thing(first.made.answers) == _thing(second.made.about)
    )
    same_place = second.context == first.context
    if bridged:
        rest = f"and {second.made.follow_up}" if same_place else f"and, {second.context}, {second.made.follow_up}"
    else:
        rest = f"and {second.core if same_place else second.placed}"
    text = f"{first.placed}, {rest}?"
    return Joined(first, second, capitalised(text), bridged) if len(text.split()) <= _MOST_WORDS else None
