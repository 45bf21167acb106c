"""The figures that are compared of two runs' questions: what each is made of, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.change import Statistic, mean_of
from bench.component import COMPONENTS, exclusive_ms
from bench.saved_run import GROUP_FIELDS, SavedRun

__all__ = ["Better", "QuestionFigure", "figures", "numbers"]

Better: TypeAlias = Literal["higher", "lower", ""]
"""Which way is better; empty where neither is by itself."""

_KNOWN: Final[Mapping[str, Better]] = {
    "correct": "higher",
    "found": "higher",
    "held": "higher",
    "rouge_l": "higher",
    "token_f1": "higher",
    "f1": "higher",
    "exact_match": "higher",
    "citation_precision": "higher",
    "citation_recall": "higher",
    "inside": "higher",
    "failed": "lower",
    "degraded": "lower",
    "abstained": "",
    "refused": "",
    "latency_ms": "lower",
    "first_delta_ms": "lower",
    "ttft_ms": "lower",
    "engine_ttft_ms": "lower",
    "tpot_ms": "lower",
    **{f"{component}_ms": "lower" for component in COMPONENTS},
    "searches": "",
    "reasoning_steps": "",
    "prompt_tokens": "",
    "cached_tokens": "",
    "completion_tokens": "",
}
"""By the field of a question's row, in the order in which they are shown."""
_CLOCK: Final = ("intended_ms", "sent_ms", "ended_ms", "number", "chunk")
"""Numbers that say when and which, not how well."""
_TRUTHS: Final = ("correct", "found", "inside", "failed", "degraded", "abstained", "refused", "exact_match")
"""Of which the mean is a share."""
_PERCENTILES: Final = ((50, 20), (95, 100), (99, 500))
"""Each with the fewest questions of which it is compared."""
_WITH_PERCENTILES: Final = ("latency_ms",)


@dataclass(frozen=True)
class QuestionFigure:
    """One figure of a group of questions."""

    field: str
    """Of :func:`numbers`."""
    name: str
    """As it is shown: the field with its statistic."""
    statistic: Statistic
    better: Better
    least: int = 1
    """Fewest questions of which it is compared."""


def figures(fields: Sequence[str], *, every: bool) -> list[QuestionFigure]:
    """What is compared of questions that have these fields, in the order in which it is shown.

    Args:
        fields: Of :func:`numbers`.
        every: Whether also of fields that no benchmark calls by a known name.
    """
    known = [name for name in _KNOWN if name in fields]
    others = [name for name in fields if name not in _KNOWN] if every else []
    found = []
    for field in (*known, *others):
        better = _KNOWN.get(field, "")
        found.append(QuestionFigure(field, f"{field} {'share' if field in _TRUTHS else 'mean'}", mean_of, better))
        if field in _WITH_PERCENTILES:
            found += [QuestionFigure(field, f"{field} p{q}", _Percentile(q), better, n) for q, n in _PERCENTILES]
    return found


@dataclass(frozen=True)
class _Percentile:
    """The q-th percentile of each row."""

    q: float

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.percentile(rows, self.q, axis=1))


def numbers(row: Mapping[str, Any], run: SavedRun) -> dict[str, float]:
    """What is numeric in a question's row, and what follows from it; truths as 1 and 0, and what is None left out.

    Returns:
        The row's own fields; failed; inside, where the run had one budget, a failed question being outside; degraded;
        and the exclusive time of each component where the row holds its calls.
    """
    error = row.get("error", "")
    found = {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name not in GROUP_FIELDS and name not in _CLOCK
    }
    found["failed"] = float(bool(error))
    if error:
        # How long a failure took is no latency.
        found.pop("latency_ms", None)
    if run.budget_ms is not None and (error or "latency_ms" in found):
        found["inside"] = float(not error and found["latency_ms"] <= run.budget_ms)
    if isinstance(row.get("degradations"), list):
        found["degraded"] = float(bool(row["degradations"]))
    if not error and "hops" in row and "intended_ms" in row:
        found |= {f"{name}_ms": value for name, value in exclusive_ms(row).items()}
    return found
