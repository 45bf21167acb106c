"""Strategies on the same questions: each is put to each of them, with a budget and without, and every answer kept.

The strategies take turns question by question, and another one begins each time: what changes during a run, and what a
cache remembers of the question before, falls on all of them alike.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from argo.limits import check_budget_ms
from bench.asker import Asker, AskRequest
from bench.evidence import cap, match
from bench.item import Item
from bench.load import Attempt, closed_loop
from bench.record import RecordFile, Run
from bench.row import attempt_row
from bench.variant import PLAIN, Shown, variant

__all__ = ["BENCH", "Plan", "Turn", "ask", "check_same", "probe", "turns_left"]

BENCH: Final = "strategies"
_PROBE: Final = "Which interface connects the near-RT RIC with the E2 nodes?"
_MOST_LOST: Final = 20
"""Questions in a row that find no stack; then it is gone, and the run stops instead of counting thousands of them."""
_LOST: Final = grpc.StatusCode.UNAVAILABLE.name
_LEFT_OUT: Final = ("intended_ms", "sent_ms", "ended_ms", "hops", "budget_ms", "within_budget", "strategy")
"""Fields of a row that no figure here is made of, most of its size; the closed loop has no intended start."""


@dataclass(frozen=True)
class Plan:
    """What is asked of whom.

    Raises:
        InvalidArgumentError: There is nothing to ask, or a budget or a variant is none.
    """

    items: Sequence[Item]
    strategies: Sequence[str]
    budgets_ms: Sequence[int]
    """0 for none."""
    variants: Sequence[str] = ()
    """Besides the questions as they are."""
    seed: int = 0

    def __post_init__(self) -> None:
        for budget_ms in self.budgets_ms:
            check_budget_ms(budget_ms)
        if not self.items:
            raise InvalidArgumentError("there must be something to ask: give --oran-bench or --questions")
        for name in self.variants:
            variant(name, ("a", "b"), seed=0, row_id="")

    @property
    def variant_budget_ms(self) -> int:
        """The budget of the variants: none where that is asked for; under one the clock has a say in a choice."""
        return 0 if 0 in self.budgets_ms else self.budgets_ms[0]

    def turns(self) -> Iterator[Turn]:
        """Every question to be put, in order."""
        for place, item in enumerate(self.items):
            first = place % len(self.strategies)
            for strategy in (*self.strategies[first:], *self.strategies[:first]):
                for budget_ms in self.budgets_ms:
                    yield Turn(item, strategy, budget_ms, PLAIN, self.seed)
                for name in self.variants if item.options else ():
                    yield Turn(item, strategy, self.variant_budget_ms, name, self.seed)


@dataclass(frozen=True)
class Turn:
    """One question as it is put once."""

    item: Item
    strategy: str
    budget_ms: int
    variant: str
    seed: int
    shown: Shown = field(init=False)
    """The options as this turn shows them."""

    def __post_init__(self) -> None:
        shown = variant(self.variant, self.item.options, seed=self.seed, row_id=self.item.id)
        object.__setattr__(self, "shown", shown)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from all others of a run."""
        return self.item.set, self.item.id, self.strategy, self.budget_ms, self.variant

    def request(self) -> AskRequest:
        """What reaches the stack: text and options, never the key, the evidence or the difficulty."""
        # The same draws for each question would make `random` one plan for all of them.
        seed = zlib.crc32(f"{self.seed}\0{self.item.set}\0{self.item.id}".encode())
        return AskRequest(self.item.text, self.shown.options, self.strategy, self.budget_ms, seed)

    def record(self, attempt: Attempt) -> dict[str, Any]:
        """The raw record of an attempt at it, with choice and probabilities by the options as they came."""
        row = {name: value for name, value in attempt_row(attempt).items() if name not in _LEFT_OUT}
        if attempt.asked is not None:
            answer = attempt.asked.answer
            row["option_probabilities"] = self.shown.as_came(answer.option_probabilities)
            row["choice"] = self.shown.places[answer.choice] if answer.choice is not None else None
            if self.item.evidence is not None:
                row["evidence_rank"] = match(self.item.evidence, cap(answer.passages)).evidence_rank
        return {
            "set": self.item.set,
            "id": self.item.id,
            "asked_strategy": self.strategy,
            "told_budget_ms": self.budget_ms,
            "variant": self.variant,
            **row,
        }


async def probe(asker: Asker, strategies: Sequence[str]) -> dict[str, str]:
    """Ask one other question with each strategy.

    Returns:
        Reason by the name of each strategy that this stack refuses, such as one that reasons where no model runs.

    Raises:
        ArgoError: It fails in another way, as by a name that is no strategy's.
    """
    refused: dict[str, str] = {}
    for strategy in strategies:
        try:
            await asker.put(AskRequest(_PROBE, strategy=strategy, budget_ms=0))
        except NotReadyError as error:
            refused[strategy] = str(error)
    return refused


def check_same(run: Run, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Refuse to go on with a record that another run began.

    Args:
        run: What is to be gone on with.
        about: What the first line of this run would say.
        rows: The records of its questions.

    Raises:
        InvalidArgumentError: Settings, commit, hardware, stack, policy or questions differ; names the first that does.
    """
    # As it reads back from a file.
    about = json.loads(json.dumps(about))
    for what, value in about.items():
        if isinstance(value, dict) and isinstance(run.head.get(what), dict):
            fields = [(f"{what}.{name}", run.head[what].get(name), value.get(name)) for name in run.head[what] | value]
        else:
            fields = [(what, run.head.get(what), value)]
        for name, before, now in fields:
            if before != now:
                raise InvalidArgumentError(f"resume must be a record with {name} {now!r}, got {before!r} in {run.path}")
    before_rows = run.of_kind("row")
    for before, now in zip(before_rows, rows, strict=False):
        if {**before, "kind": "row"} != {**now, "kind": "row"}:
            raise InvalidArgumentError(f"resume must be a record of the same questions, got another {now['id']!r}")
    if len(before_rows) != len(rows):
        raise InvalidArgumentError(
            f"resume must be a record of these {len(rows)} questions, got {len(before_rows)} in {run.path}"
        )


def turns_left(plan: Plan, run: Run) -> list[Turn]:
    """Turns that a record has no answer of; one that found no stack is taken again."""
    done = {
        (row["set"], row["id"], row["asked_strategy"], row["told_budget_ms"], row["variant"])
        for row in run.of_kind("question")
        if not row["error"].startswith(_LOST)
    }
    return [turn for turn in plan.turns() if turn.identity not in done]


async def ask(
    asker: Asker, turns: Sequence[Turn], in_flight: int, records: RecordFile, advance: Callable[[], None]
) -> None:
    """Put the questions, and write down each as it ends.

    Args:
        asker: The running stack.
        turns: In the order in which they are put.
        in_flight: Questions at once; latency is only comparable at the same number.
        records: Where the rows go.
        advance: Called for each.

    Raises:
        UnavailableError: The stack is gone.
    """
    waiting = iter(turns)
    lost = 0

    async def worker() -> None:
        nonlocal lost
        for turn in waiting:
            (attempt,) = await closed_loop(asker, [turn.request()], 1)
            lost = lost + 1 if attempt.error.startswith(_LOST) else 0
            if lost >= _MOST_LOST:
                raise UnavailableError(
                    f"{lost} questions in a row found no stack: {attempt.error}; go on with --resume {records.path}"
                )
            records.write("question", turn.record(attempt))
            advance()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(worker())
    except* UnavailableError as group_error:
        raise group_error.exceptions[0] from None
