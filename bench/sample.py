"""Which rows of a benchmark are asked: a seeded sample that gives each difficulty the same say."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np

from argo.errors import InvalidArgumentError
from bench.oran_bench import ChoiceQuestion

__all__ = ["Split", "in_split", "stratified"]

_DEV_ONE_IN: Final = 5


class Split(StrEnum):
    """Rows by what their keys may be used for."""

    DEV = "dev"
    """One row in five, by its id: keys that whoever works on the rules may look at."""
    TEST = "test"
    """The others: keys that nothing was ever set by."""
    ALL = "all"


def in_split(question: ChoiceQuestion, split: Split) -> bool:
    """Whether a row belongs to a split; the same on every machine and in every version."""
    dev = zlib.crc32(question.id.encode()) % _DEV_ONE_IN == 0
    return split is Split.ALL or dev == (split is Split.DEV)


def stratified(questions: Sequence[ChoiceQuestion], rows: int, rng: np.random.Generator) -> list[ChoiceQuestion]:
    """Draw rows without replacement, as many of each difficulty as of the others.

    What a difficulty is short of, the others give. Equal numbers make each difficulty's own figure as sharp as the
    next one's; what all rows would come to is then a weighted mean (bench.stratum).

    Args:
        questions: To draw from.
        rows: How many; 0 for all of them.
        rng: Draws them and their order.

    Returns:
        The rows in random order, so that the first of them, too, are of every difficulty.

    Raises:
        InvalidArgumentError: There are fewer.
    """
    if not 0 <= rows <= len(questions):
        raise InvalidArgumentError(f"rows must be in 0..{len(questions)}, got {rows}")
    strata: dict[str, list[ChoiceQuestion]] = {}
    for question in questions:
        strata.setdefault(question.difficulty, []).append(question)
    shares = _shares({name: len(members) for name, members in strata.items()}, rows or len(questions))
    drawn = [
        strata[name][index] for name, share in shares.items() for index in rng.permutation(len(strata[name]))[:share]
    ]
    return [drawn[index] for index in rng.permutation(len(drawn))]


def _shares(sizes: dict[str, int], rows: int) -> dict[str, int]:
    """How many of each, smallest first so that what it is short of is shared out among the larger ones."""
    shares: dict[str, int] = {}
    for place, (name, size) in enumerate(sorted(sizes.items(), key=lambda pair: pair[1])):
        shares[name] = min(size, rows // (len(sizes) - place))
        rows -= shares[name]
    return {name: shares[name] for name in sizes}
