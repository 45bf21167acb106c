"""English function words, which carry no evidence about what a text is on."""

from __future__ import annotations

from typing import Final

__all__ = ["STOP_WORDS", "is_stop_word"]

_ARTICLES_AND_PRONOUNS = """
a an the this that these those some any each every either neither both all such same other another own
i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
myself ourselves yourself itself themselves one's who whom whose which what whatever whichever
"""
_PREPOSITIONS_AND_CONJUNCTIONS = """
about above across after against along among around as at before behind below beneath beside besides between beyond
but by despite down during except for from in inside into like near of off on onto or out outside over per since
than then though through throughout till to toward towards under until up upon via with within without
and nor so yet if because while whereas although unless whether
"""
_VERBS = """
am is are was were be been being do does did doing done have has had having can could may might must shall should
will would ought cannot don't doesn't isn't aren't wasn't weren't won't can't
"""
_ADVERBS = """
when where why how here there again further once just only also too very not no more most less least much many few
now even still ever rather quite almost already always often thus hence therefore however etc e.g i.e vs
"""

# "near" is half of "near-RT" and "down" and "up" name link states; as whole words they still tell nothing alone,
# and compounds such as near-rt are one word to the tokeniser.
STOP_WORDS: Final[frozenset[str]] = frozenset(
    (_ARTICLES_AND_PRONOUNS + _PREPOSITIONS_AND_CONJUNCTIONS + _VERBS + _ADVERBS).split()
)
"""Lower-case function words, among them the question words."""


def is_stop_word(word: str) -> bool:
    """Whether a word, in any case, is a function word."""
    return word.lower() in STOP_WORDS
