from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from argo.errors import UnavailableError
from argo.settings import SettingsError
from services.engine.port import EngineDeadError, Generated, GenerationRequest, Message, Sampling
from services.engine.script import DEFAULT_SCRIPT, load_script
from services.engine.scripted import ScriptedModel
from services.engine.settings import EngineSettings

_T = TypeVar("_T")
_ORIGIN = {
    "model": "none",
    "hardware": "paper",
    "engine": "hand",
    "command": "none",
    "recorded_on": "2026-01-01",
    "prompt_tokens": 10,
    "completion_tokens": 10,
}
# First token after 1 s alone and 2 s among three; further ones 0.1 s alone and 0.3 s among three.
_POINTS = [{"batch": 1, "ttft_s": 1.0, "tpot_s": 0.1}, {"batch": 3, "ttft_s": 2.0, "tpot_s": 0.3}]


class _Selector(selectors.DefaultSelector):
    """Does not wait: moves the clock instead."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.now += timeout
        return super().select(0 if timeout is not None else None)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def _run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run on a loop whose clock jumps to the next timer, so that times are exact and tests quick."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(coroutine)


def _model(folder: Path, **fields: Any) -> ScriptedModel:
    path = folder / "script.json"
    path.write_text(json.dumps({"origin": _ORIGIN, "points": _POINTS, "max_num_seqs": 3, **fields}))
    return ScriptedModel(EngineSettings(engine="scripted", script=path))


def _request(text: str = "one two three", max_tokens: int = 5, **fields: Any) -> GenerationRequest:
    sampling = Sampling(max_tokens=max_tokens, ignore_eos=fields.pop("ignore_eos", True))
    return GenerationRequest([Message("user", text)], sampling, **fields)


async def _whole(model: ScriptedModel, request: GenerationRequest) -> Generated:
    parts = [part async for part in model.generate(request)]
    last = parts[-1]
    assert isinstance(last, Generated)
    assert "".join(part for part in parts[:-1] if isinstance(part, str)) == (
        last.text if not request.choices else parts[0]
    )
    return last


async def _timed(model: ScriptedModel, request: GenerationRequest) -> tuple[float, Generated]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    generated = await _whole(model, request)
    return loop.time() - began, generated


async def _moments() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_alone_takes_the_time_of_batch_one(tmp_path: Path) -> None:
    took, generated = _run(_timed(_model(tmp_path), _request()))
    assert took == pytest.approx(1.0 + 4 * 0.1)
    assert (generated.timing.queue_s, generated.timing.prefill_s) == pytest.approx((0.0, 1.0))
    assert generated.tpot_s == pytest.approx(0.1)
    assert (generated.completion_tokens, generated.finish_reason) == (5, "length")


def test_a_full_batch_takes_the_time_of_its_size(tmp_path: Path) -> None:
    async def three() -> list[tuple[float, Generated]]:
        model = _model(tmp_path)
        return list(await asyncio.gather(*(_timed(model, _request()) for _ in range(3))))

    assert [took for took, _ in _run(three())] == pytest.approx([2.0 + 4 * 0.3] * 3)


def test_between_measured_sizes_times_are_on_the_line(tmp_path: Path) -> None:
    async def two() -> list[tuple[float, Generated]]:
        model = _model(tmp_path)
        return list(await asyncio.gather(*(_timed(model, _request()) for _ in range(2))))

    # Batch 2 is half way from 1 to 3: 1.5 s to the first token, 0.2 s for each of the others.
    assert [took for took, _ in _run(two())] == pytest.approx([1.5 + 4 * 0.2] * 2)


def test_a_latecomer_slows_the_one_that_runs_from_its_next_token(tmp_path: Path) -> None:
    async def late() -> tuple[float, Generated]:
        model = _model(tmp_path)
        first = asyncio.create_task(_timed(model, _request(max_tokens=4)))
        await asyncio.sleep(1.05)
        second = asyncio.create_task(_whole(model, _request()))
        took = await first
        await second
        return took

    # First token at 1.0, second at 1.1 as was due; then two in a batch of 2.
    assert _run(late())[0] == pytest.approx(1.0 + 0.1 + 2 * 0.2)


@pytest.mark.parametrize(("batch", "ttft_s", "tpot_s"), [(1, 1.0, 0.1), (2, 1.5, 0.2), (3, 2.0, 0.3)])
def test_the_curve_is_linear_between_points(tmp_path: Path, batch: int, ttft_s: float, tpot_s: float) -> None:
    _model(tmp_path)
    script = load_script(tmp_path / "script.json")
    assert (script.ttft_s(batch), script.tpot_s(batch)) == pytest.approx((ttft_s, tpot_s))


def test_beyond_max_num_seqs_the_next_waits_for_a_slot(tmp_path: Path) -> None:
    async def queued() -> list[tuple[float, Generated]]:
        model = _model(tmp_path, max_num_seqs=1)
        return list(await asyncio.gather(*(_timed(model, _request()) for _ in range(3))))

    done = _run(queued())
    assert [took for took, _ in done] == pytest.approx([1.4, 2.8, 4.2])
    assert [generated.timing.queue_s for _, generated in done] == pytest.approx([0.0, 1.4, 2.8])
    assert [generated.timing.ttft_s for _, generated in done] == pytest.approx([1.0, 2.4, 3.8])


def test_a_queue_by_deadline_takes_the_most_pressing_first(tmp_path: Path) -> None:
    async def queued() -> list[str]:
        model = _model(tmp_path, max_num_seqs=1, queue="deadline")
        order: list[str] = []

        async def one(name: str, limit: float | None) -> None:
            await _whole(model, _request(time_limit_s=limit))
            order.append(name)

        await asyncio.gather(one("running", 90.0), one("none", None), one("late", 60.0), one("soon", 30.0))
        return order

    assert _run(queued()) == ["running", "soon", "late", "none"]


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_an_abort_frees_the_slot_at_once(tmp_path: Path, how: str) -> None:
    async def abort() -> tuple[float, int, int]:
        model = _model(tmp_path, max_num_seqs=1)
        loop = asyncio.get_running_loop()
        first = model.generate(_request(max_tokens=1000))
        if how == "close":
            async with aclosing(first):
                await anext(first)
                waiting = asyncio.create_task(_whole(model, _request()))
                await _moments()
                both = model.unfinished
                began = loop.time()
        else:
            running = asyncio.create_task(_whole(model, _request(max_tokens=1000)))
            await _moments()
            waiting = asyncio.create_task(_whole(model, _request()))
            await _moments()
            both = model.unfinished
            began = loop.time()
            running.cancel()
        await waiting
        return loop.time() - began, both, model.unfinished

    took, both, after = _run(abort())
    assert took == pytest.approx(1.4)
    assert (both, after) == (2, 0)


def test_cancelling_one_that_waits_leaves_nothing_unfinished(tmp_path: Path) -> None:
    async def cancel() -> tuple[int, int, int]:
        model = _model(tmp_path, max_num_seqs=1)
        running = asyncio.create_task(_whole(model, _request()))
        waiting = asyncio.create_task(_whole(model, _request()))
        await _moments()
        before = model.unfinished
        waiting.cancel()
        await _moments()
        between = model.unfinished
        await running
        return before, between, model.unfinished

    assert _run(cancel()) == (2, 1, 0)


def test_one_cancelled_as_its_turn_comes_passes_the_slot_on(tmp_path: Path) -> None:
    async def race() -> int:
        model = _model(tmp_path, max_num_seqs=1)
        first = model.generate(_request(max_tokens=1000))
        await anext(first)
        second = asyncio.create_task(_whole(model, _request()))
        third = asyncio.create_task(_whole(model, _request()))
        await _moments()
        await first.aclose()
        second.cancel()  # granted, not yet awake
        await third
        return model.unfinished

    assert _run(race()) == 0


def test_the_time_limit_ends_a_generation_with_what_there_is(tmp_path: Path) -> None:
    took, generated = _run(_timed(_model(tmp_path), _request(max_tokens=100, time_limit_s=1.25)))
    assert took == pytest.approx(1.25)
    assert (generated.completion_tokens, generated.finish_reason) == (3, "time")


def test_the_time_limit_counts_while_waiting(tmp_path: Path) -> None:
    async def queued() -> tuple[float, Generated]:
        model = _model(tmp_path, max_num_seqs=1)
        running = asyncio.create_task(_whole(model, _request(max_tokens=100)))
        await _moments()
        late = await _timed(model, _request(time_limit_s=0.5))
        assert model.unfinished == 1
        await running
        return late

    took, generated = _run(queued())
    assert took == pytest.approx(0.5)
    assert (generated.text, generated.finish_reason) == ("", "time")


def test_a_choice_is_its_likeliest_label_in_one_token_and_the_same_each_time(tmp_path: Path) -> None:
    labels = ("A", "B", "C", "D")

    async def choose() -> tuple[float, Generated]:
        return await _timed(_model(tmp_path), _request("Which?", choices=labels))

    (took, one), (_, again) = _run(choose()), _run(choose())
    assert took == pytest.approx(1.0)
    assert one.completion_tokens == 1
    assert sum(one.probabilities) == pytest.approx(1.0)
    assert one.text == labels[one.probabilities.index(max(one.probabilities))]
    assert (one.text, one.probabilities) == (again.text, again.probabilities)


def test_different_prompts_and_seeds_choose_differently(tmp_path: Path) -> None:
    async def choices(seed: int) -> list[str]:
        model = _model(tmp_path, seed=seed)
        return [(await _whole(model, _request(f"Question {n}?", choices=("A", "B", "C")))).text for n in range(30)]

    first = _run(choices(0))
    assert set(first) == {"A", "B", "C"}
    assert first != _run(choices(1))


def test_a_choice_not_made_in_time_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="within the time limit"):
        _run(_whole(_model(tmp_path), _request(choices=("A", "B"), time_limit_s=0.5)))


def test_rules_give_the_text_by_kind_and_by_match_and_the_first_that_fits_wins(tmp_path: Path) -> None:
    rules = [
        {"match": r"say \{?(\w+)", "text": "{match}!"},
        {"kind": "answer", "text": "So {words} [1]."},
    ]

    async def texts() -> list[str]:
        model = _model(tmp_path, rules=rules)
        wanted = [("What is {words}?", "answer"), ("say {hello", "answer"), ("What is E2?", "note")]
        return [(await _whole(model, _request(text, 99, kind=kind, ignore_eos=False))).text for text, kind in wanted]

    assert _run(texts()) == ["So What is words [1].", "hello!", "What is E2"]


def test_stop_texts_and_max_tokens_end_a_text(tmp_path: Path) -> None:
    async def both() -> list[tuple[str, str]]:
        model = _model(tmp_path, rules=[{"text": "one two\nthree"}])
        stopped = GenerationRequest([Message("user", "x")], Sampling(max_tokens=9, stop=("\n",)))
        cut = GenerationRequest([Message("user", "x")], Sampling(max_tokens=1))
        exact = GenerationRequest([Message("user", "x")], Sampling(max_tokens=3))
        return [(one.text, one.finish_reason) for one in [await _whole(model, r) for r in (stopped, cut, exact)]]

    assert _run(both()) == [("one two", "stop"), ("one", "length"), ("one two\nthree", "stop")]


def test_min_tokens_prolongs_a_text(tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=9, min_tokens=5)
    generated = _run(_whole(_model(tmp_path), GenerationRequest([Message("user", "a b")], sampling)))
    assert (generated.text, generated.finish_reason) == ("a b a b a", "stop")


def test_a_dead_engine_fails_what_runs_and_all_that_follows(tmp_path: Path) -> None:
    async def die() -> None:
        model = _model(tmp_path, die_after=1)
        running = asyncio.create_task(_whole(model, _request()))
        await _moments()
        await model.alive()
        with pytest.raises(EngineDeadError):
            await _whole(model, _request())
        with pytest.raises(EngineDeadError):
            await running
        with pytest.raises(EngineDeadError):
            await model.alive()
        assert model.unfinished == 0

    _run(die())


def test_a_frozen_engine_gives_no_token_and_passes_for_alive(tmp_path: Path) -> None:
    async def freeze() -> Generated:
        model = _model(tmp_path, freeze_after=0)
        frozen = await _whole(model, _request(time_limit_s=1000.0))
        await model.alive()
        return frozen

    assert _run(freeze()).text == ""


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"points": []}, "points"),
        ({"points": _POINTS[1:]}, "points must begin with batch 1"),
        ({"points": [_POINTS[0], _POINTS[0]]}, "rise"),
        ({"points": [{"batch": 1, "ttft_s": 0, "tpot_s": 0.1}]}, r"points\.0\.ttft_s"),
        ({"max_num_seqs": 4}, "max_num_seqs must be at most the largest measured batch, 3, got 4"),
        ({"queue": "lifo"}, "queue"),
        ({"rules": [{"text": "x", "match": "("}]}, r"rules\.0\.match"),
        ({"origin": {"model": "none"}}, r"origin\.hardware"),
        ({"max_seqs": 3}, "max_seqs"),
    ],
)
def test_a_wrong_script_is_refused_by_field(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        _model(tmp_path, **fields)


def test_a_script_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load_script(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(SettingsError, match=r"text\.json: the file"):
        load_script(tmp_path / "text.json")


def test_the_default_script_says_that_it_is_no_gpu_and_its_medians_are_its_samples() -> None:
    script = load_script(None)
    assert "no GPU" in script.origin.hardware
    assert "no real model" in script.origin.note
    for point in script.points:
        assert len(point.samples) >= 5 * point.batch
        ranked = sorted(sample.ttft_s for sample in point.samples)
        assert ranked[(len(ranked) - 1) // 2] <= point.ttft_s <= ranked[len(ranked) // 2]
    assert json.loads(DEFAULT_SCRIPT.read_text())["origin"]["command"].startswith("python -m services.engine.pace")


def test_default_texts_are_one_line_for_a_subquery_and_cite_in_an_answer() -> None:
    async def texts() -> list[str]:
        model = ScriptedModel(EngineSettings(engine="scripted"))
        kinds = ("subquery", "answer", "canary")
        requests = [_request("Evidence.\nWhat is the E2 interface?", 40, kind=kind, ignore_eos=False) for kind in kinds]
        return [(await _whole(model, request)).text for request in requests]

    subquery, answer, canary = _run(texts())
    assert subquery == "Evidence What is the E2 interface"
    assert answer.endswith("[1].")
    assert canary == "ok"
