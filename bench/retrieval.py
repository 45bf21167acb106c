"""Retrieval quality of a running stack: does the evidence that an answer needs reach the passages that are kept?"""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from argo.errors import ArgoError
from bench.asker import Asked, Asker, AskRequest
from bench.component import mean_own_ms, own_ms
from bench.evidence import MAX_PASSAGES, MAX_WORDS, Match, cap, match
from bench.question import Question
from bench.record import RecordFile
from bench.row import answer_row
from bench.statistic import bootstrap_mean_interval, calibration, summary, wilson_interval

__all__ = ["Outcome", "StrategyRun", "compare", "measure", "score", "score_strategy"]


@dataclass(frozen=True)
class Outcome:
    """What one question came to."""

    question: Question
    answerable: bool
    asked: Asked | None
    """None where the question failed."""
    match: Match
    relevance: tuple[float, ...]
    """Of each passage that counts, in rank order."""
    words: int
    """Of the passages that count."""
    error: str = ""

    @property
    def refused(self) -> bool:
        """Whether the stack said that the documents do not answer; a failure is no refusal."""
        return self.asked is not None and self.asked.answer.abstained

    def record(self) -> dict[str, Any]:
        """The raw record; holds every number that the scores are made of."""
        raw: dict[str, Any] = {
            "id": self.question.id,
            "difficulty": self.question.difficulty,
            "answerable": self.answerable,
            "found": self.match.complete,
            "evidence_rank": self.match.evidence_rank,
            "error": self.error,
        }
        if self.asked is not None:
            answer = self.asked.answer
            raw |= {
                "latency_ms": self.asked.latency_s * 1000,
                "own_ms": own_ms(answer_row(answer)),
                "searches": answer.searches,
                "steps": answer.steps,
                "foci": [focus.text for focus in answer.foci],
                "progress": answer.progress,
                "end_reason": answer.end_reason.value,
                "refused": answer.abstained,
                "within_budget": answer.within_budget,
                "degradations": [degradation.detail for degradation in answer.degradations],
                "answer": answer.text,
                "kept": len(answer.passages),
                "counted_words": self.words,
                "passages": [
                    {"id": passage.id, "source": passage.source, "relevance": relevance, "carries": carries}
                    for passage, relevance, carries in zip(
                        answer.passages, self.relevance, self.match.passage_carries, strict=False
                    )
                ],
            }
        return raw


def score(question: Question, asked: Asked, *, answerable: bool) -> Outcome:
    """Look for the evidence of one question among the passages of its answer, under the cap."""
    passages = cap(asked.answer.passages)
    return Outcome(
        question=question,
        answerable=answerable,
        asked=asked,
        match=match(question, passages),
        relevance=tuple(passage.relevance for passage in passages),
        words=sum(len(passage.text.split()) for passage in passages),
    )


@dataclass
class StrategyRun:
    """The outcomes of one strategy, in the order of the files."""

    strategy: str
    outcomes: list[Outcome] = field(default_factory=list)


