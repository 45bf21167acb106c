"""Settings of the retriever reach what they configure."""

from __future__ import annotations

import pytest

from argo.settings import SettingsError, load
from services.retriever.passage import PassageRules
from services.retriever.search import EXACT_PASSAGES
from services.retriever.settings import RetrieverSettings


def test_every_passage_rule_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PASSAGE", 100), ("TABLE", 400), ("OVERLAP", 10)):
        monkeypatch.setenv(f"ARGO_RETRIEVER_{name}_WORDS", str(value))
    rules = load(RetrieverSettings).passage_rules()
    assert rules == PassageRules(words=100, table_words=400, overlap_words=10, pack_words=100)


def test_unset_rules_are_those_of_the_core() -> None:
    settings = RetrieverSettings()
    assert settings.passage_rules() == PassageRules()
    assert settings.exact_passages == EXACT_PASSAGES


@pytest.mark.parametrize(("name", "value", "bound"), [("TABLE_WORDS", "39", "40"), ("EXACT_PASSAGES", "-1", "0")])
def test_a_rule_out_of_its_bounds_stops_the_start_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, bound: str
) -> None:
    monkeypatch.setenv(f"ARGO_RETRIEVER_{name}", value)
    with pytest.raises(SettingsError, match=f"ARGO_RETRIEVER_{name}: .* {bound}, got '{value}'"):
        load(RetrieverSettings)
