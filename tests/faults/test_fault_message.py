"""Random and mutated messages to every method of a real stack: none is a fault of ours, and the services live.

FUZZ_MESSAGES says how many each method gets, and FUZZ_SEED from which draws; a call that makes a finding is written
into the corpus, which every run sends first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio
from fault_report import Observed
from fault_stack import Stack, running, script
from fault_wire import METHODS, Frames, Method, Outcome, call, method_named, raw_channel
from message_mutator import changed, damaged, random_message, reordered

from argo.result import SessionStatus
from deploy.roster import DECOMPOSER, SERVICES, SYNTHESIZER

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "500"))
_SEED = os.environ.get("FUZZ_SEED", "0")
_AT_ONCE = 16
_GROUP = "Random and mutated messages"
_ALWAYS = {"OK", "INVALID_ARGUMENT"}
_ALSO = {
    # A session id that is in use, and what only a model or another strategy can do.
    "OrchestratorService.Ask": {"ALREADY_EXISTS", "FAILED_PRECONDITION"},
    "OrchestratorService.GetSession": {"NOT_FOUND"},
    "OrchestratorService.ResumeSession": {"NOT_FOUND", "FAILED_PRECONDITION"},
    "OrchestratorService.DeleteSession": {"NOT_FOUND"},
    # There is no policy file here.
    "OrchestratorService.ReloadPolicy": {"FAILED_PRECONDITION"},
    # Another embedder than the collection's.
    "RetrieverService.Search": {"FAILED_PRECONDITION"},
    # No model that could reason.
    "SynthesizerService.Reason": {"FAILED_PRECONDITION"},
}
"""What a method may answer besides. INTERNAL, UNKNOWN, UNAVAILABLE and a missed deadline are no caller's fault."""
_BY_MODEL = (
    "OrchestratorService.Ask",
    "DecomposerService.GenerateSubquery",
    "SynthesizerService.Reason",
    "SynthesizerService.Synthesize",
)


@contextlib.asynccontextmanager
async def _stack(folder: Path, *engines: str) -> AsyncIterator[Stack]:
    """One whose spans nobody reads, with a question that is in the corpus."""
    async with running(
        folder,
        scripts=dict.fromkeys(engines, script(0.001, 0.00005)),
        settings={"ARGO_TELEMETRY_SAMPLE_RATIO": "0"},
    ) as stack:
        async with stack.client() as client:
            await stack.ask(client, "What is E2?", session_id="corpus")
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def builtin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with _stack(tmp_path_factory.mktemp("builtin")) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def modelled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with _stack(tmp_path_factory.mktemp("modelled"), DECOMPOSER, SYNTHESIZER) as stack:
        yield stack


def _drawn(method: Method) -> list[Frames]:
    """From a seed of its own for each method, so that each can be sent again alone: made up, or kept and changed."""
    rng = random.Random(f"{method.name} {_SEED}")
    kept = {name: frames for name, frames in method.corpus().items() if frames}
    # What is right but for one thing gets past the first check that it meets.
    right = [frames for name, frames in kept.items() if name.startswith("valid")]
    drawn: list[Frames] = []
    for number in range(_MESSAGES):
        if number % 8 < 2:
            data = random_message(method.descriptor.input_type, rng).SerializeToString()
            frames: Frames = (data, data) if method.descriptor.client_streaming else (data,)
        else:
            frames = rng.choice(right if rng.random() < 0.8 else list(kept.values()))
            if rng.random() < 0.3:
                frames = reordered(frames, rng)
            at = rng.randrange(len(frames))
            frames = (*frames[:at], _changed(method, frames[at], rng), *frames[at + 1 :])
        drawn.append(tuple(damaged(frame, rng) for frame in frames) if number % 8 in (1, 7) else frames)
    return drawn


def _changed(method: Method, data: bytes, rng: random.Random) -> bytes:
    message = method.message()
    try:
        message.ParseFromString(data)
    except Exception:
        # The corpus holds bytes that are no message; Protocol Buffers raise more than one class of error.
        return data
    return bytes(changed(message, rng).SerializeToString())


