"""What a fitted policy file changes in a question that runs, and searches that the question's own one spares."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from scripted_stack import Stack, foci, passage

from argo.v1 import decomposer_pb2, orchestrator_pb2, types_pb2

QUESTION = "What is E2?"


def _file(folder: Path, **parameters: Any) -> Path:
    path = folder / "policy.json"
    path.write_text(json.dumps({"parameters": parameters}), encoding="utf-8")
    return path


async def test_a_focus_that_the_questions_own_search_closes_is_not_searched(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.found[QUESTION] = [passage("pq", relevance=0.9, foci={"f1": 0.9})]
    stack.retriever.found["find beta"] = [passage("pb", relevance=0.9, foci={"f2": 0.9})]
    answer = await stack.answer(QUESTION)
    assert stack.retriever.searched == [QUESTION, "find beta"]
    assert (answer.searches, answer.steps, answer.progress) == (2, 1, 1.0)
    assert not answer.degradations


async def test_subqueries_are_searched_in_time_where_the_questions_own_search_hangs(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]

    async def search(text: str) -> None:
        if text == QUESTION:
            await asyncio.Event().wait()

    stack.retriever.on_search = search
    answer = await stack.answer(QUESTION, budget_ms=500)
    assert "pa" in {entry.id for entry in answer.passages}
    assert answer.progress == 1.0


async def test_a_policy_file_may_say_from_which_relevance_a_passage_closes_a_focus(peers: Stack) -> None:
    peers.retriever.found["find alpha"] = [passage("pa", relevance=0.4, foci={"f1": 0.4})]
    path = _file(peers.folder, close_relevance=0.3)
    await peers.start_orchestrator(policy_file=path)
    answer = await peers.answer(QUESTION)
    assert (answer.progress, answer.steps) == (1.0, 1)
    # Read again without it: 0.4 is below the orchestrator's own 0.5.
    _file(peers.folder)
    await peers.stub.ReloadPolicy(orchestrator_pb2.ReloadPolicyRequest())
    answer = await peers.answer(QUESTION)
    assert (answer.progress, answer.steps) == (0.0, 2)


async def test_a_policy_that_knows_what_second_searches_bring_ends_after_the_first(peers: Stack) -> None:
    peers.decomposer.foci = foci("alpha", "beta")
    path = _file(peers.folder, success_probability=0.5, repeat_success_probability=0.02, held_once=0.7, held_twice=0.7)
    await peers.start_orchestrator(policy_file=path)
    policy = await peers.stub.GetPolicy(orchestrator_pb2.GetPolicyRequest(foci=2))
    assert [(band.action, band.fan_out) for band in policy.bands] == [
        (types_pb2.ACTION_RETRIEVE, 2),
        (types_pb2.ACTION_RETRIEVE, 1),
        (types_pb2.ACTION_TERMINATE, 0),
    ]
    # Whoever reads the policy sees as well what it does once they were searched.
    (band,) = policy.searched_bands
    assert (band.action, band.from_progress, band.to_progress) == (types_pb2.ACTION_TERMINATE, 0.0, 1.0)
    answer = await peers.answer(QUESTION)
    assert (answer.steps, answer.searches) == (1, 3)
    assert answer.end_reason == orchestrator_pb2.END_REASON_POLICY
    # A focus that one step closed no longer counts, one that it left open does.
    peers.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    answer = await peers.answer(QUESTION)
    assert (answer.steps, answer.progress) == (1, 0.5)
    assert list(answer.open_focus_ids) == ["f2"]


async def test_a_focus_searched_twice_in_vain_ends_the_question_and_not_its_budget(peers: Stack) -> None:
    path = _file(peers.folder, success_probability=0.5, repeat_success_probability=0.4)
    await peers.start_orchestrator(policy_file=path, max_steps=6)
    peers.decomposer.foci = foci("alpha", "beta")
    peers.retriever.found[QUESTION] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    worded = iter(["find beta", "find beta again", "find beta once more"])

    async def word(request: decomposer_pb2.GenerateSubqueryRequest) -> None:
        if request.focus.id == "f2":
            peers.decomposer.subqueries["f2"] = next(worded)

    peers.decomposer.on_subquery = word
    for strategy in ("always_retrieve", "mdp"):
        worded = iter(["find beta", "find beta again", "find beta once more"])
        answer = await peers.answer(QUESTION, strategy=strategy, budget_ms=30_000)
        assert list(answer.open_focus_ids) == ["f2"]
        assert answer.end_reason == orchestrator_pb2.END_REASON_POLICY, strategy
        assert next(worded) == "find beta once more", "two of three wordings were used"
