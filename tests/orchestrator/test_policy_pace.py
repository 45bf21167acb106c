"""Action times made of the engines' pace, and when they replace those in force."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from argo.errors import InvalidArgumentError, NotReadyError
from argo.v1 import types_pb2
from orchestrator.action import REASON, ActionKind, retrieve
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes, AnswerMode, TimeOrigin
from orchestrator.pace import has_moved, is_measured, measured_times, with_file
from orchestrator.policy import PolicyState
from orchestrator.policy_upkeep import LEAST_INTERVAL_S, PolicyUpkeep
from orchestrator.strategy import strategy

RULES = types_pb2.EngineInfo(name="builtin")
FILE_TIMES = {"retrieve_s": [0.1] * 8, "free_answer_s": 0.2, "choice_answer_s": 0.1, "extractive_answer_s": 0.01}


def decomposer(tpot_s: float = 0.002, ttft_s: float = 0.02) -> types_pb2.EngineInfo:
    return types_pb2.EngineInfo(language_model=True, ttft_s=ttft_s, tpot_s=tpot_s, subquery_tokens=50, margin_s=0.005)


def synthesizer(tpot_s: float = 0.002, ttft_s: float = 0.02) -> types_pb2.EngineInfo:
    return types_pb2.EngineInfo(
        language_model=True, ttft_s=ttft_s, tpot_s=tpot_s, note_tokens=80, least_answer_tokens=24, margin_s=0.02
    )


def written(path: Path, **sections: object) -> Path:
    path.write_text(json.dumps(sections))
    return path


def test_times_of_two_models_as_worked_by_hand() -> None:
    times = measured_times(decomposer(), synthesizer())
    # A subquery takes 0.020 + 49 * 0.002 = 0.118; RETRIEVE(1) adds the builtin 0.020, RETRIEVE(8) its 0.048 and 21 %.
    assert times.retrieve_s[0] == pytest.approx(0.138)
    assert times.retrieve_s[7] == pytest.approx(0.048 + 0.118 * 1.21)
    # A note takes 0.020 + 79 * 0.002 = 0.178; its verdict 0.020; 0.020 are kept back, and a call takes 0.005.
    assert times.reason_s == pytest.approx(0.223)
    # 1.2 * (0.020 + 23 * 0.002) + 0.025, and 1.2 * 0.020 + 0.025.
    assert times.free_answer_s == pytest.approx(0.1042)
    assert times.choice_answer_s == pytest.approx(0.049)
    assert times.extractive_answer_s == BUILTIN_TIMES.extractive_answer_s
    # Where time is short, rules word what the model would.
    assert times.rules_retrieve_s == BUILTIN_TIMES.retrieve_s
    assert {name for name, origin in times.origin.items() if origin is TimeOrigin.BUILTIN} == {
        "rules_retrieve_s",
        "extractive_answer_s",
    }


@pytest.mark.parametrize("engine", [None, RULES, types_pb2.EngineInfo(language_model=True)])
def test_without_a_measured_model_the_times_are_the_builtin_ones(engine: types_pb2.EngineInfo | None) -> None:
    times = measured_times(engine, engine)
    assert times == BUILTIN_TIMES
    assert set(times.origin.values()) == {TimeOrigin.BUILTIN}


async def test_a_question_of_one_focus_is_planned_with_the_rules_where_they_word_its_subquery() -> None:
    engine = decomposer()
    engine.least_foci = 2
    upkeep = PolicyUpkeep("evidence", None)
    await upkeep.take_in(engine, RULES, 0.0)
    one, two = (
        upkeep.book.policy(strategy("mdp"), n_foci=n_foci, mode=AnswerMode.FREE).solved.times.action_s(retrieve(1))
        for n_foci in (1, 2)
    )
    assert (one, two) == (BUILTIN_TIMES.retrieve_s[0], pytest.approx(0.138))
    origin = upkeep.book.times.origin
    assert (origin["one_focus_retrieve_s"], origin["retrieve_s"]) == (TimeOrigin.BUILTIN, TimeOrigin.MEASURED)
    # In 100 ms fits what rules word, and no subquery of a model; for one focus rules are no makeshift.
    for n_foci, by_rules in ((1, False), (2, True)):
        policy = upkeep.book.policy(strategy("mdp"), n_foci=n_foci, mode=AnswerMode.FREE)
        decision = policy.act(PolicyState(progress=0.0, open_foci=n_foci, time_left_s=0.1))
        assert (decision.action.kind, decision.by_rules) == (ActionKind.RETRIEVE, by_rules)
    engine.least_foci = 1
    assert measured_times(engine, RULES).of_question(1).retrieve_s[0] == pytest.approx(0.138)


def test_each_service_moves_its_own_times_only() -> None:
    words, writes = measured_times(decomposer(), RULES), measured_times(RULES, synthesizer())
    assert (words.reason_s, words.free_answer_s) == (None, BUILTIN_TIMES.free_answer_s)
    assert words.retrieve_s[0] > BUILTIN_TIMES.retrieve_s[0]
    assert writes.retrieve_s == BUILTIN_TIMES.retrieve_s
    assert writes.origin["retrieve_s"] is TimeOrigin.BUILTIN
    assert writes.origin["reason_s"] is TimeOrigin.MEASURED


def test_the_pace_of_late_counts_more_than_the_one_at_warm_up() -> None:
    loaded = synthesizer()
    loaded.running_ttft_s, loaded.running_tpot_s = 0.2, 0.004
    assert measured_times(RULES, loaded) == measured_times(RULES, synthesizer(0.004, 0.2))


def test_a_model_is_measured_once_it_says_its_time_to_the_first_token() -> None:
    assert is_measured(RULES)
    assert is_measured(synthesizer())
    assert not is_measured(types_pb2.EngineInfo(language_model=True, note_tokens=80))


def test_a_files_times_win_and_only_what_it_leaves_out_is_measured() -> None:
    measured = measured_times(decomposer(), synthesizer())
    file = ActionTimes.from_mapping(FILE_TIMES)
    filled = with_file(measured, file)
    assert filled == replace(file, reason_s=measured.reason_s, rules_retrieve_s=measured.rules_retrieve_s)
    assert filled.origin["reason_s"] is TimeOrigin.MEASURED
    assert filled.origin["rules_retrieve_s"] is TimeOrigin.BUILTIN
    assert {filled.origin[name] for name in FILE_TIMES} == {TimeOrigin.FILE}
    whole = ActionTimes.from_mapping({**FILE_TIMES, "reason_s": 0.5, "rules_retrieve_s": [0.01] * 8})
    assert ActionTimes.from_mapping(whole.to_mapping()) == whole
    assert with_file(measured, whole) is whole
    assert with_file(measured, None) is measured
    # Nothing is measured, so nothing is filled in.
    assert with_file(BUILTIN_TIMES, file).reason_s is None


def test_a_time_has_moved_when_it_is_more_than_a_fifth_off() -> None:
    before = measured_times(decomposer(), synthesizer())
    assert not has_moved(before, before)
    for name in ("reason_s", "free_answer_s", "choice_answer_s"):
        one = getattr(before, name)
        assert not has_moved(before, replace(before, **{name: 1.19 * one}))
        assert not has_moved(before, replace(before, **{name: 0.81 * one}))
        assert has_moved(before, replace(before, **{name: 1.21 * one}))
        assert has_moved(before, replace(before, **{name: 0.79 * one}))
    assert has_moved(before, replace(before, retrieve_s=(*before.retrieve_s[:7], 2 * before.retrieve_s[7])))
    assert has_moved(before, replace(before, reason_s=None))
    assert has_moved(replace(before, reason_s=None), before)


async def test_rules_alone_never_have_the_policies_solved_anew() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    assert not await upkeep.take_in(None, None, 0.0)
    assert not await upkeep.take_in(RULES, RULES, 100.0)
    assert upkeep.book.times == BUILTIN_TIMES
    assert not upkeep.book.reason_available


async def test_a_model_that_comes_or_goes_counts_at_once() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    assert await upkeep.take_in(decomposer(), synthesizer(), 0.0)
    assert upkeep.book.reason_available
    assert upkeep.book.times == measured_times(decomposer(), synthesizer())
    assert await upkeep.take_in(decomposer(), RULES, 0.1)
    assert not upkeep.book.reason_available
    assert upkeep.book.times == measured_times(decomposer(), RULES)


async def test_extractive_answers_are_as_good_as_any_only_where_no_model_writes_better_ones() -> None:
    # Design, section 3: 0.7, and 1 with builtin engines.
    upkeep = PolicyUpkeep("evidence", None)
    assert upkeep.book.parameters.extractive_quality == 1.0
    await upkeep.take_in(RULES, synthesizer(), 0.0)
    assert upkeep.book.parameters.extractive_quality == 0.7


async def test_small_changes_of_pace_leave_the_policies_alone_however_long_they_last() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    await upkeep.take_in(decomposer(), synthesizer(), 0.0)
    in_force = upkeep.book.times
    for turn in range(1, 20):
        shift = 1.15 if turn % 2 else 0.85
        engines = decomposer(0.002 * shift, 0.02 * shift), synthesizer(0.002 * shift, 0.02 * shift)
        assert not await upkeep.take_in(*engines, turn * 2 * LEAST_INTERVAL_S)
    assert upkeep.book.times is in_force


async def test_another_pace_is_taken_up_but_not_more_often_than_the_interval_allows() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    await upkeep.take_in(decomposer(), synthesizer(), 0.0)
    slower, slowest = (decomposer(0.004), synthesizer(0.004)), (decomposer(0.008), synthesizer(0.008))
    assert not await upkeep.take_in(*slower, LEAST_INTERVAL_S - 0.1)
    assert await upkeep.take_in(*slower, LEAST_INTERVAL_S)
    assert upkeep.book.times == measured_times(*slower)
    assert not await upkeep.take_in(*slowest, 2 * LEAST_INTERVAL_S - 0.1)
    assert await upkeep.take_in(*slowest, 2 * LEAST_INTERVAL_S)
    assert upkeep.book.times == measured_times(*slowest)


async def test_a_question_that_runs_keeps_its_policy_when_the_pace_changes() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    await upkeep.take_in(decomposer(), synthesizer(), 0.0)
    running = upkeep.book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE)
    await upkeep.take_in(decomposer(0.04), synthesizer(0.04), LEAST_INTERVAL_S)
    assert running.solved.times == measured_times(decomposer(), synthesizer())


async def test_a_service_that_vanishes_leaves_its_last_times_in_force() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    await upkeep.take_in(decomposer(), synthesizer(), 0.0)
    in_force = upkeep.book.times
    assert not await upkeep.take_in(None, None, 1_000.0)
    assert (upkeep.book.times, upkeep.book.reason_available) == (in_force, True)


async def test_reason_waits_until_its_time_is_known() -> None:
    upkeep = PolicyUpkeep("evidence", None)
    loading = types_pb2.EngineInfo(language_model=True, note_tokens=80)
    await upkeep.take_in(RULES, loading, 0.0)
    assert not upkeep.book.reason_available
    await upkeep.take_in(RULES, synthesizer(), 0.1)
    assert upkeep.book.reason_available


async def test_a_time_in_the_file_is_never_replaced(tmp_path: Path) -> None:
    given = {**FILE_TIMES, "reason_s": 0.3, "rules_retrieve_s": [0.02] * 8}
    path = written(tmp_path / "mine.json", times=given)
    upkeep = PolicyUpkeep("evidence", path)
    assert await upkeep.take_in(decomposer(), synthesizer(), 0.0)  # REASON is available now
    assert not await upkeep.take_in(decomposer(0.04), synthesizer(0.04), 1_000.0)
    assert upkeep.book.times == ActionTimes.from_mapping(given)


async def test_a_file_that_gives_times_no_longer_hands_over_to_the_measured_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.json", times=FILE_TIMES)
    upkeep = PolicyUpkeep("evidence", path)
    await upkeep.take_in(decomposer(), synthesizer(), 0.0)
    written(path, parameters={"retrieve_cost": 0.01})
    assert await upkeep.reload() > 0
    assert upkeep.origin == "mine.json"
    assert upkeep.book.parameters.retrieve_cost == 0.01
    assert upkeep.book.times == measured_times(decomposer(), synthesizer())
    # The next look at the engines goes by the new file too.
    assert not await upkeep.take_in(decomposer(), synthesizer(), 1_000.0)
    assert upkeep.book.parameters.retrieve_cost == 0.01


async def test_a_file_that_cannot_be_served_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.json", times=FILE_TIMES)
    upkeep = PolicyUpkeep("evidence", path)
    await upkeep.take_in(RULES, synthesizer(), 0.0)
    in_force = upkeep.book.times
    written(path, times={**FILE_TIMES, "free_answer_s": -1})
    with pytest.raises(NotReadyError, match="free_answer_s"):
        await upkeep.reload()
    assert not await upkeep.take_in(RULES, synthesizer(), 1_000.0)
    assert upkeep.book.times is in_force
    with pytest.raises(NotReadyError, match="ARGO_ORCHESTRATOR_POLICY_FILE"):
        await PolicyUpkeep("evidence", None).reload()
    with pytest.raises(InvalidArgumentError, match="free_answer_s"):
        PolicyUpkeep("evidence", path)


async def test_a_slow_engine_leaves_out_what_the_budget_cannot_bear() -> None:
    fast, slow = PolicyUpkeep("evidence", None), PolicyUpkeep("evidence", None)
    await fast.take_in(decomposer(), synthesizer(), 0.0)
    await slow.take_in(decomposer(0.04), synthesizer(0.04), 0.0)
    # At 40 ms a token a subquery takes 1.98 s, a note 3.2 s and the shortest answer 1.15 s.
    start = PolicyState(progress=0.0, open_foci=2, time_left_s=4.0)
    quick, patient = (
        upkeep.book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE).act(start) for upkeep in (fast, slow)
    )
    assert quick.action_value[REASON] is not None
    assert patient.action_value[REASON] is None
    assert patient.action.kind is ActionKind.RETRIEVE
    later = replace(start, time_left_s=4.0 - slow.book.times.action_s(patient.action))
    fast_later, slow_later = (
        upkeep.book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE).act(later) for upkeep in (fast, slow)
    )
    assert not fast_later.by_rules
    assert slow_later.by_rules


@pytest.mark.parametrize("tpot_s", [0.011, 0.04])
async def test_however_slow_the_models_a_question_never_ends_without_looking(tpot_s: float) -> None:
    upkeep = PolicyUpkeep("evidence", None)
    await upkeep.take_in(decomposer(tpot_s), synthesizer(tpot_s), 0.0)
    for n_foci, mode in itertools.product((1, 2, 8), AnswerMode):
        policy = upkeep.book.policy(strategy("mdp"), n_foci=n_foci, mode=mode)
        for time_left_s in (0.07, 0.25, 0.96, 2.0, 5.0):
            start = PolicyState(progress=0.0, open_foci=n_foci, time_left_s=time_left_s)
            assert policy.act(start).action.kind is ActionKind.RETRIEVE
