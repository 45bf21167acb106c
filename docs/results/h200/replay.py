"""The same generations without ARGO: prompts that the stack's engines were given, sent to AsyncLLM directly.

Three subqueries at once and then one answer, as the stack sends them, token for token; one engine for each role, or one
for both.
"""

from __future__ import annotations

from player import Replies, play

REPLIES = Replies()

import argparse  # noqa: E402  (libraries print while they are imported)
import asyncio  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from loop import closed_loop  # noqa: E402

from services.engine.gpu import visible_devices  # noqa: E402

_POLL_S = 0.05
_NOTED_WITHIN_POLLS = 40
_NOTHING: dict[str, list[list[int]]] = {"subquery": [], "answer": []}


class Prompts:
    """What the stack's engines recorded, by question."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._read: dict[Path, int] = dict.fromkeys(paths, 0)
        self._of: dict[int, dict[str, list[list[int]]]] = {}

    def catch_up(self) -> None:
        """Read what was written since."""
        for path in self._paths:
            with path.open("rb") as file:
                file.seek(self._read[path])
                whole = file.read().rpartition(b"\n")[0]
            self._read[path] += len(whole) + bool(whole)
            for line in whole.splitlines():
                one = json.loads(line)
                if one["case"] is not None:
                    kinds = self._of.setdefault(one["case"], {"subquery": [], "answer": []})
                    kinds[one["kind"]].append(one["ids"])

    async def wait_for(self, cases: list[int]) -> None:
        """Read until these questions are whole; the stack notes a generation a moment after it."""
        for _ in range(_NOTED_WITHIN_POLLS):
            self.catch_up()
            if all(len(self._of.get(case, _NOTHING)["answer"]) == 1 for case in cases):
                return
            await asyncio.sleep(_POLL_S)
        missing = [case for case in cases if len(self._of.get(case, _NOTHING)["answer"]) != 1]
        raise RuntimeError(f"the stack noted no answer of questions {missing[:5]}")

    def of(self, case: int) -> dict[str, list[list[int]]]:
        """Prompts of a question by kind."""
        return self._of[case]


class Bare:
    """Engines and the questions put to them."""

    def __init__(self, engines: dict[str, Any], temperatures: dict[str, float], prompts: Prompts) -> None:
        self._engines = engines
        self._temperatures = temperatures
        self._prompts = prompts
        self._tokens: dict[str, int] = {}
        self._ids = itertools.count()

    async def _generate(self, role: str, prompt: list[int]) -> tuple[float, dict[str, float]]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        tokens = self._tokens[role]
        params = SamplingParams(
            temperature=self._temperatures[role],
            max_tokens=tokens,
            min_tokens=tokens,
            ignore_eos=True,
            output_kind=RequestOutputKind.DELTA,
        )
        began, first, count = time.perf_counter(), 0.0, 0
        metrics: Any = None
        async for output in self._engines[role].generate(
            TokensPrompt(prompt_token_ids=prompt), params, f"bare-{next(self._ids)}"
        ):
            first = first or time.perf_counter() - began
            count += len(output.outputs[0].token_ids)
            metrics = output.metrics or metrics
        if count != tokens:
            raise RuntimeError(f"{count} tokens instead of {tokens}")
        return first, {
            f"{role}_ttft_s": metrics.first_token_ts - metrics.queued_ts,
            f"{role}_tpot_s": (metrics.last_token_ts - metrics.first_token_ts) / (tokens - 1),
        }

    async def question(self, case: int) -> dict[str, float]:
        """One question's generations."""
        prompts = self._prompts.of(case)
        began = time.perf_counter()
        subqueries = await asyncio.gather(*(self._generate("subquery", one) for one in prompts["subquery"]))
        ready = time.perf_counter() - began
        first, timing = await self._generate("answer", prompts["answer"][0])
        latency_s = time.perf_counter() - began
        return {"latency_s": latency_s, "ttft_s": ready + first, **subqueries[-1][1], **timing}

    async def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Put the numbered questions of a command."""
        await self._prompts.wait_for(command["numbers"])
        self._tokens = command["tokens"]
        return await closed_loop(self.question, command["numbers"], command["in_flight"], command["most_s"])


async def main() -> None:
    """Load, and answer commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", type=json.loads, required=True, help="AsyncEngineArgs as JSON")
    parser.add_argument("--gpus", type=json.loads, required=True, help="of subqueries and of answers, [[0], [0]]")
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--temperature", type=json.loads, required=True, help="of subqueries and of answers")
    parser.add_argument("--prompts", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    def engine(gpus: list[int]) -> Any:
        # Its core is spawned in here, and sees these alone, as the stack's does.
        if gpus:
            os.environ |= visible_devices(gpus, None)
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments.options))

    began = time.monotonic()
    decomposer = engine(arguments.gpus[0])
    synthesizer = decomposer if arguments.shared else engine(arguments.gpus[1])
    bare = Bare(
        {"subquery": decomposer, "answer": synthesizer},
        dict(zip(("subquery", "answer"), arguments.temperature, strict=True)),
        Prompts(arguments.prompts),
    )
    await play(REPLIES, bare.handle, {"loaded_s": time.monotonic() - began})


if __name__ == "__main__":
    asyncio.run(main())
