"""The measured pace on its way: from engines that keep time, over GetInfo, into the policy and what a question does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from scripted_stack import PATIENCE_S, Stack, foci, passage

from argo.server import RunningServer, start
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2, types_pb2
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings
from services.synthesizer.servicer import Synthesizer
from services.synthesizer.settings import SynthesizerSettings

TTFT_S, TPOT_S = 0.05, 0.04
SUBQUERY_WORDS = 40
TWO_FOCI = "Compare the near-RT RIC and the non-RT RIC."
ONE_FOCUS = "What does the near-RT RIC host?"


@dataclass
class SlowEngines:
    """Real services whose models take 40 ms a token."""

    targets: Mapping[str, str]


def script(folder: Path) -> Path:
    words = " ".join(f"word{n}" for n in range(SUBQUERY_WORDS))
    content = {
        "origin": {
            **dict.fromkeys(("model", "hardware", "engine", "command"), "of this test"),
            "recorded_on": "2026-01-01",
            "prompt_tokens": 1,
            "completion_tokens": 1,
        },
        "points": [{"batch": batch, "ttft_s": TTFT_S, "tpot_s": TPOT_S} for batch in (1, 8)],
        "max_num_seqs": 8,
        # What the warm-up asks is answered in a word, for a test has no time to lose.
        "rules": [{"kind": "subquery", "match": "near-RT RIC", "text": words}, {"text": "Policies [1]."}],
    }
    path = folder / "script.json"
    path.write_text(json.dumps(content))
    return path


@pytest_asyncio.fixture
async def slow(tmp_path: Path) -> AsyncIterator[SlowEngines]:
    path = script(tmp_path)
    decomposing = DecomposerSettings(port=0, engine="scripted", script=path, expected_batch=1)
    synthesizing = SynthesizerSettings(port=0, engine="scripted", script=path, expected_batch=1)
    running: list[RunningServer] = await asyncio.gather(
        start(Decomposer(decomposing), decomposing, Telemetry(None)),
        start(Synthesizer(synthesizing), synthesizing, Telemetry(None)),
    )
    try:
        names = ("decomposer_target", "synthesizer_target")
        yield SlowEngines({name: f"127.0.0.1:{server.port}" for name, server in zip(names, running, strict=True)})
    finally:
        for server in running:
            await server.stop(0.0)


async def until_origin(stack: Stack, **origin: str) -> orchestrator_pb2.Policy:
    """Poll until the times have these origins."""
    async with asyncio.timeout(PATIENCE_S):
        while not (policy := await stack.policy()).action_time_origin.items() >= origin.items():
            await asyncio.sleep(0.005)
    return policy


async def test_a_slow_engines_pace_keeps_a_question_from_what_its_budget_cannot_bear(
    peers: Stack, slow: SlowEngines
) -> None:
    await peers.start_orchestrator(**slow.targets)
    policy = await until_origin(peers, reason="measured", retrieve_1="measured", extractive="builtin")
    times = policy.action_time_s
    # One focus: by rules, as the decomposer says.
    assert policy.action_time_origin["retrieve_1_one_focus"] == "builtin"
    assert times["retrieve_1_one_focus"] < TTFT_S
    # 50 tokens of subquery; 80 of note and its verdict; 1.2 times 24 of answer: at that pace, and little beside it.
    assert times["retrieve_1"] == pytest.approx(TTFT_S + 49 * TPOT_S, abs=0.2)
    assert times["reason"] == pytest.approx(2 * TTFT_S + 79 * TPOT_S, abs=0.2)
    assert times["answer_free"] == pytest.approx(1.2 * (TTFT_S + 23 * TPOT_S), abs=0.2)
    assert times["answer_choice"] == pytest.approx(1.2 * TTFT_S, abs=0.1)
    # Nothing that is found closes a focus, so the policy goes on until it has looked twice in vain. Subqueries of 40
    # words leave less than 2.4 of the 4 seconds, where others of the model need 3.2 with the answer, and a note 4.4.
    events = await peers.ask(TWO_FOCI, budget_ms=4_000)
    answer = events[-1].answer
    steps = [event.step_started for event in events if event.HasField("step_started")]
    assert [step.action for step in steps] == [types_pb2.ACTION_RETRIEVE] * 2
    assert ["rules word it" in step.reason for step in steps] == [False, True]
    assert answer.end_reason == orchestrator_pb2.END_REASON_NO_PROGRESS
    assert answer.usage.completion_tokens >= SUBQUERY_WORDS
    assert [(lost.kind, lost.step) for lost in answer.degradations if lost.step] == [
        (types_pb2.DEGRADATION_KIND_DECOMPOSER, 2)
    ]
    assert answer.within_budget


async def test_a_budget_too_short_for_any_model_still_brings_an_answer_from_evidence(
    peers: Stack, slow: SlowEngines
) -> None:
    # A subquery of the model takes 2 s, and its shortest answer 1.2.
    found = passage(
        "ric",
        "The near-RT RIC hosts xApps and controls within 10 ms to 1 s. The non-RT RIC hosts rApps and takes over 1 s.",
        0.9,
        {"f1": 0.9, "f2": 0.9},
    )

    async def find_it(text: str) -> None:
        peers.retriever.found[text] = [found]

    peers.retriever.on_search = find_it
    await peers.start_orchestrator(**slow.targets)
    await until_origin(peers, reason="measured", retrieve_1="measured")
    for question in (TWO_FOCI, ONE_FOCUS):
        events = await peers.ask(question, budget_ms=700)
        answer = events[-1].answer
        first = next(event.step_started for event in events if event.HasField("step_started"))
        assert first.action == types_pb2.ACTION_RETRIEVE
        assert first.reason.endswith("an extractive answer follows")
        assert (answer.steps, answer.progress) == (1, 1.0)
        assert {citation.passage_id for citation in answer.citations} == {"ric"}
        assert "RIC" in answer.text and not answer.abstained
        assert answer.usage.completion_tokens == 0
        assert types_pb2.DEGRADATION_KIND_EXTRACTIVE in [lost.kind for lost in answer.degradations]
        assert answer.within_budget


async def test_times_say_where_they_come_from(peers: Stack) -> None:
    await peers.start_orchestrator()
    assert set((await peers.policy()).action_time_origin.values()) == {"builtin"}
    peers.synthesizer.language_model = True
    policy = await until_origin(peers, reason="measured")
    assert set(policy.action_time_origin) == set(policy.action_time_s)
    assert {name for name, origin in policy.action_time_origin.items() if origin == "measured"} == {
        "reason",
        "answer_free",
        "answer_choice",
    }


async def test_the_decomposers_pace_is_looked_at_too_and_kept_when_it_is_gone(peers: Stack) -> None:
    peers.decomposer.engine = types_pb2.EngineInfo(
        language_model=True, ttft_s=0.02, tpot_s=0.002, subquery_tokens=50, margin_s=0.005
    )
    await peers.start_orchestrator()
    policy = await until_origin(peers, retrieve_1="measured")
    assert policy.action_time_s["retrieve_1"] == pytest.approx(0.138)
    await peers.stop("decomposer")
    # Whatever is learnt of the synthesizer was learnt in a look that found no decomposer.
    peers.synthesizer.language_model = True
    await peers.until_reason(True)
    assert (await peers.policy()).action_time_s["retrieve_1"] == policy.action_time_s["retrieve_1"]


async def test_a_policy_files_times_win_over_measured_ones(peers: Stack) -> None:
    times = {"retrieve_s": [0.1] * 8, "free_answer_s": 0.2, "choice_answer_s": 0.1, "extractive_answer_s": 0.01}
    path = peers.folder / "mine.json"
    path.write_text(json.dumps({"times": times}))
    peers.synthesizer.language_model = True
    await peers.start_orchestrator(policy_file=path)
    policy = await until_origin(peers, reason="measured", retrieve_8="file", answer_free="file", extractive="file")
    assert policy.action_time_s["answer_free"] == 0.2


def worded_by_a_model(peers: Stack, tpot_s: float) -> None:
    """Have both scripted services say that they run a model at that pace."""
    peers.decomposer.foci = foci("alpha", "beta")
    peers.decomposer.engine = types_pb2.EngineInfo(
        language_model=True, ttft_s=0.02, tpot_s=tpot_s, subquery_tokens=50, margin_s=0.005, least_foci=2
    )
    peers.synthesizer.language_model = True
    peers.synthesizer.pace.ttft_s, peers.synthesizer.pace.tpot_s = 0.02, tpot_s


@pytest.mark.parametrize(("tpot_s", "by_rules", "answer"), [(0.002, False, "answer_free"), (0.04, True, "extractive")])
async def test_calls_are_given_the_time_that_the_policy_planned_with(
    peers: Stack, tpot_s: float, by_rules: bool, answer: str
) -> None:
    worded_by_a_model(peers, tpot_s)
    await peers.start_orchestrator(answer_margin_s=0.0)
    times = (await until_origin(peers, reason="measured", retrieve_1="measured")).action_time_s
    await peers.answer(budget_ms=1_000, limits=orchestrator_pb2.AskLimits(max_steps=1))
    asked = peers.decomposer.of("GenerateSubquery")
    assert [call.request.by_rules for call in asked] == [by_rules] * 2
    search, wording = peers.retriever.of("Search")[0], asked[0]
    assert search.time_left_s is not None and wording.time_left_s is not None
    # The answer's time is set aside, and the wording leaves its search the 24 ms that both take by rules. What comes
    # before the calls, and their way, only makes less of it; gRPC rounds up by 1 ms.
    left_s = 1.0 - times[answer]
    assert left_s - 0.3 < search.time_left_s < left_s + 0.002
    assert left_s - 0.3 < wording.time_left_s < left_s - times["retrieve_2_rules"] + 0.002


async def test_a_running_question_keeps_its_times_when_the_book_is_solved_anew(peers: Stack) -> None:
    worded_by_a_model(peers, 0.01)
    await peers.start_orchestrator(answer_margin_s=0.0)
    times = (await until_origin(peers, reason="measured", retrieve_1="measured")).action_time_s
    assert times["answer_free"] > 0.3

    async def lose_the_model(text: str) -> None:
        """While the first search runs, the synthesizer comes back without a model, whose answers take 15 ms."""
        peers.synthesizer.language_model = False
        await peers.until_reason(False)

    peers.retriever.on_search = lose_the_model
    events = await peers.ask(budget_ms=3_000)
    second = [event.step_started for event in events if event.HasField("step_started")][1]
    assert types_pb2.ACTION_REASON in [value.action for value in second.action_values]
    wording = peers.decomposer.of("GenerateSubquery")[2]
    assert wording.time_left_s is not None
    # Of what is left, the answer and the search are set aside. gRPC rounds up by 10 ms, and the call is begun at once.
    reserved_s = second.time_left_ms / 1000 - wording.time_left_s - times["retrieve_2_rules"]
    assert times["answer_free"] - 0.015 < reserved_s < times["answer_free"] + 0.5


async def test_what_every_subquery_of_a_step_lost_alike_is_told_once_and_cached_ones_are_counted(peers: Stack) -> None:
    peers.decomposer.foci = foci("alpha", "beta", "gamma")
    peers.decomposer.from_cache = {"f2", "f3"}
    peers.decomposer.degradation = "too little time"
    await peers.start_orchestrator()
    answer = await peers.answer(session_id="mine", limits=orchestrator_pb2.AskLimits(max_steps=1))
    assert [(lost.detail, lost.step) for lost in answer.degradations] == [("too little time", 1)]
    assert answer.usage.cached_subqueries == 2
    assert (await peers.session("mine")).answer.answer.usage.cached_subqueries == 2
