"""The figures of a record of profiles: each one's latency, its speed-up and its answers against the first one's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from argo.errors import InvalidArgumentError
from bench.change import change
from bench.extrapolation import block_of, throughput
from bench.latency_score import distribution
from bench.record import Run
from bench.similarity import rouge_l, without_citations
from bench.statistic import bootstrap_mean_interval, wilson_interval

__all__ = ["score_profiles", "similarity"]

_TOKENS: Final = ("prompt_tokens", "completion_tokens", "cached_tokens")


def score_profiles(run: Run) -> list[dict[str, Any]]:
    """The figures of each profile, in the order in which they ran, from the record alone.

    The reference is the first profile that answered anything. Speed-up is its mean latency by this one's, over the
    questions that both answered; above 1 is faster. Similarity is the mean ROUGE-L of the answers to those questions.

    Raises:
        InvalidArgumentError: The record holds no profile.
    """
    profiles = run.of_kind("profile")
    if not profiles:
        raise InvalidArgumentError(f"record must hold at least 1 profile, got 0 in {run.path}")
    rows: dict[str, list[Mapping[str, Any]]] = {profile["profile"]: [] for profile in profiles}
    for row in run.of_kind("question"):
        # Of a run that was killed, the last profile's own row is missing.
        rows.get(row["profile"], []).append(row)
    answered = {label: {row["number"]: row for row in found if not row["error"]} for label, found in rows.items()}
    reference = next((label for label, found in answered.items() if found), "")
    return [
        {
            "profile": profile["profile"],
            "reference": reference,
            "error": profile["error"],
            "engines": profile["engines"],
            "environment": profile["environment"],
            **_own(rows[profile["profile"]], run.head["settings"]),
            **_against(answered.get(reference, {}), answered[profile["profile"]], run.head["settings"]["seed"]),
        }
        for profile in profiles
    ]


def _own(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    answered = [row for row in rows if not row["error"]]
    inside = sum(row["latency_ms"] <= settings["budget_ms"] for row in answered)
    low, high = wilson_interval(inside, len(rows)) if rows else (None, None)
    rate = throughput(rows, settings["concurrency"], np.random.default_rng(settings["seed"]))
    return {
        "questions": len(rows),
        "errors": len(rows) - len(answered),
        "degraded": sum(bool(row["degradations"]) for row in answered),
        "latency_ms": distribution([row["latency_ms"] for row in answered], settings["seed"]) if answered else None,
        "inside": {"value": inside / len(rows) if rows else None, "low": low, "high": high},
        "questions_per_s": rate.per_s if rate is not None else None,
        **{f"mean_{name}": statistics.fmean(row[name] for row in answered) if answered else None for name in _TOKENS},
    }


def _against(
    first: Mapping[int, Mapping[str, Any]], this: Mapping[int, Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    both = sorted(first.keys() & this.keys())
    if not both:
        return {"compared": 0, "speed_up": None, "similarity": None, "same_text": None}
    speed = change(
        [this[number]["latency_ms"] for number in both],
        [first[number]["latency_ms"] for number in both],
        np.random.default_rng(seed),
        paired=True,
        block=block_of(len(both)),
    )
    alike = [similarity(first[number]["answer"], this[number]["answer"]) for number in both]
    low, high = bootstrap_mean_interval(alike, np.random.default_rng(seed))
    return {
        "compared": len(both),
        "speed_up": {"value": speed.ratio, "low": speed.ratio_low, "high": speed.ratio_high},
        "similarity": {"value": statistics.fmean(alike), "low": low, "high": high},
        "same_text": sum(first[number]["answer"] == this[number]["answer"] for number in both) / len(both),
    }


def similarity(reference: str, candidate: str) -> float:
    """ROUGE-L of two answers without their citation marks, whose numbers would count as words; 1 for the same text."""
    one, other = (without_citations(text) for text in (reference, candidate))
    # A text without a word, such as a lone sign, has no ROUGE-L, and is still like itself.
    return 1.0 if one == other else rouge_l(one, other)
