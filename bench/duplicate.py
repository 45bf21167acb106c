"""Which other documents say the same, so that a passage of theirs is not counted as wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from bench.wording import RUN, runs, words

__all__ = ["find_duplicates"]

_SAME: Final = 0.5
"""Least share of a support's runs of five words that another document holds to say the same."""


def find_duplicates(supports: Sequence[tuple[str, str]], documents: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Find each support in the documents that it is not from, word for word or nearly so.

    Args:
        supports: Path of its document, and the words, of each.
        documents: Words of each document in lower case, parted by blanks, by path.

    Returns:
        Paths of the other documents that hold at least half of its runs of five words, sorted, for each support.
    """
    wanted: dict[tuple[str, ...], list[int]] = defaultdict(list)
    size = []
    for index, (_, support) in enumerate(supports):
        own = runs(support) or {tuple(words(support))}
        size.append(len(own))
        for run in own:
            wanted[run].append(index)
    found: list[list[str]] = [[] for _ in supports]
    for path, plain in documents.items():
        split = plain.split(" ")
        held = {run for start in range(len(split) - RUN + 1) if (run := tuple(split[start : start + RUN])) in wanted}
        counts = Counter(index for run in held for index in wanted[run])
        for index, count in counts.items():
            if path != supports[index][0] and count >= _SAME * size[index]:
                found[index].append(path)
    return [tuple(sorted(paths)) for paths in found]
