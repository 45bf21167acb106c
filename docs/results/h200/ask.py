"""A load generator: asks a running stack through the SDK, on command of the driver."""

from __future__ import annotations

import asyncio
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from loop import closed_loop
from player import Replies, play

from argo.client import Client
from argo.result import Answer, AskLimits

QUESTION = "What are the latency requirements for O-RAN fronthaul?"
HELD_LIMITS = AskLimits(max_steps=1, fan_out=3, max_answer_tokens=200)


@cache
def _rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def _sample(answer: Answer, latency_s: float) -> dict[str, float]:
    """What one answer took; of hops side by side, the longest."""
    sample = {"latency_s": latency_s, "searches": float(answer.searches), "steps": float(answer.steps)}
    if answer.timing.time_to_first_delta_s is not None:
        sample["ttft_s"] = answer.timing.time_to_first_delta_s
    sample["prompt_tokens"] = float(answer.usage.prompt_tokens)
    sample["completion_tokens"] = float(answer.usage.completion_tokens)
    for hop in answer.timing.hops:
        sample[f"{hop.name}_s"] = max(sample.get(f"{hop.name}_s", 0.0), hop.duration_s)
        if hop.network_s is not None:
            outside = f"{hop.name}_outside_s"
            sample[outside] = max(sample.get(outside, 0.0), hop.network_s)
    return sample


class Asking:
    """One client for each stack that was asked."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    async def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask the numbered questions of a command."""
        target = command["target"]
        if target not in self._clients:
            self._clients[target] = await Client.connect(target)
        client = self._clients[target]
        rows = _rows(command["rows"]) if command.get("rows") else []

        async def ask(number: int) -> dict[str, float]:
            row = rows[number % len(rows)] if rows else None
            began = time.perf_counter()
            answer = await client.ask(
                row["question"] if row else f"{QUESTION} Case {number}.",
                options=row["options"] if row else (),
                strategy=command["strategy"],
                budget_ms=command["budget_ms"],
                limits=None if row else HELD_LIMITS,
            )
            sample = _sample(answer, time.perf_counter() - began)
            if answer.degraded:
                details = "; ".join(one.detail for one in answer.degradations)
                if not row:
                    raise RuntimeError(f"degraded: {details}")
            sample["degraded"] = float(answer.degraded)
            if row:
                sample["abstained"] = float(answer.abstained)
            return sample

        return await closed_loop(ask, command["numbers"], command["in_flight"], command["most_s"])


if __name__ == "__main__":
    asyncio.run(play(Replies(), Asking().handle, {}))
