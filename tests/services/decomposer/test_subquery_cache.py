from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from decomp_model_fake import FakeModel, asked, engine, rules

from argo.errors import UnavailableError
from services.decomposer.engine import Subquery, SubqueryRequest
from services.decomposer.plan import Focus
from services.decomposer.subquery import EarlierPassage, EarlierSearch, History
from services.decomposer.subquery_cache import SubqueryCache
from services.engine.port import GenerationTiming
from services.lexicon.glossary import load_glossary

_TWO = asked("Which layers does the O-DU host, and which clock does the O-RU follow?")
_WORDED = Subquery("O-DU layers RLC MAC", 100, 7, 60, GenerationTiming(0.1, 0.2, 0.3))
_AGAIN = Subquery("O-DU layers RLC MAC", from_cache=True)


def _cache(most: int = 8, least_similarity: float = 0.95) -> SubqueryCache:
    return SubqueryCache(most, least_similarity, load_glossary())


def _about(text: str) -> SubqueryRequest:
    return SubqueryRequest(text, Focus("f1", text))


def _found(kept: str, wanted: str, least_similarity: float = 0.95) -> bool:
    cache = _cache(least_similarity=least_similarity)
    cache.keep(_about(kept), _WORDED)
    return cache.find(_about(wanted)) is not None


def test_the_same_focus_of_the_same_question_is_found_without_tokens() -> None:
    cache = _cache(least_similarity=1.0)
    assert cache.find(_TWO) is None
    cache.keep(_TWO, _WORDED)
    assert cache.find(replace(_TWO, time_limit_s=3.0, progress=0.5)) == _AGAIN


@pytest.mark.parametrize(
    "wanted",
    [
        "What are the layers that an O-DU hosts, in the scheduler of the radio network?",
        "Please tell me which layers the O-DU hosts in the scheduler of the radio network",
        "Which layers does the O-RAN distributed unit host in the scheduler of the radio network?",
    ],
)
def test_a_question_in_slightly_other_words_is_found(wanted: str) -> None:
    assert _found("Which layers does the O-DU host in the scheduler of the radio network?", wanted, 0.9)


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        ("Which layers does the O-DU host?", "Which layers does the O-RU host?"),
        ("What does Cat A beamforming need?", "What does Cat B beamforming need?"),
        ("What if the delay is 2 ms?", "What if the delay is 3 ms?"),
        ("Is PTP supported?", "Is PTP not supported?"),
        ("Why does the O-DU drop packets?", "When does the O-DU drop packets?"),
    ],
)
def test_another_name_number_or_turn_is_not_found_however_like(kept: str, wanted: str) -> None:
    assert not _found(kept, wanted, least_similarity=0.5)


def test_another_word_that_matters_is_less_like_than_the_default_asks() -> None:
    kept = "Which event makes the O-DU regard a freshly configured cell as operational?"
    wanted = "Which event makes the O-DU regard a freshly configured cell as congested?"
    assert not _found(kept, wanted)
    assert _found(kept, wanted, least_similarity=0.5)


def test_two_foci_of_one_question_share_no_subquery() -> None:
    cache = _cache(least_similarity=0.5)
    foci = (Focus("f1", "throughput of the slice"), Focus("f2", "memory of the scheduler"))
    first = SubqueryRequest("What are throughput and memory?", foci[0], foci=foci)
    cache.keep(first, _WORDED)
    assert cache.find(replace(first, focus=foci[1])) is None


def test_the_same_focus_of_unlike_questions_shares_no_subquery() -> None:
    cache = _cache()
    focus = Focus("f1", "throughput of the slice")
    cache.keep(SubqueryRequest("What are throughput and memory of a scheduler?", focus), _WORDED)
    assert cache.find(SubqueryRequest("What must an operator pay for a faulty antenna?", focus)) is None


def test_asking_politely_changes_nothing() -> None:
    assert _found("Which layers does the O-DU host?", "Please tell me which layers the O-DU hosts", 1.0)


@pytest.mark.parametrize(
    "changed",
    [
        replace(_TWO, options=("RLC", "PDCP")),
        replace(_TWO, history=History((EarlierSearch("f1", "O-DU"),))),
        replace(_TWO, history=History((), (EarlierPassage("The O-DU hosts RLC."),))),
    ],
)
def test_options_and_earlier_steps_are_never_passed_over(changed: SubqueryRequest) -> None:
    cache = _cache()
    cache.keep(_TWO, _WORDED)
    assert cache.find(changed) is None


def test_later_steps_are_neither_kept_nor_counted() -> None:
    cache = _cache()
    later = replace(_TWO, history=History((EarlierSearch("f1", "O-DU"),)))
    cache.keep(later, _WORDED)
    assert cache.find(later) is None
    info = cache.describe()
    assert info is not None and (info.entries, info.hits, info.misses) == (0, 0, 0)


