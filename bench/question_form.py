"""What the rules that make questions share: the question as they make it, and which parts of a sentence can be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bench.wording import content_words

__all__ = ["IMPERATIVES", "LEFT", "LONG", "NO_SUBJECT", "RuleQuestion", "short", "stands_alone", "subject_of"]


@dataclass(frozen=True)
class RuleQuestion:
    """A question as a rule makes it, in the words of its sentence."""

    text: str
    """Begins in lower case and ends without its mark."""
    answers: str = ""
    """The thing that answers it, where that is what the sentence is about."""
    about: str = ""
    """What the sentence is about, where follow_up can be asked of it."""
    follow_up: str = ""
    """The question about a thing that is named before: "what does it store"."""


# A subject that only its context explains, or that is about the document and not about the system.
_VAGUE: Final = frozenset(
    "this that these those it they he she we you i there here which what following above below figure diagram document "
    "section chapter page example examples table guide picture note step steps code user users one ones other others "
    "name script command snippet image repository repo readme release project version documentation tutorial first "
    "second third next last latter former same everything something either both if when in on at by as for from "
    "although however but and or with to please see since because though once after before during besides per via "
    "using based given depending every file files value values field parameter option data list".split()
)
NO_SUBJECT: Final = re.compile(
    r"\b(?:is|are|was|were|be|can|may|must|should|shall|will|would|has|have|if|when|that|which|who|to|not|then|by|"
    r"also|only|and|just|often|never|still|already|\w+ly)\b",
    re.IGNORECASE,
)
_POINTS_ELSEWHERE: Final = re.compile(
    r"\b(?:this|these|those|it|its|they|them|their|we|our|us|above|below|follow|following|previous|latter|former|here|"
    r"figure|section|example|e\.g|i\.e|same|such|one(?! of\b))\b(?!-)",
    re.IGNORECASE,
)
_ASIDE: Final = re.compile(r"\s*\([^()]{0,60}\)")
_SECOND_BREATH: Final = re.compile(
    r",? (?:and|which|while|where|so that|but|as well as|in order to|because|since|when|if|or)\b|, | - | \u2013 "
)
LONG: Final = 55
"""Characters of a clause that a question can take whole."""
_DANGLING: Final = re.compile(
    r"\b(?:on|in|of|to|for|with|by|at|from|into|as|the|an?|both|either|single|all|any|is|are|be|not)$|"
    r"\b(?:an?|the|to|can|that) [\w-]+$|[(\"][^)\"]*$"
)
LEFT: Final = 3
"""Content words that a clause must keep when it is cut short."""
IMPERATIVES: Final = frozenset(
    "access add apply build change check clone compile configure connect create define delete deploy disable download "
    "edit enable export fetch find generate get import initialize inspect install integrate launch list load modify "
    "make monitor open package prepare publish pull push query read register release remove replace restart retrieve "
    "run send set start stop subscribe test troubleshoot undeploy uninstall unsubscribe update upgrade upload use "
    "validate verify view watch write".split()
)


def subject_of(found: re.Match[str]) -> str | None:
    """The thing that a sentence is about; None where it needs what stands before it."""
    text = _ASIDE.sub("", found["subject"]).strip()
    names = text.split()
    if names and names[0] in ("The", "A", "An", "Each", "All"):
        names[0] = names[0].lower()
    plain = [name.lower().strip("().") for name in names if name not in ("the", "a", "an", "each", "all")]
    if not plain or plain[-1] in _VAGUE or plain[0] in _VAGUE or NO_SUBJECT.search(text):
        return None
    if plain[0] in ("make", "ensure", "check", "verify", "verifying", "checking"):
        return None
    return " ".join(names) if content_words(text) and stands_alone(text) else None


def stands_alone(text: str) -> bool:
    """Whether a part of a sentence can be understood in another one."""
    return not _POINTS_ELSEWHERE.search(text) and text.count("(") == text.count(")") and text.count('"') % 2 == 0


def short(text: str) -> str:
    """A clause up to where it takes a second breath, if it is long; empty where that leaves too little."""
    if len(text) > LONG:
        text = _SECOND_BREATH.split(text)[0]
        if _DANGLING.search(text) or len(content_words(text)) < LEFT:
            return ""
    return text if stands_alone(text) else ""
