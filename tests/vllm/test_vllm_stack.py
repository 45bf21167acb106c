"""The whole stack with both language-model services on real vLLM: the CPU build, a tiny model with random weights.

Random weights write nonsense, so what is checked is the form: deltas, choices among the options, tokens, spans, and
what becomes of the engines when a caller leaves or a core dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
import pytest
from core_process import core_of
from fault_report import Observed
from grpc_health.v1 import health_pb2, health_pb2_grpc
from machine import GPU_MEMORY_SHARE, PROFILE
from running_stack import Up, running

from argo.client import Client
from argo.result import Answer, AnswerDelta, AskLimits, Event, StepStarted
from argo.v1 import decomposer_pb2_grpc, orchestrator_pb2, orchestrator_pb2_grpc, synthesizer_pb2_grpc, types_pb2

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

_GROUP = "Death of a vLLM engine core"
_QUESTION = "How does the E2 interface differ from the A1 interface?"
_STUBS = {
    "decomposer": decomposer_pb2_grpc.DecomposerServiceStub,
    "synthesizer": synthesizer_pb2_grpc.SynthesizerServiceStub,
}
_PATIENCE_S = 60.0
_START_S = 280.0
"""Two engines load on two cores at once; a tenth of it on a machine with more."""


@pytest.fixture(scope="module")
def up(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    engine = {
        f"ARGO_{name}_{setting}": value
        for name in ("DECOMPOSER", "SYNTHESIZER")
        for setting, value in {"ENGINE": "vllm", "MODEL": str(tiny_qwen2), "PROFILE": PROFILE}.items()
    }
    # A model that says nothing of the question would only be used for more than one focus otherwise.
    # Greedy, random weights write nothing but line feeds.
    engine |= {"ARGO_SYNTHESIZER_TEMPERATURE": "1", "ARGO_DECOMPOSER_TEMPERATURE": "1"}
    engine |= {"ARGO_DECOMPOSER_MODE": "model", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    if GPU_MEMORY_SHARE is not None:
        engine |= {f"ARGO_{name}_GPU_MEMORY_SHARE": str(GPU_MEMORY_SHARE) for name in ("DECOMPOSER", "SYNTHESIZER")}
    # Each engine would bind its threads to the same first core.
    engine |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    engine |= {"ARGO_DEPLOY_START_TIMEOUT_S": str(int(_START_S))}
    with running(tmp_path_factory.mktemp("stack"), engine, _START_S) as stack:
        yield stack


@contextlib.asynccontextmanager
async def _client(up: Up) -> AsyncIterator[Client]:
    targets = up.record["targets"]
    async with Client.connect(targets["orchestrator"], retriever_target=targets["retriever"]) as client:
        yield client


async def _info(up: Up, service: str) -> types_pb2.ServiceInfo:
    async with grpc.aio.insecure_channel(up.record["targets"][service]) as channel:
        info: types_pb2.ServiceInfo = await _STUBS[service](channel).GetInfo(types_pb2.GetInfoRequest(), timeout=5)  # type: ignore[no-untyped-call]
        return info


async def _until(condition: Callable[[], Awaitable[bool]], patience_s: float = _PATIENCE_S) -> float:
    """Seconds until a condition holds."""
    started = time.monotonic()
    async with asyncio.timeout(patience_s):
        while not await condition():
            await asyncio.sleep(0.02)
    return time.monotonic() - started


async def _health(up: Up, service: str) -> int | None:
    async with grpc.aio.insecure_channel(up.record["targets"][service]) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return None
        return int(reply.status)


def _core(up: Up, service: str) -> psutil.Process:
    """The process in which vLLM's engine core runs."""
    return core_of(up.record["pids"][service])


async def test_a_free_answer_streams_and_counts_its_tokens(up: Up) -> None:
    async with _client(up) as client:
        events = [event async for event in client.stream(_QUESTION, budget_ms=0)]
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == answer.text
    assert not answer.degraded, answer.degradations
    # The subqueries and the answer were generated.
    assert answer.usage.completion_tokens > 0 and answer.usage.prompt_tokens > answer.usage.completion_tokens
    names = {hop.name for hop in answer.timing.hops}
    assert {"GenerateSubquery", "Synthesize"} <= names
    assert {citation.passage_id for citation in answer.citations} <= {passage.id for passage in answer.passages}


async def test_a_choice_is_one_of_the_options_with_a_probability_of_each(up: Up) -> None:
    async with _client(up) as client:
        answer = await client.ask("Which interface links the two RICs?", options=["A1", "E2", "O1"], budget_ms=0)
    assert len(answer.option_probabilities) == 3
    assert sum(answer.option_probabilities) == pytest.approx(1.0, abs=1e-6)
    assert answer.abstained if answer.choice is None else 0 <= answer.choice < 3
    assert not answer.degraded, answer.degradations


