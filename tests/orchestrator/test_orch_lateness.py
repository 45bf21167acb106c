"""How late answers are, and what the next questions keep back for it."""

from __future__ import annotations

import asyncio

import pytest
from scripted_stack import Stack

from argo.v1 import orchestrator_pb2
from orchestrator.lateness import Lateness


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_99th_percentile_of_what_was_late_is_kept_back() -> None:
    lateness = Lateness(Clock())
    assert lateness.margin_s(1.0) == 0.0
    for n in range(200):
        lateness.note(n / 1_000)
    # Nearest rank: 0.99 of 200 is the 198th from the least on, counted from 1.
    assert lateness.margin_s(10.0) == pytest.approx(0.197)


def test_answers_in_time_count_as_not_late() -> None:
    lateness = Lateness(Clock())
    for _ in range(199):
        lateness.note(-0.4)
    assert lateness.margin_s(1.0) == 0.0
    lateness.note(0.05)
    lateness.note(0.07)
    assert lateness.margin_s(1.0) == 0.0
    lateness.note(0.03)
    # 202 answers, of which the 200th from the least on is the first that was late.
    assert lateness.margin_s(1.0) == pytest.approx(0.03)


def test_no_more_than_a_fifth_of_a_budget_is_kept_back() -> None:
    lateness = Lateness(Clock())
    lateness.note(0.9)
    assert lateness.margin_s(1.0) == pytest.approx(0.2)
    assert lateness.margin_s(0.1) == pytest.approx(0.02)


def test_what_was_late_more_than_a_minute_ago_is_forgotten() -> None:
    clock = Clock()
    lateness = Lateness(clock)
    lateness.note(0.1)
    clock.now += 59
    assert lateness.margin_s(1.0) == pytest.approx(0.1)
    clock.now += 2
    assert lateness.margin_s(1.0) == 0.0


async def test_after_a_late_answer_the_next_one_is_given_less_time(peers: Stack) -> None:
    await peers.start_orchestrator(budget_ms=600)

    async def late() -> None:
        # Past its limit, as a process without a processor would be.
        await asyncio.sleep(0.65)

    def kept_back_s(answer: orchestrator_pb2.Answer, limit_ms: int) -> float:
        """What was left of the budget neither to what had passed nor to the synthesizer."""
        (hop,) = (hop for hop in answer.timing.hops if hop.name == "Synthesize")
        return 0.6 - hop.start_s - limit_ms / 1000

    answers = [await peers.answer("What is E2?")]
    peers.synthesizer.on_synthesize = late
    answers.append(await peers.answer("What is A1?"))
    peers.synthesizer.on_synthesize = None
    answers.append(await peers.answer("What is O1?"))
    limits_ms = [call.request.time_limit_ms for call in peers.synthesizer.of("Synthesize")]
    first, _, third = (kept_back_s(answer, limit) for answer, limit in zip(answers, limits_ms, strict=True))
    late_s = 0.65 - limits_ms[1] / 1000
    # A millisecond is lost by rounding, another between the two clocks' readings.
    assert third - first >= min(late_s, 0.12) - 0.003
