from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decomposer.distinction import distinctions
from services.lexicon.glossary import Glossary, GlossaryEntry, load_glossary


def _of(text: str) -> tuple[str, ...]:
    return distinctions(text, load_glossary())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Which layers does the O-DU host?", "Which layers does the O-RU host?"),
        ("What does Cat A beamforming need?", "What does Cat B beamforming need?"),
        ("What if the delay is 2 ms?", "What if the delay is 3 ms?"),
        ("What if the delay is 2 ms?", "What if the delay is 2 us?"),
        ("What if the delay is 2ms?", "What if the delay is 2us?"),
        ("Which two layers are there?", "Which three layers are there?"),
        ("Is it defined in TS 38.401?", "Is it defined in TS 38.473?"),
        ("What does the near-RT RIC do?", "What does the non-RT RIC do?"),
        ("Is PTP supported?", "Is PTP not supported?"),
        ("What happens before the handover?", "What happens after the handover?"),
        ("How is the uplink scheduled?", "How is the downlink scheduled?"),
        ("Why does the O-DU drop packets?", "When does the O-DU drop packets?"),
        ("How many cells are there?", "How often are cells there?"),
        ("What goes from the O-DU to the O-RU?", "What goes from the O-RU to the O-DU?"),
        ("What does the Routing Manager send?", "What does the Subscription Manager send?"),
        ("What is app_mgr for?", "What is sub_mgr for?"),
        ("Is carrier aggregation set up?", "Is CA set up?"),
    ],
)
def test_another_name_number_unit_direction_or_turn_tells_texts_apart(one: str, other: str) -> None:
    assert _of(one) != _of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Which layers does the O-DU host?", "What are the layers that the O-DU hosts?"),
        ("What does the O-DU do?", "What does the O-RAN distributed unit do?"),
        ("What do O-RUs do?", "What does an O-RU do?"),
        ("What is the O-DU's clock?", "What is the clock of the O-DU?"),
        ("What if the delay is 2 ms?", "What if the delay is 2ms?"),
        ("Which two layers are there?", "Which 2 layers are there?"),
        ("Compare the layers.", "Please compare the layers."),
    ],
)
def test_other_words_for_the_same_tell_nothing_apart(one: str, other: str) -> None:
    assert _of(one) == _of(other)


def test_a_full_form_of_several_is_not_taken_for_the_short_one() -> None:
    glossary = Glossary(
        [
            GlossaryEntry("CA", ("certificate authority", "carrier aggregation"), exact=True),
            GlossaryEntry("BFW", ("beamforming weights", "beamforming weight")),
        ]
    )
    assert distinctions("is carrier aggregation on", glossary) == ()
    assert distinctions("the beamforming weight", glossary) == distinctions("the BFW", glossary) == ("bfw",)


@given(st.text(max_size=60))
def test_any_text_has_its_distinctions_each_once_and_sorted(text: str) -> None:
    found = _of(text)
    assert list(found) == sorted(set(found))
    assert found == _of(text)
