"""Tables of a saved record of `answers`, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.answer_score import MEANS
from bench.strategy_table import Table
from bench.table import interval, number, percent

__all__ = ["flat", "tables"]

_TITLES: Final = {
    "rouge_l": "ROUGE-L",
    "token_f1": "token F1",
    "exact_match": "exact",
    "citation_precision": "cites right",
    "citation_recall": "evidence cited",
}


def tables(scores: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[Table]:
    """All tables of a record's figures."""
    n = max(score["n"] for score in scores)
    made = [
        Table(
            f"Answers to {n:,} questions against their gold answers, mean (95 % interval); an abstention counts as 0",
            ("strategy", *_TITLES.values(), "errors"),
            [[score["strategy"], *(_cell(score, name) for name in MEANS), str(score["errors"])] for score in scores],
        ),
        _abstention(scores),
        _work(scores),
    ]
    difficulties = [(score["strategy"], name, group) for score in scores for name, group in _groups(score)]
    if len(difficulties) > len(scores):
        made.append(
            Table(
                "By difficulty",
                ("strategy, difficulty", "n", *_TITLES.values(), "abstained"),
                [
                    [
                        f"{strategy}, {name}",
                        str(group["n"]),
                        *(_cell(group, figure) for figure in MEANS),
                        percent(group["abstained_answerable"], 0),
                    ]
                    for strategy, name, group in difficulties
                ],
            )
        )
    if pairs:
        made.append(
            Table(
                "Paired differences, points (95 % interval)",
                ("first less second", *_TITLES.values()),
                [
                    [f"{pair['first']} - {pair['second']}", *(_difference(pair.get(name)) for name in MEANS)]
                    for pair in pairs
                ],
            )
        )
    return made


def _groups(score: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(score["by_difficulty"].items())


def _abstention(scores: Sequence[Mapping[str, Any]]) -> Table:
    unanswerable = max(score["unanswerable"] for score in scores)
    return Table(
        f"Abstention: wrong where the documents answer, right where they do not ({unanswerable:,} such questions)",
        ("strategy", "wrongly", "rightly", "answered", "ROUGE-L of those", "token F1 of those"),
        [
            [
                score["strategy"],
                _cell(score, "abstained_answerable"),
                _cell(score, "abstained_unanswerable"),
                f"{score['answered']}/{score['n']}",
                percent(score["answered_rouge_l"]),
                percent(score["answered_token_f1"]),
            ]
            for score in scores
        ],
    )


def _work(scores: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        "An answer, and what it took",
        ("strategy", "words", "citations", "searches", "p50 ms", "p95 ms"),
        [
            [
                score["strategy"],
                number(score["mean_answer_words"], 0),
                *(number(score[name], 1) for name in ("mean_citations", "mean_searches")),
                *(number(score[name], 0) for name in ("p50_ms", "p95_ms")),
            ]
            for score in scores
        ],
    )


def _cell(row: Mapping[str, Any], name: str) -> str:
    """A share with its interval in one cell."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if low is None or high is None:
        return "-"
    return f"{percent(row[name])} ({interval(low * 100, high * 100, 0)})"


def _difference(pair: Mapping[str, Any] | None) -> str:
    if pair is None:
        return "-"
    return f"{pair['difference'] * 100:+.1f} ({pair['low'] * 100:+.1f}..{pair['high'] * 100:+.1f})"


def flat(score: Mapping[str, Any]) -> dict[str, Any]:
    """A strategy's figures as scalars, for a file of comma-separated values."""
    made = {name: value for name, value in score.items() if name != "by_difficulty"}
    for difficulty, group in _groups(score):
        made |= {f"{difficulty}_{name}": value for name, value in group.items()}
    return made
