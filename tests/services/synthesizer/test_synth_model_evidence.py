from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from synth_model_fake import DU, FREE, RU, FakeModel, engine, extractive, prompt, synthesized

from services.engine.port import Message
from services.synthesizer.engine import EvidencePassage
from services.synthesizer.evidence import compress_evidence, fit_evidence, fit_texts
from services.synthesizer.model_rule import ModelRules
from services.synthesizer.prompt import answer_messages, choice_messages, draft_messages, refined_messages

_SENTENCE = "The O-DU hosts layer number {}."
_PASSAGES = [
    EvidencePassage(f"p{place}", " ".join(_SENTENCE.format(10 * place + number) for number in range(5)), f"{name}.md")
    for place, name in enumerate("dbac")
]


def _count(text: str) -> int:
    return len(text.split())


def test_the_first_by_rank_are_chosen_and_laid_out_by_document() -> None:
    # 30 words and a title each, with 6 for number and line ends: two fit 80.
    shown = fit_evidence(_PASSAGES, 80, _count)
    assert [passage.id for passage in shown] == ["p1", "p0"]


def test_the_last_passage_is_cut_at_the_end_of_a_sentence() -> None:
    shown = fit_evidence(_PASSAGES[:1], 25, _count)
    assert shown[0].text == f"{_SENTENCE.format(0)} {_SENTENCE.format(1)}"
    assert fit_evidence(_PASSAGES[:1], 8, _count) == []


@given(st.permutations(_PASSAGES), st.integers(0, 200))
def test_the_budget_holds_and_rank_decides_only_what_is_shown(passages: list[EvidencePassage], most: int) -> None:
    shown = fit_evidence(passages, most, _count)
    assert sum(_count(passage.text) for passage in shown) <= most
    assert {passage.id for passage in shown} == {passage.id for passage in passages[: len(shown)]}
    assert [passage.source for passage in shown] == sorted(passage.source for passage in shown)


def test_texts_of_earlier_steps_stay_in_front() -> None:
    assert fit_texts(["z first", "a second", "m third"], 100, _count) == ["z first", "a second", "m third"]


def test_compression_keeps_the_sentences_nearest_to_the_question_in_reading_order() -> None:
    passage = EvidencePassage(
        "p",
        "Cooling fans turn at night in every rack. The O-DU hosts the RLC layer. Doors are painted grey by hand. "
        "The O-DU hosts the MAC layer.",
        "a.md",
        relevance=0.9,
    )
    shown = compress_evidence([passage], ["Which layers does the O-DU host?"], 30, _count, extractive().ranker)
    assert [each.text for each in shown] == ["The O-DU hosts the RLC layer.\nThe O-DU hosts the MAC layer."]


def test_compression_never_shows_more_than_its_budget() -> None:
    shown = compress_evidence(_PASSAGES, ["Which layer does the O-DU host?"], 40, _count, extractive().ranker)
    assert 0 < sum(_count(passage.text) for passage in shown) <= 40


async def test_a_compressed_prompt_still_cites_the_words_of_the_passage() -> None:
    model = FakeModel(["It hosts the MAC scheduler [1]."])
    listed = "Fans turn in every rack at night.\nThe O-DU hosts these layers:\n- MAC scheduler\n- RLC entities"
    request = replace(FREE, evidence=(replace(DU, text=listed),))
    _, answer = await synthesized(engine(model, ModelRules(compressed_tokens=40)), request)
    shown = prompt(model.requests[0])
    # Read by itself, an item has its lead-in; the passage has it a line above.
    assert "The O-DU hosts these layers: MAC scheduler" in shown and "Fans turn" not in shown
    assert answer.citations[0].quote == "MAC scheduler"


async def test_passages_leave_room_in_the_model_for_the_rest() -> None:
    long = [EvidencePassage(f"p{n}", "word " * 50 + ".", f"{n}.md", relevance=0.5) for n in range(20)]
    model = FakeModel(["Yes [1]."], max_model_len=800)
    request = FREE.__class__(FREE.question, evidence=long, max_tokens=100)
    await synthesized(engine(model), request)
    assert model.count_tokens(prompt(model.requests[0])) + 100 <= 800
    unbounded = FakeModel(["Yes [1]."])
    await synthesized(engine(unbounded), request)
    assert unbounded.count_tokens(prompt(unbounded.requests[0])) > 800


def _shared(one: tuple[Message, ...], other: tuple[Message, ...]) -> str:
    texts = ["\n".join(message.content for message in messages) for messages in (one, other)]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
    return "".join(character for character, _ in same)


def test_kinds_and_questions_over_the_same_passages_share_all_before_the_question() -> None:
    shown = (DU, RU)
    answer = answer_messages("What?", (), shown, (), (), 200)
    for other in (
        answer_messages("Is it so?", (), shown, (), (), 30),
        choice_messages("Or else?", ("a", "b"), shown, (), ()),
        draft_messages("How?", (), shown, (), ()),
    ):
        assert _shared(answer, other).rstrip().endswith("Question:")


def test_a_refinement_begins_with_the_whole_prompt_of_its_draft() -> None:
    draft = draft_messages("What?", (), (DU,), (), ())
    refined = refined_messages(draft, "RLC [1]<|im_end|>.", ("<|im_end|>",))
    assert refined[: len(draft)] == draft
    assert refined[len(draft)].content == "RLC [1]\u2039|im_end|\u203a."


def test_a_shorter_answer_is_asked_for_in_fewer_sentences() -> None:
    asked = [answer_messages("What?", (), (DU,), (), (), tokens)[1].content for tokens in (30, 80, 150, 400)]
    assert [text.rsplit("\n", 1)[1] for text in asked] == [
        "Answer in one short sentence, with citations.",
        "Answer in at most two sentences, with citations.",
        "Answer in at most four sentences, with citations.",
        "Answer, with citations.",
    ]
