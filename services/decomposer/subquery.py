"""From a focus to the words of one search.

What a search engine that matches words and meanings gains from: the focus in its own words, the other form of each
acronym, names that earlier evidence brought up where the focus hangs on them, and, where a focus was searched before
without success, other words than before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.decomposer.plan import Focus
from services.lexicon.content import content_words
from services.lexicon.glossary import Glossary
from services.lexicon.sentence import split_sentences
from services.lexicon.thesaurus import Thesaurus
from services.lexicon.tokenise import raw_words, stem, terms

__all__ = ["EarlierPassage", "EarlierSearch", "History", "word_subquery"]

_LONGEST: Final = 80
"""Words of a subquery; what is beyond is noise to BM25 and cut off by most embedders' training."""
_SHORT: Final = 3
"""Content words of a focus that is hardly more than a name."""
_RELATED: Final = 8
"""Most related words of a first wording."""
_NAMES: Final = 2
"""Most names taken from the evidence of the foci that a focus depends on."""
_FEEDBACK_TERMS: Final = 4
"""Most words taken from evidence when a focus is searched again."""
_OPTION_TERMS: Final = 12
"""Most words taken from the options."""
_READ_SENTENCES: Final = 3
"""Sentences of the evidence that are looked through for names."""

# "Routing Manager", "PM File Converter", "onos-mho", "E2SM-KPM", "ric/v1/getdebuginfo" read as their words
_NAME: Final = re.compile(
    r"(?:[A-Z][\w-]*(?:\s+(?:[A-Z][\w-]*|\d[\w.]*))+|[\w.]*[a-z]+[A-Z][\w.]*|[\w]+(?:[-_.][\w]+)+|[A-Z]{2,}\w*|[A-Z]\d\w*)"
)
_DETERMINER: Final = re.compile(r"^(?:The|A|An|This|That|If|When|In|On|For|To|It|These|Each)\s+")
_TRAILING: Final = re.compile(r"\s+(?:The|A|An|This|That|If|When|In|On|For|To|It|These|Each)$")
# What a name ends in where it is that of a part of a system.
_ROLE: Final = re.compile(
    r"(?:[Mm]anager|[Mm]gr|[Ss]ervice|[Ff]unction|[Mm]ediator|[Bb]roker|[Ss]erver|[Aa]gent|[Cc]ollector|[Cc]onverter|[Pp]roducer|"
    r"[Aa]dapter|[Ll]ogger|[Gg]ateway|[Rr]outer|[Tt]ermination|[Cc]ontroller|[Oo]perator|[Rr]egistry|[Cc]atalogue|[Hh]andler|"
    r"[Ss]imulator|[Pp]roxy)s?$"
)
_LEAST_SHARED: Final = 0.3
"""Share of the terms asked for that a sentence must have for its names to count."""
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)?")
_BRACKETED: Final = re.compile(r"\s*\([^()]*\)$")


@dataclass(frozen=True, slots=True)
class EarlierSearch:
    """A subquery of an earlier step."""

    focus_id: str
    """Empty for the question's own search."""
    text: str


@dataclass(frozen=True, slots=True)
class EarlierPassage:
    """A passage that an earlier step kept."""

    text: str
    focus_ids: tuple[str, ...] = ()
    """Foci that it closed."""