async def test_info_names_the_model_and_its_engine(up: Up, tiny_qwen2: Path) -> None:
    for service in _STUBS:
        engine = (await _info(up, service)).engine
        assert (engine.name, engine.language_model, engine.model) == ("vllm", True, str(tiny_qwen2))
        assert engine.kv_cache_tokens > 0 and engine.max_model_len > 0 and engine.max_num_seqs > 0
        assert engine.ttft_s > 0 and engine.tpot_s > 0


@pytest.mark.case(
    _GROUP,
    "nothing killed, but the caller leaves",
    injected="the stream is left at the first words of an answer of 1,024 tokens; a deadline of 30 ms",
    expected="no request is left in either engine",
)
async def test_a_caller_that_leaves_and_a_deadline_leave_no_request_in_the_engines(up: Up, observed: Observed) -> None:
    long = AskLimits(max_answer_tokens=1024)
    async with _client(up) as client:
        async with contextlib.aclosing(client.stream(_QUESTION, budget_ms=0, limits=long)) as events:
            async for event in events:
                if isinstance(event, AnswerDelta):
                    break
        idle_s = await _until(lambda: _engines_idle(up))
    async with grpc.aio.insecure_channel(up.record["targets"]["orchestrator"]) as channel:
        stub: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]
        request = orchestrator_pb2.AskRequest(question=_QUESTION, budget_ms=0)
        request.limits.max_answer_tokens = 1024
        # Shorter than any two subqueries take: either it passes, or what there was time for comes before it does.
        try:
            events = [event async for event in stub.Ask(request, timeout=0.03)]
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            answer = events[-1].answer
            assert answer.degradations or answer.end_reason == orchestrator_pb2.END_REASON_BUDGET
            assert answer.timing.total_s < 0.03
    await _until(lambda: _engines_idle(up))
    observed(f"both engines idle {idle_s:.2f} s after the caller left, and after the deadline")


async def test_the_engines_spans_are_in_the_questions_trace(up: Up) -> None:
    async with _client(up) as client:
        answer = await client.ask(_QUESTION, budget_ms=0)

    def spans() -> list[dict[str, Any]]:
        folder = next(path for path in up.state_dir.rglob("*.jsonl") if path.name.startswith("synthesizer-")).parent
        return [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]

    async def exported() -> bool:
        roots = [span for span in spans() if span["attributes"].get("argo.session.id") == answer.session_id]
        return bool(roots) and any(
            span["trace_id"] == roots[0]["trace_id"] and "gen_ai.request.model" in span["attributes"]
            for span in spans()
            if span["service"] == "synthesizer"
        )

    await _until(exported)
    everything = spans()
    trace_id = next(s["trace_id"] for s in everything if s["attributes"].get("argo.session.id") == answer.session_id)
    ours = {span["span_id"]: span for span in everything if span["trace_id"] == trace_id}
    generations = [span for span in ours.values() if "gen_ai.request.model" in span["attributes"]]
    assert {span["service"] for span in generations} == {"decomposer", "synthesizer"}
    tokens = sum(span["attributes"]["gen_ai.usage.output_tokens"] for span in generations)
    assert tokens == answer.usage.completion_tokens
    for span in generations:
        assert ours[span["parent_id"]]["service"] == span["service"]
        parts = {child["name"] for child in ours.values() if child["parent_id"] == span["span_id"]}
        assert {"queue", "prefill", "decode"} <= {name.rpartition(".")[2] for name in parts}


_MEETS: dict[str, type[Event]] = {"decomposer": StepStarted, "synthesizer": AnswerDelta}
"""The event after which a question waits for a service's engine."""
_FLAGS = {"decomposer": "decomposer", "synthesizer": "extractive"}


async def _ask_and(client: Client, service: str, do: Callable[[], None], **fields: Any) -> Answer:
    """Ask, and do something to a service as soon as its engine works on the question."""
    done = False
    # Of an answer, so many words that it is not whole before it is done.
    limits = AskLimits(max_answer_tokens=1024 if service == "synthesizer" else 64)
    async for event in client.stream(_QUESTION, limits=limits, **fields):
        if isinstance(event, _MEETS[service]) and not done:
            done = True
            do()
    assert done and isinstance(event, Answer)
    return event


def _longest_s(answer: Answer, service: str) -> float:
    """Seconds that the question waited for one call to a service at most."""
    return max(hop.duration_s for hop in answer.timing.hops if hop.service == service)


def _kinds(answer: Answer) -> set[str]:
    return {str(degradation.kind) for degradation in answer.degradations}


