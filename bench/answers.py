"""Answers of a running stack against gold answers: how much they say of what they should, and whether they cite it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from argo.result import Answer
from bench.asker import Asker, AskRequest
from bench.evidence import match
from bench.load import Attempt, closed_loop
from bench.question import Question, QuestionFileError
from bench.record import RecordFile
from bench.row import attempt_row
from bench.similarity import exact_match, rouge_l, token_f1, without_citations

__all__ = ["BENCH", "Asked", "ask_all", "check_gold", "judge"]

BENCH: Final = "answers"
_LEFT_OUT: Final = ("intended_ms", "sent_ms", "ended_ms", "hops", "budget_ms", "strategy")
"""Fields of a row that no figure here is made of, most of its size; the closed loop has no intended start."""


@dataclass(frozen=True)
class Asked:
    """A question with what is known of it; only its text reaches the stack."""

    question: Question
    answerable: bool
    """Whether the documents answer it."""


@dataclass(frozen=True)
class _Cited:
    """A cited passage, as the evidence check reads it."""

    text: str
    source: str


def check_gold(questions: Sequence[Question]) -> None:
    """Make sure that every question has a gold answer.

    Raises:
        QuestionFileError: One has none; names it.
    """
    for question in questions:
        if not question.answer.strip():
            raise QuestionFileError(f"question {question.id!r}: answer must hold the gold answer, got none")


def judge(question: Question, answer: Answer) -> dict[str, Any]:
    """Judge one answer to a question that the documents answer.

    An abstention says nothing, whatever its text: similarity 0, and no citation.

    Returns:
        rouge_l, token_f1 and exact_match (0 or 1) of the text without citation marks against the gold answer;
        citation_precision, the share of citations whose passage carries an evidence, None where there is none;
        citation_recall, the share of evidences that the passage of a citation carries; and cited, for each citation
        the source and whether it carries.
    """
    text = "" if answer.abstained else without_citations(answer.text)
    passages = {passage.id: passage.text for passage in answer.passages}
    # A passage that is not among the kept ones can be judged by what is quoted of it alone.
    cited = [
        _Cited(passages.get(citation.passage_id, citation.quote), citation.source)
        for citation in (() if answer.abstained else answer.citations)
    ]
    found = match(question, cited)
    return {
        "rouge_l": rouge_l(question.answer, text),
        "token_f1": token_f1(question.answer, text) if text else 0.0,
        "exact_match": float(bool(text) and exact_match(question.answer, text)),
        "citation_precision": sum(found.passage_carries) / len(cited) if cited else None,
        "citation_recall": sum(rank is not None for rank in found.evidence_rank) / len(found.evidence_rank),
        "cited": [
            {"source": passage.source, "carries": carries}
            for passage, carries in zip(cited, found.passage_carries, strict=True)
        ],
        "answer_words": len(text.split()),
    }


def _record(asked: Asked, strategy: str, attempt: Attempt) -> dict[str, Any]:
    """The raw record of one attempt; a failed one says nothing and cites nothing."""
    row = {name: value for name, value in attempt_row(attempt).items() if name not in _LEFT_OUT}
    record = {
        "id": asked.question.id,
        "difficulty": asked.question.difficulty or "unknown",
        "answerable": asked.answerable,
        "asked_strategy": strategy,
        **row,
    }
    if attempt.asked is not None:
        record["text"] = attempt.asked.answer.text
    if asked.answerable:
        record["gold"] = asked.question.answer
        record |= judge(
            asked.question, attempt.asked.answer if attempt.asked is not None else Answer(text="", abstained=True)
        )
    return record


async def ask_all(
    asker: Asker,
    questions: Sequence[Asked],
    strategies: Sequence[str],
    *,
    budget_ms: int | None,
    seed: int,
    in_flight: int,
    records: RecordFile,
    advance: Callable[[], None],
) -> None:
    """Put every question with every strategy, and write down each answer as it comes.

    The strategies take turns question by question, and another one begins each time, so that what changes during a run
    falls on all of them alike.

    Args:
        asker: The running stack.
        questions: What is asked.
        strategies: By name.
        budget_ms: Soft budget, 0 for none; None for the stack's own.
        seed: Of the `random` strategy.
        in_flight: Questions at once; latency is only comparable at the same number.
        records: Where the rows go.
        advance: Called for each.
    """
    turns = iter(
        [
            (asked, strategy)
            for place, asked in enumerate(questions)
            for strategy in (*strategies[place % len(strategies) :], *strategies[: place % len(strategies)])
        ]
    )

    async def worker() -> None:
        for asked, strategy in turns:
            request = AskRequest(asked.question.question, strategy=strategy, budget_ms=budget_ms, seed=seed)
            (attempt,) = await closed_loop(asker, [request], 1)
            records.write("question", _record(asked, strategy, attempt))
            advance()

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
