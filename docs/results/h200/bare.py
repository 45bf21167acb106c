"""The same generations without ARGO: AsyncLLM called directly, three subqueries at once and then one answer.

Two engines in one process, as the stack has two; one engine for both roles with --shared.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from pathlib import Path
from typing import Any

from load import levels_of, summary_of

_SUBQUERY, _ANSWER = (600, 50), (1_200, 200)
_SHARED = 0.73
"""Share of a prompt that all questions have in common, as the stack's prompts do in stack.py."""


class Bare:
    """Engines and the questions put to them."""

    def __init__(self, decomposer: Any, synthesizer: Any, percent: int) -> None:
        self._engines = {"subquery": decomposer, "answer": synthesizer}
        self._ids = itertools.count()
        self._percent = percent
        self._random = random.Random(0)
        self._prefix = [self._random.randrange(300, 2000) for _ in range(_ANSWER[0])]

    async def _generate(self, role: str, prompt: list[int], tokens: int) -> tuple[float, int]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        tokens = max(2, tokens * self._percent // 100)
        params = SamplingParams(
            temperature=0.0,
            max_tokens=tokens,
            min_tokens=tokens,
            ignore_eos=True,
            output_kind=RequestOutputKind.DELTA,
        )
        began, first, count = time.perf_counter(), 0.0, 0
        async for output in self._engines[role].generate(
            TokensPrompt(prompt_token_ids=prompt), params, f"bare-{next(self._ids)}"
        ):
            first = first or time.perf_counter() - began
            count += len(output.outputs[0].token_ids)
        assert count == tokens, (count, tokens)
        return first, count

    def _prompt(self, tokens: int, own: list[int]) -> list[int]:
        shared = int(tokens * _SHARED)
        return self._prefix[:shared] + own[: tokens - shared]

    async def question(self) -> dict[str, float]:
        """One question's generations; its own words are new, the rules before them are shared."""
        own = [self._random.randrange(300, 2000) for _ in range(_ANSWER[0])]
        began = time.perf_counter()
        await asyncio.gather(
            *(
                self._generate("subquery", [*self._prompt(_SUBQUERY[0] - 10, own), *[place] * 10], _SUBQUERY[1])
                for place in (11, 12, 13)
            )
        )
        ready = time.perf_counter() - began
        first, _ = await self._generate("answer", self._prompt(_ANSWER[0], own), _ANSWER[1])
        return {"latency_s": time.perf_counter() - began, "ttft_s": ready + first}


async def main() -> None:
    """Load, warm up, measure each level."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--options", default="{}", help="AsyncEngineArgs as JSON")
    parser.add_argument("--share", type=float, default=0.45)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--levels", default="1:40,16:160,64:400,256:800")
    parser.add_argument("--percent", type=int, default=100)
    parser.add_argument("--label", default="")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    options = {"model": arguments.model, "disable_log_stats": False, **json.loads(arguments.options)}

    def engine(share: float) -> Any:
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**options, gpu_memory_utilization=share))

    began = time.perf_counter()
    decomposer = engine(2 * arguments.share if arguments.shared else arguments.share)
    synthesizer = decomposer if arguments.shared else engine(arguments.share)
    loaded_s = time.perf_counter() - began
    bare = Bare(decomposer, synthesizer, arguments.percent)
    for _ in range(3):
        await bare.question()
    await asyncio.gather(*(bare.question() for _ in range(8)))
    for level, count in levels_of(arguments.levels):
        record = await summary_of(bare.question, level, count)
        record |= {"bench": "bare", "label": arguments.label, "shared": arguments.shared, "loaded_s": loaded_s}
        with arguments.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps({k: v for k, v in record.items() if k != "samples"}), flush=True)
    for each in {id(one): one for one in (decomposer, synthesizer)}.values():
        each.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