async def _full_answer(up: Up) -> bool:
    async with _client(up) as client:
        return not (await client.ask(_QUESTION, budget_ms=0)).degraded


@pytest.mark.case(
    _GROUP,
    "core of the {service} frozen",
    injected="SIGSTOP while a question without a budget waits for it; then one with a budget of 1,000 ms; SIGCONT",
    expected="health is off after one lost canary, 2.5 s; what waits is given up at the next, later ones do not wait:"
    " both answered, flagged; no request left in the engine; full answers afterwards",
)
@pytest.mark.parametrize("service", ["synthesizer", "decomposer"])
async def test_a_frozen_core_costs_its_words_and_no_answer(up: Up, service: str, observed: Observed) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    core, frozen = _core(up, service), asyncio.Event()

    def freeze() -> None:
        core.suspend()
        frozen.set()

    async def is_off() -> bool:
        return await _health(up, service) == not_serving

    async def is_on() -> bool:
        return await _health(up, service) == serving

    async with _client(up) as client:
        try:
            asking = asyncio.create_task(_ask_and(client, service, freeze, budget_ms=0))
            await frozen.wait()
            # 2.5 s by the settings of the canary, and as much again until what waits is given up; five times that here.
            off_s = await _until(is_off, 15.0)
            answer = await asking
            assert _longest_s(answer, service) < 25.0
            quick = await client.ask(_QUESTION, budget_ms=1000)
        finally:
            core.resume()
        assert _FLAGS[service] in _kinds(answer), answer.degradations
        assert _FLAGS[service] in _kinds(quick), quick.degradations
        on_s = await _until(is_on)
        await _until(lambda: _engines_idle(up))
        await _until(lambda: _full_answer(up))
    observed(
        f"health off after {off_s:.1f} s; what waited was given up by {_longest_s(answer, service):.1f} s; flagged"
    )
    observed(f"the next took {quick.timing.total_s:.2f} s, flagged; health on {on_s:.1f} s after SIGCONT; engines idle")


async def _engines_idle(up: Up) -> bool:
    return not any([(await _info(up, service)).engine.unfinished for service in _STUBS])


@pytest.mark.case(
    _GROUP,
    "core of the synthesizer killed",
    injected="kill -9 in mid-answer, no budget",
    expected="the answer quotes the best passages, flagged; its service exits with 1, is started again, and answers",
)
async def test_a_killed_core_ends_its_service_which_is_started_again_and_answers(up: Up, observed: Observed) -> None:
    before = up.record["pids"]["synthesizer"]
    core = _core(up, "synthesizer")
    async with _client(up) as client:
        answer = await _ask_and(client, "synthesizer", core.kill, budget_ms=0)
    assert _kinds(answer) <= {"synthesizer", "extractive"} and answer.degraded, answer.degradations
    died = await asyncio.to_thread(up.wait_for, "synthesizer died")
    assert "exit code 1" in died
    began = time.monotonic()
    await asyncio.to_thread(up.wait_for, "synthesizer serves again", _START_S)
    assert up.record["pids"]["synthesizer"] != before
    await _until(lambda: _full_answer(up))
    observed(f"degraded: {', '.join(sorted(_kinds(answer)))}; exit code 1")
    observed(f"full answers {time.monotonic() - began:.0f} s later, the model loaded anew")


@pytest.mark.case(
    _GROUP,
    "decomposer killed, and not its core",
    injected="kill -9 of the service while a subquery is worded, no budget",
    expected="the question is answered, flagged; the core does not outlive its service, which is started again",
)
async def test_a_core_does_not_outlive_its_killed_service(up: Up, observed: Observed) -> None:
    pid, core = up.record["pids"]["decomposer"], _core(up, "decomposer")
    async with _client(up) as client:
        answer = await _ask_and(client, "decomposer", lambda: os.kill(pid, signal.SIGKILL), budget_ms=0)
        began = time.monotonic()
        assert "decomposer" in _kinds(answer), answer.degradations
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [core], timeout=20)
        assert gone == [core]
        observed(f"answered, flagged decomposer; {time.monotonic() - began:.2f} s later the core had ended")
    await asyncio.to_thread(up.wait_for, "decomposer serves again", _START_S)
    await _until(lambda: _full_answer(up))
    observed("full answers once it serves again")


async def test_the_end_of_the_stack_leaves_no_engine_core(up: Up) -> None:
    cores = [_core(up, service) for service in _STUBS]
    up.process.send_signal(signal.SIGINT)
    await asyncio.to_thread(up.wait_for, "nothing is left running")
    assert up.process.wait(_PATIENCE_S) == 0
    gone, alive = psutil.wait_procs(cores, timeout=20)
    assert not alive and len(gone) == len(cores)
