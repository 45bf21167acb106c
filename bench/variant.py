"""The same multiple-choice question put another way: a choice by evidence must not change with it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from argo import limits
from argo.errors import InvalidArgumentError

__all__ = ["PLAIN", "VARIANTS", "Shown", "variant"]

PLAIN: Final = "plain"
_FILLERS: Final = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "which", "by", "this", "on")
"""Function words, which say nothing about O-RAN."""
_MOST_FILLERS: Final = 14


@dataclass(frozen=True)
class Shown:
    """Options as they are put."""

    options: tuple[str, ...]
    places: tuple[int, ...]
    """For each of them, its place among the options as they came."""

    def as_came(self, values: Sequence[float]) -> list[float]:
        """A figure of each option that was shown, in the order in which the options came."""
        back = [0.0] * len(values)
        for place, value in zip(self.places, values, strict=True):
            back[place] = value
        return back


def _plain(options: Sequence[str], rng: np.random.Generator) -> Shown:
    return Shown(tuple(options), tuple(range(len(options))))


def _permuted(options: Sequence[str], rng: np.random.Generator) -> Shown:
    """In another order, never the same one."""
    places = list(range(len(options)))
    while places == sorted(places):
        places = [int(place) for place in rng.permutation(len(options))]
    return Shown(tuple(options[place] for place in places), tuple(places))


def _lengthened(options: Sequence[str], rng: np.random.Generator) -> Shown:
    """Each with a few function words before and behind, so that another one is the longest."""
    return Shown(tuple(_longer(option, rng) for option in options), tuple(range(len(options))))


def _longer(option: str, rng: np.random.Generator) -> str:
    before, behind = (_words(rng) for _ in range(2))
    longer = " ".join((*before, option, *behind))
    return longer if len(longer) <= limits.OPTION_CHARACTERS else option


def _words(rng: np.random.Generator) -> list[str]:
    return [_FILLERS[index] for index in rng.integers(len(_FILLERS), size=int(rng.integers(_MOST_FILLERS // 2 + 1)))]


_VARIANTS: Final[dict[str, Callable[[Sequence[str], np.random.Generator], Shown]]] = {
    PLAIN: _plain,
    "permuted": _permuted,
    "lengthened": _lengthened,
}
VARIANTS: Final = tuple(name for name in _VARIANTS if name != PLAIN)
"""Names that :func:`variant` resolves, besides "plain"."""


def variant(name: str, options: Sequence[str], *, seed: int, row_id: str) -> Shown:
    """The options of one question as a variant shows them.

    Args:
        name: "plain", or one of VARIANTS.
        options: As they came.
        seed: Of the run; with the row's id it settles every draw.
        row_id: Id of the question.

    Raises:
        InvalidArgumentError: Unknown name.
    """
    if name not in _VARIANTS:
        raise InvalidArgumentError(f"variant must be one of {', '.join(VARIANTS)}, got {name!r}")
    return _VARIANTS[name](options, np.random.default_rng([seed, zlib.crc32(row_id.encode())]))
