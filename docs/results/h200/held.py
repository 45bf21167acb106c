"""Run the decomposer or the synthesizer with prompt and answer lengths held, so that every question is the same work.

Bench only: prompts are brought to a fixed number of tokens, generations run to max_tokens whatever the model says, a
question has three foci, and a subquery is searched as it was written. Everything else is the product's own code.
"""

from __future__ import annotations

import cProfile
import dataclasses
import itertools
import os
import pstats
import sys
from typing import Any

import services.decomposer.model
import services.decomposer.servicer
import services.engine.vllm_engine as adapter
from argo.server import run
from services.decomposer.plan import Focus
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings
from services.engine.port import GenerationRequest
from services.synthesizer.servicer import Synthesizer
from services.synthesizer.settings import SynthesizerSettings

PROMPT = {"subquery": 600, "answer": 1_200}
ANSWER = {"subquery": 50, "answer": 200}
PARTS = ("latency budget of the fronthaul", "delay windows of the O-DU and the O-RU", "transport network latency")


class HeldModel(adapter.VllmModel):
    """vLLM with the lengths of the bench."""

    def _encode(self, request: GenerationRequest) -> list[int]:
        ids = super()._encode(request)
        wanted = PROMPT.get(request.kind)
        if wanted is None:
            return ids
        while len(ids) < wanted:
            # The question's own words again: what two questions share stays the beginning alone.
            ids += ids[-(wanted - len(ids)) :]
        return ids[: wanted // 2] + ids[-(wanted - wanted // 2) :]

    def _sampling(self, request: GenerationRequest, prompt_tokens: int) -> tuple[Any, list[int]]:
        wanted = ANSWER.get(request.kind)
        if wanted is not None:
            scale = int(os.environ.get("HELD_TOKENS_PERCENT", "100"))
            tokens = max(2, wanted * scale // 100)
            sampling = dataclasses.replace(
                request.sampling, max_tokens=tokens, min_tokens=tokens, stop=(), ignore_eos=True
            )
            request = dataclasses.replace(request, sampling=sampling)
        return super()._sampling(request, prompt_tokens)


def _three_foci(question: str) -> list[Focus]:
    return [Focus(f"f{place}", part, ()) for place, part in enumerate(PARTS, start=1)]


_COUNT = itertools.count()


def _unparsed(text: str) -> str:
    kept = "".join(character if character.isprintable() else " " for character in text)
    # Numbered, since random weights repeat themselves and the same search is not made twice.
    return f"{' '.join(kept.split()[:12])} fronthaul latency {next(_COUNT)}"


if os.environ.get("HELD") != "off":
    adapter.VllmModel = HeldModel  # type: ignore[misc]
    services.decomposer.servicer.plan_foci = _three_foci
    services.decomposer.model.parse_subquery = _unparsed


def main(role: str) -> int:
    """Run one service; with HELD_PROFILE, say where its event loop's time went."""
    if role == "decomposer":
        return run(DecomposerSettings, Decomposer, role)
    return run(SynthesizerSettings, Synthesizer, role)


if __name__ == "__main__":
    if os.environ.get("HELD_PROFILE"):
        profile = cProfile.Profile()
        profile.runcall(main, sys.argv[1])
        pstats.Stats(profile, stream=sys.stderr).sort_stats("cumtime").print_stats(70)
        sys.exit(0)
    sys.exit(main(sys.argv[1]))