def test_a_text_that_is_on_nothing_is_like_no_other() -> None:
    assert not _found("and so on", "of it", least_similarity=0.5)


def test_the_cache_is_bounded_and_forgets_what_was_used_least_recently() -> None:
    cache = _cache(most=2)
    for name in ("O-DU", "O-RU"):
        cache.keep(_about(f"What does the {name} do?"), Subquery(name))
    assert cache.find(_about("What does the O-DU do?")) == Subquery("O-DU", from_cache=True)
    cache.keep(_about("What does the O-CU do?"), Subquery("O-CU"))
    kept = [cache.find(_about(f"What does the {name} do?")) is not None for name in ("O-DU", "O-RU", "O-CU")]
    assert kept == [True, False, True]
    info = cache.describe()
    assert info is not None and (info.entries, info.most_entries, info.hits, info.misses) == (2, 2, 3, 1)


def test_the_best_of_several_is_the_one_that_an_exhaustive_search_finds() -> None:
    random = np.random.default_rng(7)
    words = ["latency", "buffer", "packet", "scheduler", "antenna", "clock", "session", "alarm", "cell", "port"]
    texts = [" ".join(random.choice(words, 6, replace=False)) for _ in range(60)]
    cache = _cache(most=60, least_similarity=1.0)
    for text in texts:
        cache.keep(_about(text), Subquery(text))
    for text in texts:
        found = cache.find(_about(text))
        # Word order counts for little, so at most another order of the same words may stand in.
        assert found is not None and sorted(found.text.split()) == sorted(text.split())


def test_of_very_many_with_the_same_names_those_used_last_are_compared() -> None:
    random = np.random.default_rng(7)
    texts = [" ".join("".join(random.choice(list("bcdfgklmnprst"), 7)) for _ in range(5)) for _ in range(600)]
    cache = _cache(most=600)
    for text in texts:
        cache.keep(_about(text), Subquery(text))
    assert cache.find(_about(texts[0])) is None
    assert cache.find(_about(texts[-1])) == Subquery(texts[-1], from_cache=True)
    assert all(cache.find(_about(text)) for text in texts[-512:])


def test_threads_may_share_it() -> None:
    cache = _cache(most=16)
    names = [f"O-DU{number}" for number in range(48)]

    def ask(name: str) -> bool:
        request = _about(f"What does the {name} do?")
        found = cache.find(request)
        cache.keep(request, Subquery(name))
        return found is None or found.text == name

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, names * 8))
    info = cache.describe()
    assert info is not None and info.entries == 16 and info.hits + info.misses == 8 * 48


async def test_the_engine_asks_the_model_once_for_what_it_worded_before() -> None:
    under_test = engine(model := FakeModel(["O-DU layers RLC MAC"]), cache=_cache())
    first, again = [await under_test.word_subquery(_TWO) for _ in range(2)]
    assert (first.text, first.from_cache, first.prompt_tokens) == ("O-DU layers RLC MAC", False, 100)
    assert again == _AGAIN
    assert len(model.requests) == 1


@pytest.mark.parametrize("reply", [UnavailableError("gone"), "I cannot"], ids=["failed", "no search"])
async def test_what_the_rules_worded_is_not_kept(reply: str | UnavailableError) -> None:
    under_test = engine(FakeModel([reply, "O-DU layers"]), cache=_cache())
    assert (await under_test.word_subquery(_TWO)).text == (await rules().word_subquery(_TWO)).text
    assert (await under_test.word_subquery(_TWO)).text == "O-DU layers"


async def test_a_search_that_was_cut_off_is_not_kept() -> None:
    model = FakeModel(["O-DU la"], finish_reason="time")
    under_test = engine(model, cache=_cache())
    for _ in range(2):
        assert (await under_test.word_subquery(_TWO)).degradation
    assert len(model.requests) == 2


async def test_what_is_drawn_is_drawn_anew() -> None:
    under_test = engine(model := FakeModel(["O-DU layers"]), cache=_cache(), temperature=0.7)
    for _ in range(2):
        await under_test.word_subquery(_TWO)
    assert len(model.requests) == 2 and under_test.describe_cache() is None


async def test_calls_at_once_keep_one_entry() -> None:
    cache = _cache()
    under_test = engine(model := FakeModel(["O-DU layers"]), cache=cache)
    await asyncio.gather(*(under_test.word_subquery(_TWO) for _ in range(4)))
    info = cache.describe()
    assert len(model.requests) == 4
    assert info is not None and (info.entries, info.misses) == (1, 4)