@dataclass(frozen=True, slots=True)
class History:
    """What the earlier steps of this question searched and kept."""

    searches: tuple[EarlierSearch, ...] = ()
    passages: tuple[EarlierPassage, ...] = ()


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everything that the wordings draw on."""

    question: str
    options: tuple[str, ...]
    focus: Focus
    foci: tuple[Focus, ...]
    history: History
    glossary: Glossary
    thesaurus: Thesaurus
    found: tuple[str, ...] = ()
    """Names in the evidence of the foci that this one depends on."""


def word_subquery(
    question: str,
    options: Sequence[str],
    focus: Focus,
    foci: Sequence[Focus],
    history: History,
    glossary: Glossary,
    thesaurus: Thesaurus,
) -> str:
    """Word one search for one focus.

    Args:
        question: The user's words.
        options: Options of a multiple-choice question, without enumerators; their order plays no part.
        focus: What to search for.
        foci: Every focus of the question; empty means only this one.
        history: Finished steps of this question.
        glossary: Short and full forms.
        thesaurus: Words that documents use for one thing.

    Returns:
        At most 80 words. Not a repetition of an earlier subquery of this question while another wording is left.
    """
    scene = _Scene(question, tuple(options), focus, tuple(foci) or (focus,), history, glossary, thesaurus)
    scene = replace(scene, found=_names_found(scene))
    used = {_key(search.text) for search in history.searches}
    attempt = sum(search.focus_id == focus.id for search in history.searches)
    wordings = _WORDINGS[min(attempt, len(_WORDINGS) - 1) :] + _WORDINGS[: min(attempt, len(_WORDINGS) - 1)]
    text = ""
    for wording in wordings:
        text = _cut(wording(scene))
        if text and _key(text) not in used:
            return text
    return text or _cut([question])


def _expanded(scene: _Scene) -> list[str]:
    """The focus as it stands, then as keywords with names found for it, related words and other forms."""
    text = scene.focus.text
    if scene.found:
        # The evidence now says what the words in brackets only stood for.
        text = _BRACKETED.sub("", text)
    words = _own_words(text)
    related = scene.thesaurus.related(text, most=_RELATED)
    # Said twice, the asker's own words outweigh the words added to them.
    keywords = [*words, *related] if related else []
    # Of a short focus an acronym is the subject; in a longer one the full form of a common unit only drowns the rest.
    forms = _other_forms(scene, text, with_common=len(words) <= _SHORT)
    return [
        *([text] if len(text.split()) <= _LONGEST // 2 else words),
        *scene.found,
        *forms,
        *_option_terms(scene),
        *keywords,
    ]


def _with_feedback(scene: _Scene) -> list[str]:
    """Content words of the focus, words that stand beside them in the evidence, and every other form."""
    words = _own_words(_BRACKETED.sub("", scene.focus.text))
    forms = _other_forms(scene, " ".join(words), with_common=True)
    return _distinct([*words, *scene.found, *_feedback(scene, words), *forms])


def _relaxed(scene: _Scene) -> list[str]:
    """The names and rarest-looking words of the focus alone, where the full wording asked for too much."""
    words = _own_words(_BRACKETED.sub("", scene.focus.text))
    names = [word for word in words if not word.islower()]
    long = sorted((word for word in words if word.islower()), key=lambda word: (-len(word), word))[:3]
    kept = [word for word in words if word in {*names, *long}]
    return _distinct([*kept, *scene.found, *_other_forms(scene, " ".join(kept), with_common=True)])


def _whole_question(scene: _Scene) -> list[str]:
    """Content words of the whole question and more related words, for a focus that lost what it is about."""
    words = _own_words(f"{scene.focus.text} {scene.question}")
    related = scene.thesaurus.related(scene.question, most=2 * _RELATED)
    return _distinct([*words, *scene.found, *_other_forms(scene, " ".join(words)), *_option_terms(scene), *related])


_WORDINGS: Final[tuple[Callable[[_Scene], list[str]], ...]] = (_expanded, _whole_question, _with_feedback, _relaxed)


def _own_words(text: str) -> list[str]:
    """Content words, each once, in order."""
    seen: dict[str, str] = {}
    for word in content_words(text):
        seen.setdefault(word.lower(), word)
    return list(seen.values())


def _distinct(parts: list[str]) -> list[str]:
    """Words of all parts, each once."""
    return list({word.lower(): word for word in " ".join(parts).split()}.values())


def _other_forms(scene: _Scene, text: str, *, with_common: bool = False) -> tuple[str, ...]:
    """The other forms of the short and full forms in a text."""
    return scene.glossary.other_forms(text, with_common=with_common)


def _option_terms(scene: _Scene) -> list[str]:
    """Words that set the options apart, by how few options share them and then by the alphabet."""
    if not scene.options:
        return []
    asked = {stem(word) for word in raw_words(f"{scene.question} {scene.focus.text}")}
    shown: dict[str, str] = {}
    shares: Counter[str] = Counter()
    for option in scene.options:
        found = {stem(word): word for word in sorted(content_words(option))}
        shares.update(found.keys())
        for key, word in found.items():
            shown[key] = min(shown.get(key, word), word)
    apart = [key for key in shares if key not in asked and shares[key] < len(scene.options)]
    chosen = sorted(apart, key=lambda key: (shares[key], shown[key].islower(), key))[:_OPTION_TERMS]
    return [shown[key] for key in chosen]


def _evidence_for(scene: _Scene) -> list[EarlierPassage]:
    """Passages that closed a focus which this one depends on; all kept passages where none is marked so."""
    needed = set(scene.focus.depends_on)
    marked = [passage for passage in scene.history.passages if needed.intersection(passage.focus_ids)]
    return marked or list(scene.history.passages)


def _names_found(scene: _Scene) -> tuple[str, ...]:
    """Names in the evidence of the foci that this one depends on: what they asked for, most likely."""
    if not scene.focus.depends_on:
        return ()
    needed = [focus for focus in scene.foci if focus.id in scene.focus.depends_on]
    asked = {term for focus in needed for term in terms(focus.text)} or set(terms(scene.question))
    known = {word.lower() for word in raw_words(f"{scene.question} {scene.focus.text}")}
    counts: Counter[str] = Counter()
    roles: set[str] = set()
    for score, sentence in _best_sentences(_evidence_for(scene), asked):
        # A sentence that shares little with what was asked names something else.
        if score < _LEAST_SHARED * len(asked):
            continue
        for name in _names(sentence):
            fresh = [word for word in raw_words(name) if word.lower() not in known]
            entry = scene.glossary.find(name)
            if content_words(" ".join(fresh)) and not (entry and entry.common):
                counts[name] += score
                roles.update([name] if _ROLE.search(name) else [])
    # Where a part of the system is named, the other names in its sentence are beside the point.
    best = sorted(roles or counts, key=lambda name: (-counts[name], name))
    return tuple(best[:_NAMES])


def _names(sentence: str) -> list[str]:
    """Names in a sentence, each once; a capital at its beginning alone makes none."""
    found: list[str] = []
    for match in _NAME.finditer(sentence):
        name = _TRAILING.sub("", _DETERMINER.sub("", match.group().strip(".")))
        begins = match.start() == 0 and " " not in name and name[1:].islower()
        if name and not begins:
            found.append(name)
    return list(dict.fromkeys(found))


def _best_sentences(passages: list[EarlierPassage], asked: set[str]) -> list[tuple[int, str]]:
    """The sentences that share most terms with what was asked, best first, with that number."""
    scored = [
        (len(asked.intersection(terms(sentence))), sentence)
        for passage in passages
        for sentence in split_sentences(passage.text)
    ]
    return sorted((pair for pair in scored if pair[0]), key=lambda pair: -pair[0])[:_READ_SENTENCES]


def _feedback(scene: _Scene, words: list[str]) -> list[str]:
    """Words that occur most beside those of the focus in the evidence and are not among them."""
    asked = {stem(word) for word in words}
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for score, sentence in _best_sentences(list(scene.history.passages), set(terms(scene.focus.text))):
        for word in content_words(sentence):
            key = stem(word)
            if key not in asked and _PLAIN.fullmatch(word):
                shown.setdefault(key, word)
                counts[key] += score
    best = sorted(counts, key=lambda key: (-counts[key], shown[key].islower(), key))
    return [shown[key] for key in best[:_FEEDBACK_TERMS]]


def _cut(parts: list[str]) -> str:
    """Parts joined by blanks, white space folded, cut to the longest subquery."""
    return " ".join(" ".join(parts).split()[:_LONGEST])


def _key(text: str) -> str:
    """What two subqueries share if a search cannot tell them apart: their words, in any order."""
    return " ".join(sorted({word.lower() for word in raw_words(text)}))
