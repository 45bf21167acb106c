"""Rules for clauses: what happens on a condition, and how a purpose is reached."""

from __future__ import annotations

import re
from typing import Final

from bench.question_form import RuleQuestion, short, stands_alone

__all__ = ["condition", "condition_behind", "done_for", "instruction", "purpose"]

_NO_VERBS: Final = ("this", "the", "that", "date", "be", "summarize", "conclude")
_NO_VERB_FORM: Final = re.compile(r"be |\w*[^e]ed |\w+ing ")
_ENDINGS: Final = r"(?:\w+(?:s|ed|ing|t|n)|be|do)"


def condition(found: re.Match[str]) -> RuleQuestion | None:
    """What happens, or has to be done, on a condition that a sentence begins with."""
    condition, word = found["condition"], found["word"].lower()
    wish = re.match(r"you (?:want|wish|need|would like) to (.+)", condition)
    if wish is not None:
        return RuleQuestion(f"how do I {wish[1]}") if stands_alone(wish[1]) else None
    own = re.match(r"you (?!are\b|have\b|do\b|also\b)(.+)", condition)
    if own is not None:
        return RuleQuestion(f"what comes next {word} I {own[1]}") if stands_alone(own[1]) else None
    if not stands_alone(condition) or re.match(
        r"(?:you|all|both|there|that|not|so|needed|required|using)\b", condition
    ):
        return None
    if not re.search(rf" {_ENDINGS}\b", condition) and word != "after":
        return None
    match word:
        case "before":
            return RuleQuestion(f"what has to be done before {condition}")
        case "unless" | "in case" | "while":
            return RuleQuestion(f"what holds {word} {condition}")
        case _:
            return RuleQuestion(f"what happens {word} {condition}")


def condition_behind(found: re.Match[str]) -> RuleQuestion | None:
    """What happens on a condition that a sentence ends with."""
    condition, word = found["condition"], found["word"]
    if not stands_alone(condition) or not re.search(rf" {_ENDINGS}\b", condition):
        return None
    if re.match(r"(?:you|all|both|there|that|not|so|needed|required|using|applicable)\b", condition):
        return None
    return RuleQuestion(f"what {'holds' if word in ('unless', 'until') else 'happens'} {word} {condition}")


def done_for(found: re.Match[str]) -> RuleQuestion | None:
    """What is done to an end that a sentence ends with."""
    what = found["what"]
    return RuleQuestion(f"what is done {found['link']} {what}") if stands_alone(what) else None


def purpose(found: re.Match[str]) -> RuleQuestion | None:
    """How to reach an end that a sentence begins with."""
    if not stands_alone(found["object"]) or found["verb"] in _NO_VERBS or re.search(r"(?:[^e]ed|ing)$", found["verb"]):
        return None
    return RuleQuestion(f"how do I {found['verb']} {found['object']}")


def instruction(found: re.Match[str]) -> RuleQuestion | None:
    """How to reach the end of an instruction."""
    what = short(found["what"])
    return RuleQuestion(f"how do I {what}") if what and not _NO_VERB_FORM.match(what) else None
