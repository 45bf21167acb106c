"""Measures how an engine's times grow with its batch, and writes the scripted engine's file from it.

`python -m services.engine.pace --help` measures an OpenAI-compatible server; :func:`measure_points` takes any engine.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.engine.port import Generated, GenerationRequest, LanguageModel, Message, Sampling
from services.engine.script import Origin, Point, Rule, Sample, Script
from services.engine.settings import EngineSettings
from services.engine.warm_up import finished

__all__ = ["RULES", "measure_points"]

RULES = (
    Rule(kind="subquery", text="{words}"),
    Rule(kind="answer", text="According to the evidence, {words} [1]."),
    Rule(kind="canary", text="ok"),
)
"""Texts that the services can read: one line for a subquery, a citation in an answer."""


async def measure_points(
    model: LanguageModel, batches: Sequence[int], *, prompt_words: int, completion_tokens: int, rounds: int
) -> tuple[tuple[Point, ...], int]:
    """Send batches of equal requests at once, each batch when the one before has finished.

    Args:
        model: A started engine.
        batches: Sizes, rising from 1.
        prompt_words: Words of each prompt; no two begin alike, so that no prefix cache helps.
        completion_tokens: Tokens of each answer, at least 2.
        rounds: Times that all sizes are gone through, after one that does not count.

    Returns:
        One point a size, with every request as a sample and their medians; and the tokens of a prompt.
    """
    samples: dict[int, list[Sample]] = {batch: [] for batch in batches}
    sampling = Sampling(max_tokens=completion_tokens, min_tokens=completion_tokens, ignore_eos=True)
    sent = prompt_tokens = 0

    async def one(number: int) -> Generated:
        prompt = f"{number:06d}" + " word" * (prompt_words - 1)
        request = GenerationRequest([Message("user", prompt)], sampling, kind="pace")
        return await finished(model, request)

    for round_ in range(rounds + 1):
        for batch in batches:
            done = await asyncio.gather(*(one(sent + number) for number in range(batch)))
            sent += batch
            prompt_tokens = done[0].prompt_tokens
            if round_:
                samples[batch] += [
                    Sample(ttft_s=round(each.timing.ttft_s, 6), tpot_s=round(each.tpot_s or 0.0, 6)) for each in done
                ]
    points = tuple(
        Point(
            batch=batch,
            ttft_s=round(statistics.median(each.ttft_s for each in taken), 6),
            tpot_s=round(statistics.median(each.tpot_s for each in taken), 6),
            samples=tuple(taken),
        )
        for batch, taken in samples.items()
    )
    return points, prompt_tokens


async def _measure(settings: EngineSettings, batches: Sequence[int], words: int, tokens: int, rounds: int) -> Script:
    from services.engine.openai_engine import OpenAiModel

    model = OpenAiModel(settings)
    try:
        await model.start()
        points, prompt_tokens = await measure_points(
            model, batches, prompt_words=words, completion_tokens=tokens, rounds=rounds
        )
    finally:
        await model.close()
    return Script(
        origin=Origin(
            model=settings.model,
            hardware="-",
            engine="-",
            command=shlex.join(["python", "-m", "services.engine.pace", *sys.argv[1:]]),
            recorded_on=datetime.datetime.now(datetime.UTC).date().isoformat(),
            prompt_tokens=prompt_tokens,
            completion_tokens=tokens,
        ),
        points=points,
        max_num_seqs=batches[-1],
        rules=RULES,
    )


def main(
    base_url: Annotated[str, typer.Option(help="Of the server to measure, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="Its model, by the server's name.")],
    hardware: Annotated[str, typer.Option(help="What it runs on, such as '1 x NVIDIA H200'.")],
    engine: Annotated[str, typer.Option(help="What it is, with the options that matter.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    batches: Annotated[str, typer.Option(help="Sizes, rising from 1; the last one the server must run at once.")] = (
        "1,2,4,8,16,32"
    ),
    prompt_words: Annotated[int, typer.Option(min=2)] = 600,
    completion_tokens: Annotated[int, typer.Option(min=2)] = 64,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    note: Annotated[str, typer.Option(help="Anything else a reader must know.")] = "",
) -> None:
    """Measure an OpenAI-compatible server and write the scripted engine's file."""
    settings = EngineSettings(engine="openai", base_url=base_url, model=model)
    sizes = [int(size) for size in batches.split(",")]
    script = asyncio.run(_measure(settings, sizes, prompt_words, completion_tokens, rounds))
    origin = script.origin.model_copy(update={"hardware": hardware, "engine": engine, "note": note})
    script = script.model_copy(update={"origin": origin})
    out.write_text(_lines(script), encoding="utf-8")


def _lines(script: Script) -> str:
    """The file's text, with one line a point, for all its samples."""
    fields = script.model_dump()
    points = ",\n  ".join(json.dumps(point) for point in fields.pop("points"))
    head = json.dumps(fields, indent=1).removesuffix("\n}")
    return f'{head},\n "points": [\n  {points}\n ]\n}}\n'


if __name__ == "__main__":
    typer.run(main)
