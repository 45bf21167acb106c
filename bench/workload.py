"""The questions that a load is made of, wherever they come from, in an order that a seed fixes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from argo.errors import InvalidArgumentError
from bench.asker import AskRequest
from bench.oran_bench import read_oran_bench
from bench.question import read_questions

__all__ = ["Item", "Workload", "load_workload", "requests"]


@dataclass(frozen=True)
class Item:
    """A question and its options, which is all that the stack sees of it, with the name that records know it by."""

    id: str
    question: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """Questions to draw from."""

    items: tuple[Item, ...]
    origin: str
    """Where they are from, for the record."""

    def drawn(self, count: int, seed: int) -> list[Item]:
        """So many questions, each as often as any other, or once less.

        Args:
            count: How many. Where it is more than there are, all are asked before any comes again.
            seed: Of their order. Each round has its own, so that no kind of question that stands together in a file
                comes all at once.
        """
        return list(itertools.islice(self._rounds(np.random.default_rng(seed)), count))

    def _rounds(self, rng: np.random.Generator) -> Iterator[Item]:
        while True:
            for number in rng.permutation(len(self.items)):
                yield self.items[number]


def load_workload(question_file: Path, oran_bench: Path | None) -> Workload:
    """Read the rows of ORAN-Bench where its folder is given, else a question file; answers and evidence stay behind.

    Raises:
        InvalidArgumentError: The file or the folder cannot be used.
    """
    if oran_bench is not None:
        rows = read_oran_bench(oran_bench).questions
        if not rows:
            raise InvalidArgumentError(
                f"oran_bench must hold at least 1 row that can be asked, got none in {oran_bench}"
            )
        return Workload(
            tuple(Item(row.id, row.question, row.options) for row in rows), f"ORAN-Bench, {oran_bench.name}"
        )
    questions = read_questions(question_file, answerable=None)
    return Workload(tuple(Item(one.id, one.question) for one in questions), question_file.name)


def requests(items: Sequence[Item], *, strategy: str | None, budget_ms: int | None, seed: int) -> list[AskRequest]:
    """The items as they are put."""
    return [
        AskRequest(item.question, item.options, strategy=strategy, budget_ms=budget_ms, seed=seed) for item in items
    ]
