"""The sets that strategies are asked: rows of ORAN-Bench, and files of questions with evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from argo.errors import InvalidArgumentError
from bench.item import Item, choice_items, evidence_items
from bench.oran_bench import read_oran_bench
from bench.question import check_paths, read_questions
from bench.sample import Split, in_split, stratified

__all__ = ["ORAN_BENCH", "QuestionSet", "read_sets"]

ORAN_BENCH: Final = "oran-bench"


@dataclass(frozen=True)
class QuestionSet:
    """Questions that are judged together."""

    name: str
    items: tuple[Item, ...]
    about: dict[str, Any]
    """For the record; "pool" is the number of usable rows of each difficulty, which a weighted mean goes by."""


def read_sets(
    oran_bench: Path | None, rows: int, split: Split, questions: Sequence[Path], docs: Path, seed: int
) -> list[QuestionSet]:
    """Read whatever is to be asked, before anything is started.

    Args:
        oran_bench: Folder of ORAN-Bench-13K; None for none of it.
        rows: Rows of it; 0 for all.
        split: Which of its rows.
        questions: Files of questions with evidence, each a set under the name of the file.
        docs: Folder that holds the documents of the evidence.
        seed: Draws the rows.

    Raises:
        InvalidArgumentError: A file cannot be used, there are fewer rows, or two files have one name.
    """
    sets = []
    if oran_bench is not None:
        sets.append(_oran_bench(oran_bench, rows, split, seed))
    for path in questions:
        read = read_questions(path, answerable=True)
        check_paths(read, docs)
        items = tuple(evidence_items(path.stem, read))
        pool = dict(Counter(item.difficulty for item in items))
        sets.append(QuestionSet(path.stem, items, {"read": len(items), "pool": pool}))
    names = [one.name for one in sets]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(f"questions must be files of different names, got {name!r} more than once")
    return sets


def _oran_bench(folder: Path, rows: int, split: Split, seed: int) -> QuestionSet:
    read = read_oran_bench(folder)
    usable = [question for question in read.questions if in_split(question, split)]
    if not usable:
        raise InvalidArgumentError(f"oran_bench must hold usable rows of split {split.value}, got none in {folder}")
    items = tuple(choice_items(ORAN_BENCH, stratified(usable, rows, np.random.default_rng(seed))))
    about = {
        "read": read.rows,
        "left_out": {reason.value: count for reason, count in read.left_out.items()},
        "other_split": len(read.questions) - len(usable),
        "pool": dict(Counter(question.difficulty for question in usable)),
    }
    return QuestionSet(ORAN_BENCH, items, about)
