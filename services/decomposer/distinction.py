"""What tells two questions apart that are otherwise worded alike: names, numbers, and words that turn a meaning round.

Two texts of one cosine may ask for different things: "O-DU" or "O-RU", "2 ms" or "3 ms", "before" or "after". A vector
sees little of that in a long question, and a hashed one nothing of function words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.lexicon.glossary import Glossary, GlossaryEntry
from services.lexicon.sentence import split_sentences
from services.lexicon.stopword import is_stop_word
from services.lexicon.tokenise import raw_words, stem

__all__ = ["distinctions"]

_INFLECTED: Final = re.compile(r"(?<=[A-Z0-9a-z])'s$|(?<=[A-Z0-9])s$")
_NUMBER: Final = re.compile(r"(\d+(?:[.]\d+)*)([a-zA-Z]*)")
_NUMBER_WORDS: Final = {
    word: str(number)
    for number, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), start=2)
}
_UNITS: Final = frozenset(
    stem(unit)
    for unit in (
        "ns us ms s sec second seconds minute minutes hour hours day days hz khz mhz ghz db dbm dbi watt watts "
        "bit bits byte bytes kb mb gb tb kbps mbps gbps mbit gbit prb prbs rb rbs symbol symbols slot slots frame "
        "frames km percent"
    ).split()
)
_TURNING: Final = frozenset(
    stem(word)
    for word in (
        # negation and degree
        "not no never none neither nor without cannot except don't doesn't isn't aren't can't won't least most minimum "
        "maximum min max lowest highest fewer less more smallest largest shortest longest every only all any "
        "same another other different instead "
        # order in time and place
        "before after during until since first last next previous earlier later initial final "
        # what is asked of the subject
        "why when where who whose whom "
        # two ends and two ways
        "uplink downlink ul dl up down out off upper lower high low north south northbound southbound inbound "
        "outbound ingress egress source target destination sender receiver producer consumer publisher subscriber "
        "client server send sent receive received request response requests responses input output left right "
        # doing and undoing
        "add remove create delete update enable disable enabled disabled start stop begin end open close success "
        "failure succeed fail attach detach connect disconnect activate deactivate register deregister subscribe "
        "unsubscribe install uninstall allow deny accept reject increase decrease encrypt decrypt encode decode "
        "internal external static dynamic synchronous asynchronous active passive valid invalid true false optional "
        "mandatory required supported unsupported"
    ).split()
)
_QUANTITIES: Final = frozenset("many much long often far fast large big old".split())
_DIRECTIONS: Final = frozenset("from to into onto towards toward".split())
_BETWEEN: Final = frozenset("the a an this that each its".split())


def distinctions(text: str, glossary: Glossary) -> tuple[str, ...]:
    """What another text must share to ask for the same thing.

    Args:
        text: A question or a focus.
        glossary: Full forms are read as the short forms they stand for, unless they are one of several.

    Returns:
        Sorted, each once: names ("o-du", "cat", single capitals), the same with the direction they are named in
        ("from o-du"), numbers with their unit ("2 ms"), and words that turn a meaning round ("not", "uplink", "why").
        It errs on the side of too many: two texts held apart cost a generation, two taken for one a wrong search.
    """
    entries = [(entry, is_short) for entry, is_short in glossary.named(text) if is_short or not _is_ambiguous(entry)]
    found = {entry.short.casefold() for entry, _ in entries}
    # A name that is a word of a full form has been read with it: the "O-RAN" of "O-RAN distributed unit".
    read = {word for entry, is_short in entries if not is_short for form in entry.expansions for word in form.split()}
    for sentence in split_sentences(text):
        words = raw_words(sentence)
        found.update(_numbers(words), _turns(words), _names([word for word in words if word not in read], glossary))
    return tuple(sorted(found))


def _names(words: list[str], glossary: Glossary) -> Iterator[str]:
    """Identifiers, acronyms and capitalised words, alone and with a direction before them."""
    for place, word in enumerate(words):
        if not _is_name(word, begins=place == 0):
            continue
        entry = glossary.find(word)
        name = (entry.short if entry else _INFLECTED.sub("", word)).casefold()
        yield name
        before = [other for other in words[max(0, place - 2) : place] if other.lower() not in _BETWEEN]
        if before and before[-1].lower() in _DIRECTIONS:
            yield f"{before[-1].lower()} {name}"


def _is_name(word: str, *, begins: bool) -> bool:
    """Whether a word names something; a capital at the beginning of a sentence alone does not make it a name."""
    if any(character.isupper() or character.isdigit() for character in word[1:]) or "_" in word:
        return True
    if begins or not word[0].isupper():
        return False
    return (len(word) == 1 and word != "I") or not is_stop_word(word)


def _numbers(words: list[str]) -> Iterator[str]:
    """Numbers, with the unit that follows where it is one."""
    for place, word in enumerate(words):
        match = _NUMBER.fullmatch(_NUMBER_WORDS.get(word.lower(), word))
        if match:
            unit = match[2] or (words[place + 1] if place + 1 < len(words) else "")
            yield f"{match[1]} {stem(unit)}" if match[2] or stem(unit) in _UNITS else match[1]


def _turns(words: list[str]) -> Iterator[str]:
    """Words that turn a meaning round, and quantities that are asked for."""
    for place, word in enumerate(words):
        if stem(word) in _TURNING:
            yield stem(word)
        if word.lower() == "how" and place + 1 < len(words) and words[place + 1].lower() in _QUANTITIES:
            yield f"how {words[place + 1].lower()}"


def _is_ambiguous(entry: GlossaryEntry) -> bool:
    """Whether its full forms are different things, not spellings: "certificate authority|carrier aggregation"."""
    first = entry.expansions[0].casefold()
    return any(
        not (first.startswith(other) or other.startswith(first)) for other in map(str.casefold, entry.expansions)
    )