async def _outcomes(channel: grpc.aio.Channel, method: Method, calls: list[Frames]) -> list[tuple[Frames, Outcome]]:
    """What became of the calls, several at once; once a service does not answer, no more are sent."""
    limit, lost = asyncio.Semaphore(_AT_ONCE), asyncio.Event()
    found: list[tuple[Frames, Outcome]] = []

    async def sent(frames: Frames) -> None:
        async with limit:
            if not lost.is_set():
                found.append((frames, await call(channel, method, frames)))
                if found[-1][1].status == "UNAVAILABLE":
                    lost.set()

    await asyncio.gather(*(sent(frames) for frames in calls))
    return found


def _tally(outcomes: list[tuple[Frames, Outcome]]) -> str:
    counted = Counter(outcome.status for _, outcome in outcomes)
    return ", ".join(f"{number} {status}" for status, number in counted.most_common())


async def _replay(stack: Stack, observed: Observed) -> None:
    """Send every kept message; those that are right must not be found wrong."""
    outcomes = []
    async with stack.invariant(spans=False):
        for service in SERVICES:
            async with raw_channel(stack.target(service)) as channel:
                for method in (method for method in METHODS if method.service == service):
                    for name, frames in method.corpus().items():
                        outcome = await call(channel, method, frames)
                        outcomes.append((frames, outcome))
                        assert outcome.status in _ALWAYS | _ALSO.get(method.name, set()), (method.name, name, outcome)
                        wrong = outcome.status == "INVALID_ARGUMENT"
                        assert not (wrong and name.startswith("valid")), (method.name, name, outcome)
    observed(f"{len(outcomes)} calls: {_tally(outcomes)}")


async def _fuzz(stack: Stack, method: Method, observed: Observed) -> None:
    """Send what is drawn for a method, and look whether everything lives and nothing is left."""
    async with stack.invariant(spans=False), raw_channel(stack.target(method.service)) as channel:
        outcomes = await _outcomes(channel, method, _drawn(method))
        allowed = _ALWAYS | _ALSO.get(method.name, set())
        findings = {
            str(method.keep(frames)): str(outcome) for frames, outcome in outcomes if outcome.status not in allowed
        }
        assert findings == {}
        assert all(process.running and process.starts == 1 for process in stack.processes.values())
        info = next(one for one in METHODS if one.service == method.service and one.descriptor.name == "GetInfo")
        assert (await call(channel, info, [b""])).status == "OK"
        async with stack.client() as client:
            assert await client.sessions(limit=10, status=SessionStatus.RUNNING) == []
    observed(f"{len(outcomes)} messages, seed {_SEED}: {_tally(outcomes)}; no question is left running")


_KEPT = {
    "injected": "every kept message, the right ones among them",
    "expected": "the statuses of a right or a wrong request, and no right one found wrong",
}
_DRAWN = {
    "injected": "kept messages with fields changed, others made up from its descriptor, a quarter of all damaged",
    "expected": "the statuses of a right or a wrong request; all processes live",
}


@pytest.mark.case(_GROUP, "the corpus", **_KEPT)
async def test_every_kept_message_is_answered_as_right_or_wrong(builtin: Stack, observed: Observed) -> None:
    await _replay(builtin, observed)


@pytest.mark.case(_GROUP, "the corpus, with models", **_KEPT)
async def test_every_kept_message_is_answered_as_right_or_wrong_where_models_run(
    modelled: Stack, observed: Observed
) -> None:
    await _replay(modelled, observed)


@pytest.mark.timeout(max(120, _MESSAGES // 5))
@pytest.mark.case(_GROUP, "{name}", **_DRAWN)
@pytest.mark.parametrize("name", [method.name for method in METHODS])
async def test_no_message_is_a_fault_of_ours_and_the_next_call_is_answered(
    builtin: Stack, name: str, observed: Observed
) -> None:
    await _fuzz(builtin, method_named(name), observed)


@pytest.mark.timeout(max(120, _MESSAGES // 5))
@pytest.mark.case(_GROUP, "{name}, with models", **_DRAWN)
@pytest.mark.parametrize("name", _BY_MODEL)
async def test_no_message_is_a_fault_of_ours_where_models_run(modelled: Stack, name: str, observed: Observed) -> None:
    await _fuzz(modelled, method_named(name), observed)
