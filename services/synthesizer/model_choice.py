"""Multiple choice by a language model: one token over the options' labels, with the probability of each.

No rule looks at an option's place or length. Models do prefer some labels whatever stands behind them (Zheng et al.
2024, "Large Language Models Are Not Robust Multiple Choice Selectors"); `choice_permutations` averages that out over
rotations of the options.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from services.engine.port import Generated, GenerationRequest, Sampling
from services.engine.served import ServedModel
from services.synthesizer.choice import strip_enumerator
from services.synthesizer.citation import RankerOf
from services.synthesizer.engine import Answer, Citation, EvidencePassage, SynthesisRequest, Work
from services.synthesizer.extractive import count_tokens, not_found, read_evidence, repaired
from services.synthesizer.prompt import LABELS, choice_messages

__all__ = ["choice_request", "choose", "chosen_answer", "rotations"]

_SUPPORT: Final = 0.25
"""Least share of the words of question and option, by weight, of a statement that is quoted for a choice."""


def rotations(options: int, most: int) -> list[list[int]]:
    """Orders of the options, by place: the given one, then as many evenly spread rotations of it."""
    count = min(options, most)
    shifts = [round(turn * options / count) for turn in range(count)]
    return [[(place + shift) % options for place in range(options)] for shift in shifts]


def choice_request(
    request: SynthesisRequest,
    shown: Sequence[EvidencePassage],
    order: Sequence[int],
    special_tokens: Sequence[str],
    left_s: float | None,
) -> GenerationRequest:
    """One question for a label, the options in this order."""
    options = [strip_enumerator(request.options[place]) for place in order]
    messages = choice_messages(request.question, options, shown, request.notes, special_tokens)
    return GenerationRequest(
        messages, Sampling(max_tokens=1), choices=tuple(LABELS[: len(options)]), time_limit_s=left_s, kind="choice"
    )


async def choose(
    served: ServedModel,
    request: SynthesisRequest,
    shown: Sequence[EvidencePassage],
    permutations: int,
    left_s: float | None,
) -> tuple[tuple[float, ...], Work] | None:
    """The probability of each option, and what it took; None where the time was up first.

    Raises:
        UnavailableError: The model failed.
        InvalidArgumentError: The prompt is too long for it.
        ResourceExhaustedError: The engine takes no more for now.
    """
    orders = rotations(len(request.options), permutations)
    special = served.model.special_tokens
    answers = await _all(served, [choice_request(request, shown, order, special, left_s) for order in orders])
    totals = [0.0] * len(request.options)
    work = Work()
    for order, answer in zip(orders, answers, strict=True):
        shares = answer.probabilities or _as_probabilities(answer, len(order))
        if not shares:
            return None
        work = work.plus(answer)
        for place, share in zip(order, shares, strict=True):
            totals[place] += share / len(orders)
    return tuple(totals), work


async def _all(served: ServedModel, requests: Sequence[GenerationRequest]) -> list[Generated]:
    """Generations side by side; the first that fails ends the others."""
    tasks = [asyncio.create_task(served.whole(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _as_probabilities(answer: Generated, options: int) -> tuple[float, ...]:
    """All on the label that was written, where the engine tells no probabilities; empty where none was."""
    place = LABELS.find(answer.text.strip()[:1] or " ")
    return tuple(float(other == place) for other in range(options)) if 0 <= place < options else ()


def chosen_answer(
    request: SynthesisRequest,
    shown: Sequence[EvidencePassage],
    probabilities: tuple[float, ...],
    work: Work,
    margin: float,
    ranker_of: RankerOf,
) -> Answer:
    """The likeliest option with the sentence that supports it, or an abstention without a margin.

    Args:
        request: Question and options.
        shown: Passages that may be cited, with their own words.
        probabilities: Of each option.
        work: What they took.
        margin: Least lead over the next option.
        ranker_of: Over the statements of the passages.
    """
    first, second = sorted(probabilities, reverse=True)[:2]
    # A tie would fall to the first of two by place.
    if first == second or first - second < margin:
        refused = not_found(request)
        return Answer(
            refused.deltas,
            option_probabilities=probabilities,
            abstained=True,
            open_focus_ids=refused.open_focus_ids,
            work=work,
        )
    choice = probabilities.index(first)
    option = strip_enumerator(request.options[choice])
    deltas = [option if option.endswith((".", "!", "?")) else f"{option}."]
    citations: list[Citation] = []
    statements = read_evidence(shown)
    ranker = ranker_of(statements)
    target = ranker.target(f"{request.question} {option}")
    shares = [ranker.coverage(target, index) for index in range(len(statements))]
    if shares and max(shares) >= _SUPPORT:
        index = shares.index(max(shares))
        passage = shown[statements[index].passage]
        words, quote = repaired(statements, index, set())
        if count_tokens(deltas[0]) + count_tokens(words) <= request.max_tokens:
            deltas.append(f" {words} [1]")
            citations.append(Citation(1, passage.id, passage.source, passage.section, quote))
    return Answer(tuple(deltas), tuple(citations), choice, probabilities, work=work)
