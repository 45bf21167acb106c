"""The decomposer with a language model over real gRPC; the model is the scripted engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from argo.rpc import channel
from argo.server import start
from argo.settings import TelemetrySettings
from argo.telemetry import configure
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, types_pb2
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings

Serve = Callable[..., AbstractAsyncContextManager[decomposer_pb2_grpc.DecomposerServiceStub]]

_TTFT_S = 0.01
_TPOT_S = 0.001
_FOCI = [types_pb2.Focus(id="f1", text="layers of the O-DU"), types_pb2.Focus(id="f2", text="layers of the O-RU")]
_REQUEST = decomposer_pb2.GenerateSubqueryRequest(
    question="Which layers do the O-DU and the O-RU host?", focus=_FOCI[0], foci=_FOCI
)
_WORDED = "O-DU layers RLC MAC high PHY"


def _script(tpot_s: float = _TPOT_S, **more: Any) -> dict[str, Any]:
    origin = dict.fromkeys(("model", "hardware", "engine", "command"), "made-up")
    return {
        "origin": {**origin, "recorded_on": "2026-01-31", "prompt_tokens": 1, "completion_tokens": 1},
        "points": [{"batch": batch, "ttft_s": _TTFT_S, "tpot_s": tpot_s} for batch in (1, 8)],
        "max_num_seqs": 8,
        "rules": [{"kind": "subquery", "text": f"Search: {_WORDED}"}],
        **more,
    }


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def serving(
        script: dict[str, Any], **settings: Any
    ) -> AsyncIterator[decomposer_pb2_grpc.DecomposerServiceStub]:
        path = tmp_path / "script.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        whole = DecomposerSettings(port=0, engine="scripted", script=path, expected_batch=2, temperature=0, **settings)
        telemetry = configure("decomposer", TelemetrySettings())
        running = await start(Decomposer(whole, telemetry), whole, telemetry)
        async with channel(f"127.0.0.1:{running.port}") as open_channel:
            yield decomposer_pb2_grpc.DecomposerServiceStub(open_channel)
        await running.stop(0)

    return serving


async def test_a_subquery_comes_with_tokens_and_the_engines_times(serve: Serve) -> None:
    async with serve(_script()) as stub:
        reply = await stub.GenerateSubquery(_REQUEST)
    assert reply.subquery == _WORDED
    # The scripted engine's tokens are words: "Search:" and the six that follow it.
    assert reply.usage.completion_tokens == 7 and reply.usage.prompt_tokens > 100
    # A first token that is late leaves the rest on schedule, so only the sum is bounded.
    assert reply.timing.ttft_s >= 0.9 * _TTFT_S and reply.timing.decode_s > 0
    assert reply.timing.prefill_s + reply.timing.decode_s >= 0.9 * (_TTFT_S + 6 * _TPOT_S)
    assert reply.timing.work_s >= reply.timing.prefill_s + reply.timing.decode_s
    assert not reply.HasField("degradation")


async def test_the_rules_of_auto_use_no_tokens_and_tell_no_engine_time(serve: Serve) -> None:
    request = decomposer_pb2.GenerateSubqueryRequest(question="Which layers does the O-DU host?", focus=_FOCI[0])
    async with serve(_script()) as stub:
        by_rules = await stub.GenerateSubquery(request)
    async with serve(_script(), mode="model") as stub:
        by_model = await stub.GenerateSubquery(request)
    assert by_rules.usage == types_pb2.Usage() and not by_rules.timing.HasField("ttft_s")
    assert by_rules.subquery != _WORDED
    assert by_model.subquery == _WORDED and by_model.usage.completion_tokens == 7


async def test_a_model_too_slow_for_the_deadline_leaves_the_search_to_the_rules(serve: Serve) -> None:
    # Forty tokens take 0.8 s, and the eight that are worth a try 0.15. The service's own default stands in for the
    # caller's deadline, so that the reply is not lost where the machine is slow.
    rules = [{"kind": "subquery", "text": " ".join(f"word{n}" for n in range(40))}]
    async with serve(_script(tpot_s=0.02, rules=rules), default_deadline_s=0.4) as stub:
        reply = await stub.GenerateSubquery(_REQUEST)
    assert reply.degradation.kind == types_pb2.DEGRADATION_KIND_DECOMPOSER
    assert reply.degradation.detail == "the model ran out of time; the rules worded the search"
    assert reply.subquery and reply.subquery != _WORDED
    assert 0 < reply.usage.completion_tokens < 40


async def test_a_model_that_has_no_chance_in_the_time_left_is_not_asked(serve: Serve) -> None:
    # Eight tokens take 0.43 s.
    async with serve(_script(tpot_s=0.06), default_deadline_s=0.25) as stub:
        reply = await stub.GenerateSubquery(_REQUEST)
    assert reply.degradation.kind == types_pb2.DEGRADATION_KIND_DECOMPOSER
    assert reply.degradation.detail == "too little time for the model; the rules worded the search"
    assert reply.subquery and reply.usage == types_pb2.Usage()
    assert reply.timing.work_s < 0.2


async def test_a_caller_without_time_for_the_model_has_the_rules_word_it_unless_it_is_known_already(
    serve: Serve,
) -> None:
    hurried = decomposer_pb2.GenerateSubqueryRequest()
    hurried.CopyFrom(_REQUEST)
    hurried.by_rules = True
    async with serve(_script(), cached_subqueries=8) as stub:
        before, worded, after = [await stub.GenerateSubquery(each) for each in (hurried, _REQUEST, hurried)]
    assert before.degradation.detail == "too little time for the model; the rules worded the search"
    assert before.usage == types_pb2.Usage() and before.subquery != _WORDED
    assert worded.subquery == after.subquery == _WORDED
    assert after.from_cache and not after.HasField("degradation")


async def test_a_dead_engine_is_unavailable(serve: Serve) -> None:
    # Each kind of prompt, a batch of two, three rounds of the pace, two first tokens.
    warm_up = 2 + 2 + 3 + 2
    async with serve(_script(die_after=warm_up + 1)) as stub:
        assert (await stub.GenerateSubquery(_REQUEST)).subquery == _WORDED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GenerateSubquery(_REQUEST)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_info_names_engine_model_and_mode(serve: Serve) -> None:
    async with serve(_script(), mode="model") as stub:
        info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert (info.engine.name, info.engine.language_model, info.engine.model) == ("scripted", True, "made-up")
    assert info.settings["mode"] == "model"
    assert info.engine.ttft_s > 0 and info.engine.tpot_s > 0


async def test_the_cache_is_off_unless_asked_for(serve: Serve) -> None:
    async with serve(_script()) as stub:
        replies = [await stub.GenerateSubquery(_REQUEST) for _ in range(2)]
        info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert [reply.from_cache for reply in replies] == [False, False]
    assert not info.HasField("subquery_cache")


async def test_replies_tell_what_came_from_the_cache_and_info_counts_it(serve: Serve) -> None:
    other = decomposer_pb2.GenerateSubqueryRequest(question=_REQUEST.question, focus=_FOCI[1], foci=_FOCI)
    async with serve(_script(), cached_subqueries=8) as stub:
        replies = [await stub.GenerateSubquery(request) for request in (_REQUEST, other, _REQUEST)]
        info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert [reply.from_cache for reply in replies] == [False, False, True]
    assert replies[2].subquery == replies[0].subquery == _WORDED
    assert replies[2].usage == types_pb2.Usage() and not replies[2].timing.HasField("ttft_s")
    assert info.subquery_cache == types_pb2.CacheInfo(entries=2, most_entries=8, hits=1, misses=2)


async def test_a_full_engine_refuses_at_once_and_the_rules_still_word_searches(serve: Serve) -> None:
    async with serve(_script(tpot_s=0.05), max_running=1, max_queued=0) as stub:
        first = stub.GenerateSubquery(_REQUEST)
        await _until_running(stub)
        with pytest.raises(grpc.aio.AioRpcError) as full:
            await stub.GenerateSubquery(_REQUEST)
        assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(full.value.trailing_metadata() or ())["argo-retry-after-ms"]) > 0
        by_rules = decomposer_pb2.GenerateSubqueryRequest(by_rules=True)
        by_rules.MergeFrom(_REQUEST)
        assert (await stub.GenerateSubquery(by_rules)).subquery
        assert (await first).subquery == _WORDED


async def _until_running(stub: decomposer_pb2_grpc.DecomposerServiceStub) -> None:
    async with asyncio.timeout(10):
        while not (await stub.GetInfo(types_pb2.GetInfoRequest())).engine.unfinished:
            await asyncio.sleep(0.005)
