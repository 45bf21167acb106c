"""Run a service with prompt and answer lengths held, so that every question is the same work; for the bench only.

role.py orchestrator | decomposer | synthesizer | engines, the last being both roles behind one engine and one port.
Prompts are brought to a fixed number of tokens, generations run to max_tokens whatever the model says, a question has
three foci, a subquery is searched as it was written, and the strategy retrieve_3 retrieves once, for three foci, and
answers. Everything else is the product's own code. Each generation is noted in the file that HELD_RECORD names.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from corpus import topics

PROMPT = {"subquery": 600, "answer": 1_200}
ANSWER = {"subquery": 50, "answer": 200}
PARTS = ("latency budget of the fronthaul", "delay windows of the O-DU and the O-RU", "transport network latency")
STRATEGY = "retrieve_3"
_NOTED_LATER_S = 0.05
ROOT = Path(__file__).resolve().parents[3]


def hold_orchestrator() -> None:
    """Register the strategy."""
    import orchestrator.strategy
    from orchestrator.action import TERMINATE, Action, retrieve
    from orchestrator.policy import PolicyState
    from orchestrator.solved import Evaluation, SolvedProcess

    class RetrieveThree:
        """RETRIEVE(3), then TERMINATE."""

        name = STRATEGY
        question_only = False

        def __init__(self, options: object) -> None:
            pass

        def check(self, solved: SolvedProcess) -> None:
            """Accept every process."""

        def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
            """Retrieve once."""
            return (TERMINATE, "one step was made") if state.steps else (retrieve(len(PARTS)), "held by the bench")

    orchestrator.strategy._STRATEGIES[STRATEGY] = RetrieveThree


def hold_lengths() -> None:
    """Put the held model in the place of the adapter's."""
    import services.engine.vllm_engine as adapter
    from services.engine.port import Generated, GenerationRequest

    percent = int(os.environ.get("HELD_TOKENS_PERCENT", "100"))
    tokens_of = {kind: max(2, tokens * percent // 100) for kind, tokens in ANSWER.items()}
    with_ids = os.environ.get("HELD_IDS") == "1"
    record = open(os.environ["HELD_RECORD"], "a", buffering=1, encoding="utf-8")

    class HeldModel(adapter.VllmModel):
        """vLLM with the lengths of the bench."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._held: dict[int, tuple[int, list[int]]] = {}

        def _encode(self, request: GenerationRequest) -> list[int]:
            ids = super()._encode(request)
            natural, wanted = len(ids), PROMPT.get(request.kind)
            if wanted is None:
                return ids
            while len(ids) < wanted:
                # The question's own words again: what two questions share stays the beginning alone.
                ids += ids[-(wanted - len(ids)) :]
            ids = ids[: wanted // 2] + ids[-(wanted - wanted // 2) :]
            self._held[id(request)] = (natural, ids)
            return ids

        def _sampling(self, request: GenerationRequest, prompt_tokens: int) -> tuple[Any, list[int]]:
            tokens = tokens_of.get(request.kind)
            if tokens is not None:
                sampling = dataclasses.replace(
                    request.sampling, max_tokens=tokens, min_tokens=tokens, stop=(), ignore_eos=True
                )
                request = dataclasses.replace(request, sampling=sampling)
            return super()._sampling(request, prompt_tokens)

        async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
            try:
                async with aclosing(super().generate(request)) as parts:  # type: ignore[type-var]
                    async for part in parts:
                        if isinstance(part, Generated) and (held := self._held.get(id(request))):
                            # Not while somebody waits for what was generated.
                            asyncio.get_running_loop().call_later(_NOTED_LATER_S, self._note, request, part, held)
                        yield part
            finally:
                self._held.pop(id(request), None)

        @staticmethod
        def _note(request: GenerationRequest, generated: Generated, held: tuple[int, list[int]]) -> None:
            natural, ids = held
            found = re.search(r"Case (\d+)", request.messages[-1].content)
            note = {
                "case": int(found[1]) if found else None,
                "kind": request.kind,
                "natural_tokens": natural,
                "prompt_tokens": generated.prompt_tokens,
                "cached_tokens": generated.cached_tokens,
                "completion_tokens": generated.completion_tokens,
                "queue_s": generated.timing.queue_s,
                "ttft_s": generated.timing.ttft_s,
                "tpot_s": generated.tpot_s,
            }
            record.write(json.dumps({**note, "ids": ids} if with_ids else note) + "\n")

    adapter.VllmModel = HeldModel  # type: ignore[misc]


def hold_subqueries() -> None:
    """Three foci a question, and every subquery taken as it was written."""
    import services.decomposer.model
    import services.decomposer.servicer
    from services.decomposer.plan import Focus

    words = topics(ROOT / "examples" / "oran")
    drawn = random.Random(0)
    numbers = itertools.count()

    def three_foci(question: str) -> list[Focus]:
        return [Focus(f"f{place}", part, ()) for place, part in enumerate(PARTS, start=1)]

    def unparsed(text: str) -> str:
        kept = "".join(character if character.isprintable() else " " for character in text)
        # Noise finds nothing: words of the collection make the evidence of two questions differ, as it would; the
        # number keeps apart the searches of one question.
        # Twelve words of it, since fifty tokens of noise are more words than fifty of English.
        return f"{' '.join(kept.split()[:12])} {' '.join(drawn.sample(words, 4))} {next(numbers)}"

    services.decomposer.servicer.plan_foci = three_foci
    services.decomposer.model.parse_subquery = unparsed


def share_model() -> None:
    """One model for both roles, whichever starts it first."""
    import services.engine.served as served
    from services.engine.factory import make_model

    kept: list[Any] = []
    once = asyncio.Lock()

    def shared_model(settings: Any, telemetry: Any = None) -> Any:
        if kept:
            return kept[0]
        model = make_model(settings, telemetry)
        start, close, state = model.start, model.close, {"started": False, "closed": False}

        async def start_once() -> None:
            async with once:
                if not state["started"]:
                    state["started"] = True
                    await start()

        async def close_once() -> None:
            if not state["closed"]:
                state["closed"] = True
                await close()

        model.start, model.close = start_once, close_once  # type: ignore[method-assign]
        kept.append(model)
        return model

    served.make_model = shared_model


def main(role: str) -> int:
    """Run one service until it is stopped."""
    from argo.server import Service, run

    if role == "orchestrator":
        hold_orchestrator()
        from orchestrator.__main__ import _make
        from orchestrator.settings import OrchestratorSettings

        return run(OrchestratorSettings, _make, role)
    hold_lengths()
    hold_subqueries()
    from argo.settings import load
    from services.decomposer.servicer import Decomposer
    from services.decomposer.settings import DecomposerSettings
    from services.synthesizer.servicer import Synthesizer
    from services.synthesizer.settings import SynthesizerSettings

    if role == "decomposer":
        return run(DecomposerSettings, Decomposer, role)
    if role == "synthesizer":
        return run(SynthesizerSettings, Synthesizer, role)
    share_model()

    class Engines(Service):
        """Both roles behind one engine and one port."""

        name = "synthesizer"
        full_name = "argo.v1.SynthesizerService"

        def __init__(self, settings: SynthesizerSettings, telemetry: Any) -> None:
            super().__init__()
            self._roles = (Decomposer(load(DecomposerSettings), telemetry), Synthesizer(settings, telemetry))

        def add_to(self, server: Any) -> None:
            for role in self._roles:
                role.add_to(server)

        async def warm_up(self) -> None:
            for role in self._roles:
                await role.warm_up()

        async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
            await self._roles[1].watch(set_serving)

        async def close(self) -> None:
            for role in self._roles:
                await role.close()

    return run(SynthesizerSettings, Engines, "engines")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
