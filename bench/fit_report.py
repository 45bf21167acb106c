"""The tables of a policy fit: what was estimated, what the policy does with it, and what that changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from rich.console import Console

from bench.action_time import time_table
from bench.estimate import Estimate, closing_table
from bench.fit import FITTED, NON_ADAPTIVE, Fit, best_closing, fit_record, fitted_sessions
from bench.held_out import MARGIN, SAVING, Comparison, compare, score
from bench.plot_fit import plot_fit
from bench.record import Run
from bench.table import interval, markdown, number, percent, show, write_csv
from orchestrator.action_time import BUILTIN_TIMES, AnswerMode
from orchestrator.policy import PolicyState
from orchestrator.policy_book import PolicyBook
from orchestrator.policy_file import PolicyFile
from orchestrator.strategy import strategy

__all__ = ["report"]

_FOCI: Final = (1, 2, 3)
_Table = tuple[str, Sequence[str], list[list[str]]]


def report(run: Run, console: Console) -> dict[str, Any]:
    """Show the tables of a record; the same as Markdown and CSV beside it.

    Returns:
        What the last line of output holds: headline figures; the rest is in the file that "report" names.
    """
    made, seed = fit_record(run), run.head["settings"]["seed"]
    # Those that the fit was made of: at another relevance other foci close, after other searches.
    rows = fitted_sessions(run.of_kind("session"), best_closing(made.closings))
    rng = np.random.default_rng(seed)
    closing, times = closing_table(rows, rng), time_table(rows, rng)
    splits = list(dict.fromkeys(row["split"] for row in run.of_kind("question")))
    scores = {split: score(run, split) for split in splits}
    comparisons = {split: _comparisons(run, split, scores[split], seed) for split in splits}
    tables: list[_Table] = [
        _estimates(made),
        *_closings(made),
        ("Foci closed by the step that searched for them", _CLOSING, [_closing_cells(row) for row in closing]),
        ("Times, ms: 90th percentile of actions, 99th of answers", _TIMES, [_time_cells(asdict(c)) for c in times]),
        _actions(made),
    ]
    for split in splits:
        tables.append((f"Questions of {split}", _SCORES, [_score_cells(row) for row in scores[split]]))
        tables.append(
            (
                f"Compared on {split}: recall in points with 95 % intervals, McNemar p, searches",
                _COMPARED,
                [_compared_cells(row) for row in comparisons[split]],
            )
        )
    for table in tables:
        show(console, *table)
    lines = _verdicts(comparisons.get("test", []))
    for line in lines:
        console.print(line, highlight=False)
    stem = run.stem
    text = "\n".join(f"{title}\n\n{markdown(columns, cells)}" for title, columns, cells in tables)
    stem.with_suffix(".md").write_text("\n".join([text, *lines]) + "\n", encoding="utf-8")
    if splits:
        plot_fit(run, stem.with_suffix(".png"))
    write_csv(stem.with_suffix(".csv"), [{"split": split, **row} for split in splits for row in scores[split]])
    whole = {
        "estimates": [asdict(estimate) for estimate in made.estimates],
        "closings": [asdict(closing) for closing in made.closings],
        "closed": closing,
        "times": [asdict(cell) for cell in times],
        "times_observed": made.observed,
        "scores": scores,
        "comparisons": {split: [row.to_mapping() for row in found] for split, found in comparisons.items()},
    }
    stem.with_suffix(".json").write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    against = [row for row in comparisons.get("test", []) if row.second in NON_ADAPTIVE]
    return {
        "parameters": made.after.parameters.to_mapping(),
        "sessions": len(run.of_kind("session")),
        "recall": {f"{row['run']}, {row['budget_ms']} ms": row["recall"] for row in scores.get("test", [])},
        "searches": {f"{row['run']}, {row['budget_ms']} ms": row["searches"] for row in scores.get("test", [])},
        "against_non_adaptive": [row.to_mapping() for row in against],
        "report": stem.with_suffix(".json").name,
    }


def _comparisons(run: Run, split: str, scores: Sequence[dict[str, Any]], seed: int) -> list[Comparison]:
    """The fitted policy against everything else, the better non-adaptive strategy first."""
    found = []
    for budget_ms in dict.fromkeys(row["budget_ms"] for row in scores):
        names = [row["run"] for row in scores if row["budget_ms"] == budget_ms]
        best = _best_non_adaptive(scores, budget_ms)
        others = [name for name in (best, *names) if name in names and name != FITTED]
        found += [
            made
            for name in dict.fromkeys(others)
            if FITTED in names and (made := compare(run, split, FITTED, name, budget_ms, seed)) is not None
        ]
    return found


def _best_non_adaptive(scores: Sequence[dict[str, Any]], budget_ms: int) -> str:
    """The better one by recall, of equals the one with fewer searches."""
    rows = [row for row in scores if row["run"] in NON_ADAPTIVE and row["budget_ms"] == budget_ms]
    best = max(rows, key=lambda row: (row["recall"], -(row["searches"] or 0.0)), default=None)
    return "" if best is None else str(best["run"])


def _verdicts(comparisons: Iterable[Comparison]) -> list[str]:
    """For each budget, whether the fitted policy is what it is to be against the better non-adaptive strategy."""
    said: dict[int, str] = {}
    for row in comparisons:
        if row.budget_ms in said or row.second not in NON_ADAPTIVE:
            continue
        aim = f"not inferior by {MARGIN * 100:.0f} points at {SAVING:.0%} fewer searches, or better at no more searches"
        state = f"reached: {row.reached}" if row.reached != "no" else "NOT reached"
        budget = f"{row.budget_ms:,} ms" if row.budget_ms else "no budget"
        said[row.budget_ms] = f"{budget}, {row.first} against {row.second}: {state} ({aim})"
    return list(said.values())


def _estimates(made: Fit) -> _Table:
    before, after = made.before.parameters.to_mapping(), made.after.parameters.to_mapping()
    cells = [
        _estimate_cells(estimate, before.get(estimate.name), after.get(estimate.name)) for estimate in made.estimates
    ]
    return "Parameters", ("parameter", "before", "fitted", "95 % interval", "n", "clusters", "counted"), cells


def _estimate_cells(estimate: Estimate, before: Any, after: Any) -> list[str]:
    fitted = estimate.value is not None
    return [
        estimate.name,
        _number(before),
        _number(after) if fitted else "as before",
        interval(estimate.low, estimate.high, 3),
        f"{estimate.n:,}",
        str(estimate.clusters),
        estimate.how,
    ]


def _number(value: Any) -> str:
    return number(value, 3) if isinstance(value, int | float) else "-"


def _closings(made: Fit) -> list[_Table]:
    """What each relevance that was tried makes of the first step; no table where one alone was in force."""
    if not made.closings:
        return []
    columns = ("closes from", "n", "evidence held", "searches", "worth", "95 % against the one set", "taken")
    best = best_closing(made.closings)
    cells = [
        [
            number(row.close_relevance),
            f"{row.n:,}",
            percent(row.held),
            number(row.searches),
            number(row.worth, 4),
            "-" if row.low is None or row.high is None else f"{row.low:+.4f}..{row.high:+.4f}",
            "yes" if row.close_relevance == best else "",
        ]
        for row in made.closings
    ]
    return [("Relevance that closes a focus, by the first step of train questions", columns, cells)]


_CLOSING: Final = ("tracker", "answer", "foci", "search", "opened", "closed", "95 % interval")


def _closing_cells(row: dict[str, Any]) -> list[str]:
    return [
        row["tracker"],
        row["mode"],
        str(row["foci"]),
        row["search"],
        f"{row['n']:,}",
        percent(row["closed"]),
        "-" if row["low"] is None else interval(row["low"] * 100, row["high"] * 100, 1),
    ]


_TIMES: Final = ("what", "tracker", "answer", "foci", "n", "percentile", "ms", "95 % interval")


def _time_cells(row: dict[str, Any]) -> list[str]:
    low, high = (number(row[end], 1) for end in ("low_ms", "high_ms"))
    return [
        row["what"],
        row["tracker"],
        row["mode"],
        str(row["foci"]),
        f"{row['n']:,}",
        f"{row['q']:.0f}",
        number(row["ms"], 1),
        f"{low}..{high}",
    ]


def _actions(made: Fit) -> _Table:
    """What the policy does without a budget in every state of questions with few foci, before and after."""
    columns = ("foci", "closed", "searched once", "before", "fitted")
    before, after = _table(made.before), _table(made.after)
    cells = [[*map(str, state), before[state], after[state]] for state in before]
    return "What the policy does without a budget", columns, cells


def _table(content: PolicyFile) -> dict[tuple[int, int, int], str]:
    """The action by number of foci, of those closed, and of open ones searched once: none of them or all."""
    times = content.times or BUILTIN_TIMES
    book = PolicyBook(content.parameters, times, reason_available=times.reason_s is not None)
    found = {}
    for foci in _FOCI:
        policy = book.policy(strategy("mdp"), n_foci=foci, mode=AnswerMode.FREE)
        for closed in range(foci):
            left = foci - closed
            for once in (0, left):
                state = PolicyState(progress=closed / foci, open_foci=left, searched=(once, 0))
                found[foci, closed, once] = str(policy.act(state).action)
    return found


_SCORES: Final = (
    "run",
    "budget ms",
    "found",
    "recall",
    "95 % interval",
    "searches",
    "steps",
    "p50 ms",
    "p95 ms",
    "in budget",
    "refused",
    "errors",
)


def _score_cells(row: dict[str, Any]) -> list[str]:
    return [
        row["run"],
        f"{row['budget_ms']:,}" if row["budget_ms"] else "none",
        f"{row['found']}/{row['questions']}",
        percent(row["recall"]),
        interval(row["recall_low"] * 100, row["recall_high"] * 100, 1),
        number(row["searches"]),
        number(row["steps"]),
        number(row["p50_ms"], 0),
        number(row["p95_ms"], 0),
        percent(row["within_budget"], 0),
        percent(row["refused"], 0),
        str(row["errors"]),
    ]


_COMPARED: Final = (
    "fitted less",
    "budget ms",
    "recall",
    "by question",
    "by repository",
    "only it",
    "only other",
    "p",
    "searches",
    "95 % interval",
)


def _compared_cells(row: Comparison) -> list[str]:
    by_cluster = (
        "-"
        if row.cluster_low is None or row.cluster_high is None
        else f"{row.cluster_low * 100:+.1f}..{row.cluster_high * 100:+.1f}"
    )
    return [
        row.second,
        f"{row.budget_ms:,}" if row.budget_ms else "none",
        f"{row.recall_difference * 100:+.1f}",
        f"{row.low * 100:+.1f}..{row.high * 100:+.1f}",
        by_cluster,
        str(row.only_first),
        str(row.only_second),
        "< 0.001" if row.p is not None and row.p < 0.001 else number(row.p, 3),
        f"x {row.searches_ratio:.2f}",
        interval(row.ratio_low, row.ratio_high),
    ]
