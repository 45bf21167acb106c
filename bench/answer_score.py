"""Figures of each strategy's answers, from a saved record of `answers` alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import numpy as np

from bench.paired import compare_paired
from bench.record import Run
from bench.statistic import bootstrap_mean_interval, percentile, wilson_interval

__all__ = ["MEANS", "comparisons", "score"]

MEANS: Final = ("rouge_l", "token_f1", "exact_match", "citation_precision", "citation_recall")
"""Figures of one question in [0, 1], of which means are given."""

_Row: TypeAlias = Mapping[str, Any]


def score(run: Run) -> list[dict[str, Any]]:
    """The figures of each strategy, in the order in which they were named.

    Returns:
        Of the questions that the documents answer: n, errors, the mean of each of MEANS with its 95 % interval (Wilson
        for exact_match, which is a share; the bootstrap otherwise), abstained_answerable, which is wrong, and the
        means of those that were answered as answered_rouge_l and answered_token_f1. Of the others: unanswerable, their
        number, and abstained_unanswerable, which is right. A failed question counts as 0 in every mean, and is no
        abstention. citation_precision is of the answers that cite; cite is their number. None where there is nothing
        to take it of.
    """
    rows = run.of_kind("question")
    seed = run.head["settings"]["seed"]
    scores = []
    for strategy in run.head["settings"]["strategies"]:
        own = [row for row in rows if row["asked_strategy"] == strategy]
        if not own:
            continue
        answerable = [row for row in own if row["answerable"]]
        unanswerable = [row for row in own if not row["answerable"]]
        answered = [row for row in answerable if not row["error"] and not row["abstained"]]
        latency = [row["latency_ms"] for row in own if not row["error"]]
        groups = sorted({row["difficulty"] for row in answerable})
        scores.append(
            {
                "strategy": strategy,
                **_means(answerable, seed),
                **_share("abstained_answerable", [_abstained(row) for row in answerable]),
                "unanswerable": len(unanswerable),
                **_share("abstained_unanswerable", [_abstained(row) for row in unanswerable]),
                "errors": sum(bool(row["error"]) for row in own),
                "answered": len(answered),
                "answered_rouge_l": _mean([row["rouge_l"] for row in answered]),
                "answered_token_f1": _mean([row["token_f1"] for row in answered]),
                "mean_answer_words": _mean([row["answer_words"] for row in answered]),
                "mean_citations": _mean([len(row["cited"]) for row in answered]),
                "mean_searches": _mean([row["searches"] for row in own if not row["error"]]),
                "p50_ms": percentile(latency, 50) if latency else None,
                "p95_ms": percentile(latency, 95) if latency else None,
                "by_difficulty": {
                    name: {
                        **_means(group, seed),
                        **_share("abstained_answerable", [_abstained(row) for row in group]),
                    }
                    for name in groups
                    if (group := [row for row in answerable if row["difficulty"] == name])
                },
            }
        )
    return scores


def _abstained(row: _Row) -> bool:
    return not row["error"] and bool(row["abstained"])


def _means(rows: Sequence[_Row], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(rows)}
    for name in MEANS:
        values = [float(row[name]) for row in rows if row[name] is not None]
        if name == "citation_precision":
            found["cite"] = len(values)
        if not values:
            low = high = None
        elif name == "exact_match":
            low, high = wilson_interval(int(sum(values)), len(values))
        else:
            low, high = bootstrap_mean_interval(values, np.random.default_rng(seed))
        found |= {name: _mean(values), f"{name}_low": low, f"{name}_high": high}
    return found


def _share(name: str, true: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson_interval(sum(true), len(true)) if true else (None, None)
    return {name: sum(true) / len(true) if true else None, f"{name}_low": low, f"{name}_high": high}


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def comparisons(run: Run) -> list[dict[str, Any]]:
    """Each strategy against the first, question by question; the first one less the other.

    Returns:
        For each of MEANS the difference with its 95 % paired-bootstrap interval, and for exact_match McNemar's exact p;
        citation_precision over the questions where both cite. A figure is left out where there is no such question.
    """
    rows = [row for row in run.of_kind("question") if row["answerable"]]
    first, *others = run.head["settings"]["strategies"]
    by_id = {row["id"]: row for row in rows if row["asked_strategy"] == first}
    found = []
    for other in others:
        pairs = [(by_id[row["id"]], row) for row in rows if row["asked_strategy"] == other and row["id"] in by_id]
        row: dict[str, Any] = {"first": first, "second": other}
        for name in MEANS:
            both = [(a[name], b[name]) for a, b in pairs if a[name] is not None and b[name] is not None]
            if both:
                rng = np.random.default_rng(run.head["settings"]["seed"])
                row[name] = asdict(compare_paired([a for a, _ in both], [b for _, b in both], rng))
        found.append(row)
    return found