async def measure(
    asker: Asker,
    questions: Sequence[tuple[Question, bool]],
    strategy: str,
    *,
    budget_ms: int | None,
    seed: int,
    concurrency: int,
    records: RecordFile,
    advance: Callable[[], None],
) -> StrategyRun:
    """Ask every question once with one strategy.

    Args:
        asker: The running stack.
        questions: Each with whether the documents answer it.
        strategy: By name.
        budget_ms: Soft budget; None for the stack's own.
        seed: Of the `random` strategy.
        concurrency: Questions in flight; latency is only comparable at the same number.
        records: Where raw records go, as they come.
        advance: Called once for each finished question.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(question: Question, answerable: bool) -> Outcome:
        async with gate:
            try:
                asked = await asker.put(
                    AskRequest(question.question, strategy=strategy, budget_ms=budget_ms, seed=seed)
                )
                outcome = score(question, asked, answerable=answerable)
            except ArgoError as error:
                nothing = match(question, [])
                outcome = Outcome(question, answerable, None, nothing, (), 0, f"{error.code.name}: {error}")
        records.write("question", {"strategy": strategy, **outcome.record()})
        advance()
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(question, answerable)) for question, answerable in questions]
    return StrategyRun(strategy, [task.result() for task in tasks])


def _share(true: int, n: int) -> dict[str, Any]:
    low, high = wilson_interval(true, n)
    return {"n": n, "found": true, f"recall_at_{MAX_PASSAGES}": true / n, "low": low, "high": high}


def _refused(outcomes: Sequence[Outcome]) -> float | None:
    return sum(outcome.refused for outcome in outcomes) / len(outcomes) if outcomes else None


def _passage_calibration(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    relevance = [value for outcome in outcomes for value in outcome.relevance]
    carries = [value for outcome in outcomes for value in outcome.match.passage_carries]
    result = calibration(relevance, carries)
    return result.to_mapping() if result else None


def _question_calibration(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    asked = [outcome for outcome in outcomes if outcome.asked is not None]
    result = calibration(
        [max(outcome.relevance, default=0.0) for outcome in asked], [outcome.match.complete for outcome in asked]
    )
    return result.to_mapping() if result else None


def score_strategy(run: StrategyRun) -> dict[str, Any]:
    """The scores of one strategy, as they go into the last line of output."""
    answerable = [outcome for outcome in run.outcomes if outcome.answerable]
    unanswerable = [outcome for outcome in run.outcomes if not outcome.answerable]
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in answerable:
        groups[outcome.question.difficulty or "unknown"].append(outcome)
    answers = [outcome.asked for outcome in answerable if outcome.asked is not None]
    found = sum(outcome.match.complete for outcome in answerable)
    low, high = wilson_interval(found, len(answerable))
    passages = _passage_calibration(answerable)
    budgeted = [asked.answer.within_budget for asked in answers if asked.answer.within_budget is not None]
    evidence = [rank for outcome in answerable for rank in outcome.match.evidence_rank]
    return {
        "strategy": run.strategy,
        "questions": len(answerable),
        "found": found,
        f"recall_at_{MAX_PASSAGES}": found / len(answerable),
        "recall_interval_95": [low, high],
        "evidence_recall": sum(rank is not None for rank in evidence) / len(evidence),
        "by_difficulty": {
            name: _share(sum(outcome.match.complete for outcome in group), len(group))
            for name, group in sorted(groups.items())
        },
        "mean_searches": statistics.fmean(asked.answer.searches for asked in answers) if answers else None,
        "mean_steps": statistics.fmean(asked.answer.steps for asked in answers) if answers else None,
        "latency_ms": asdict(summary([asked.latency_s * 1000 for asked in answers])) if answers else None,
        "own_ms": mean_own_ms([answer_row(asked.answer) for asked in answers]) if answers else None,
        "within_budget": sum(budgeted) / len(budgeted) if budgeted else None,
        "refused_answerable": _refused(answerable),
        "refused_unanswerable": _refused(unanswerable),
        "unanswerable_questions": len(unanswerable),
        "degraded": sum(bool(asked.answer.degradations) for asked in answers),
        "errors": sum(outcome.asked is None for outcome in run.outcomes),
        "brier": passages["brier"] if passages else None,
        "relevance": {
            "passages": passages,
            "passages_with_unanswerable": _passage_calibration(run.outcomes) if unanswerable else None,
            "best_of_question": _question_calibration(run.outcomes),
        },
        "mean_passages": statistics.fmean(len(outcome.relevance) for outcome in answerable),
        "mean_words": statistics.fmean(outcome.words for outcome in answerable),
        "cap": {"passages": MAX_PASSAGES, "words": MAX_WORDS},
    }


def compare(runs: Sequence[StrategyRun], seed: int) -> list[dict[str, Any]]:
    """Each strategy against the one before it, question by question.

    Returns:
        The difference in recall with its 95 % paired-bootstrap interval, and the questions that only one of them found.
    """
    rows = []
    for first, second in pairwise(runs):
        pairs = [(a, b) for a, b in zip(first.outcomes, second.outcomes, strict=True) if a.answerable]
        difference = [float(a.match.complete) - float(b.match.complete) for a, b in pairs]
        low, high = bootstrap_mean_interval(difference, np.random.default_rng(seed))
        rows.append(
            {
                "first": first.strategy,
                "second": second.strategy,
                "recall_difference": statistics.fmean(difference),
                "interval_95": [low, high],
                "only_first": [a.question.id for a, b in pairs if a.match.complete and not b.match.complete],
                "only_second": [a.question.id for a, b in pairs if b.match.complete and not a.match.complete],
            }
        )
    return rows
