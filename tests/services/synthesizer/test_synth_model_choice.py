from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synth_model_fake import CHOICE, FakeModel, engine, extractive, prompt, synthesized

from argo.errors import UnavailableError
from services.engine.port import EngineDeadError, GenerationRequest
from services.engine.warm_up import Pace
from services.synthesizer.engine import Note, SynthesisRequest
from services.synthesizer.model_choice import rotations
from services.synthesizer.model_rule import ModelRules


def _options(request: GenerationRequest) -> list[str]:
    """The options as a prompt shows them, in its order."""
    return re.findall(r"^[A-J]\. (.*)$", prompt(request), re.MULTILINE)


def _knows(right: str, *, likes_first: float = 0.0) -> FakeModel:
    """A model that gives an option half of its belief, and likes the first label whatever it stands for."""

    def probabilities(request: GenerationRequest) -> tuple[float, ...]:
        options = _options(request)
        masses = [1.0 * (option == right) + 1.0 / len(options) for option in options]
        masses[0] += likes_first
        return tuple(mass / sum(masses) for mass in masses)

    return FakeModel(["A"], probabilities)


async def test_the_likeliest_option_is_chosen_with_the_probability_of_each() -> None:
    model = _knows("low PHY")
    deltas, answer = await synthesized(engine(model), CHOICE)
    assert answer.choice == 1 and deltas[0] == "low PHY."
    # One third each of one half, and the other half on the right one.
    assert answer.option_probabilities == pytest.approx((1 / 6, 2 / 3, 1 / 6))
    assert model.requests[0].choices == ("A", "B", "C")
    assert model.requests[0].sampling.max_tokens == 1


async def test_a_choice_quotes_the_sentence_that_supports_it() -> None:
    _, answer = await synthesized(engine(_knows("low PHY")), CHOICE)
    assert answer.text == "low PHY. The O-RU hosts the low PHY layer. [1]"
    assert [(one.number, one.passage_id, one.quote) for one in answer.citations] == [
        (1, "ru", "The O-RU hosts the low PHY layer.")
    ]


async def test_without_a_margin_no_option_is_chosen_but_the_probabilities_are_told() -> None:
    model = FakeModel(["A"], lambda request: (0.36, 0.34, 0.3))
    _, answer = await synthesized(engine(model, ModelRules(choice_margin=0.05)), CHOICE)
    assert answer.abstained and answer.choice is None
    assert answer.option_probabilities == pytest.approx((0.36, 0.34, 0.3))
    tied = FakeModel(["A"], lambda request: (0.4, 0.4, 0.2))
    _, answer = await synthesized(engine(tied, ModelRules(choice_margin=0.0)), CHOICE)
    assert answer.abstained


async def test_rotations_average_out_the_liking_for_a_letter() -> None:
    biased = _knows("low PHY", likes_first=2.0)
    _, misled = await synthesized(engine(biased), CHOICE)
    assert misled.choice == 0
    _, answer = await synthesized(engine(biased, ModelRules(choice_permutations=3)), CHOICE)
    assert answer.choice == 1
    # Averaged over all rotations, the two wrong options fare alike.
    assert answer.option_probabilities[0] == pytest.approx(answer.option_probabilities[2])
    assert sum(answer.option_probabilities) == pytest.approx(1.0)
    assert len(biased.requests) == 1 + 3
    assert answer.work.prompt_tokens == 300


async def test_rotations_share_all_of_the_prompt_before_the_options() -> None:
    model = _knows("low PHY")
    await synthesized(engine(model, ModelRules(choice_permutations=3)), CHOICE)
    heads = {prompt(request).split("Options:")[0] for request in model.requests}
    assert len(heads) == 1 and "</passages>" in heads.pop()


@given(st.integers(2, 10), st.integers(1, 10))
def test_every_rotation_has_each_option_once_and_no_two_begin_alike(options: int, most: int) -> None:
    orders = rotations(options, most)
    assert orders[0] == list(range(options))
    assert all(sorted(order) == list(range(options)) for order in orders)
    assert len({order[0] for order in orders}) == len(orders) == min(options, most)


@given(st.permutations(range(4)), st.integers(1, 4))
def test_where_an_option_stands_has_no_say_of_our_own(order: list[int], permutations: int) -> None:
    options = ["PDCP", "low PHY", "RLC", "the very longest option of them all"]
    request = replace(CHOICE, options=[options[place] for place in order])
    rules = ModelRules(choice_permutations=permutations)
    _, answer = asyncio.run(synthesized(engine(_knows("low PHY"), rules), request))
    assert answer.choice is not None and request.options[answer.choice] == "low PHY"


async def test_an_engine_without_probabilities_is_taken_at_its_word() -> None:
    _, answer = await synthesized(engine(FakeModel(["B"])), CHOICE)
    assert answer.choice == 1 and answer.option_probabilities == (0.0, 1.0, 0.0)


async def test_an_option_is_chosen_without_evidence_and_cites_nothing() -> None:
    request = SynthesisRequest(CHOICE.question, CHOICE.options)
    _, answer = await synthesized(engine(_knows("low PHY")), request)
    assert answer.choice == 1 and answer.text == "low PHY." and answer.citations == ()


async def test_options_are_shown_without_their_own_numbering_and_tokens() -> None:
    model = _knows("low PHY")
    request = replace(CHOICE, options=["1. PDCP", "2. low PHY", "3. RLC<|im_end|>"], notes=[Note("f1", "Hm [3].", 0.1)])
    await synthesized(engine(model), request)
    assert _options(model.requests[0]) == ["PDCP", "low PHY", "RLC\u2039|im_end|\u203a"]


@pytest.mark.parametrize("model", [FakeModel([UnavailableError("gone")]), FakeModel([""], finish_reason="time")])
async def test_a_model_that_chooses_nothing_is_replaced_by_the_evidence(model: FakeModel) -> None:
    _, answer = await synthesized(engine(model), CHOICE)
    expected = extractive().answer(CHOICE)
    assert (answer.choice, answer.text) == (expected.choice, expected.text)
    assert answer.degradation.endswith("; the answer quotes the passages instead")


async def test_no_time_for_one_token_is_answered_by_the_evidence_without_asking_the_model() -> None:
    model = _knows("low PHY")
    _, answer = await synthesized(engine(model, pace=Pace(0.3, 0.01)), replace(CHOICE, time_limit_s=0.2))
    assert model.requests == [] and answer.degradation


async def test_a_dead_engine_is_not_hidden_by_a_choice_of_the_evidence() -> None:
    with pytest.raises(EngineDeadError):
        await synthesized(engine(FakeModel([EngineDeadError("gone")])), CHOICE)


async def test_one_failed_rotation_leaves_none_running() -> None:
    model = FakeModel([UnavailableError("gone"), "A"])
    _, answer = await synthesized(engine(model, ModelRules(choice_permutations=3)), CHOICE)
    assert answer.degradation and model.unfinished == 0
