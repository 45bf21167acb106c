"""Rules that make a question of a sentence, without a model.

Each rule knows one form that technical sentences take ("When X, Y", "X is responsible for Y", a described term) and
asks for one side of it by the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.wording import base_form, content_words

__all__ = ["RuleQuestion", "question_of_term", "questions_of_sentence"]


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


_SUBJECT: Final = r"(?P<subject>(?:The |An? |Each |All )?[A-Za-z][\w/.-]*(?: [\w/.()-]+){0,6}?)"
_ADVERB: Final = r"(?:also |then |only |currently |always |automatically |usually |mainly |primarily )?"
_VERBS: Final = (
    "accepts|applies|assigns|calculates|collects|combines|computes|configures|connects|consumes|contains|controls|"
    "converts|creates|defines|deletes|deploys|determines|discovers|establishes|executes|expects|exposes|fetches|"
    "forwards|generates|handles|holds|implements|includes|indicates|initiates|limits|listens|logs|maintains|manages|"
    "monitors|needs|offers|performs|processes|provides|publishes|reads|receives|registers|removes|replaces|reports|"
    "represents|requires|returns|runs|sends|shows|specifies|stores|subscribes|supports|terminates|tracks|translates|"
    "triggers|updates|uses|validates|verifies|writes"
)
_PARTICIPLES: Final = (
    "activated|assigned|authenticated|built|calculated|collected|computed|configured|connected|controlled|converted|"
    "created|defined|deleted|delivered|deployed|determined|disabled|discovered|distributed|enabled|encoded|executed|"
    "exposed|forwarded|found|generated|handled|identified|implemented|installed|kept|located|maintained|managed|"
    "monitored|organized|packaged|performed|placed|protected|provided|published|received|registered|released|removed|"
    "replaced|reported|represented|run|secured|selected|sent|specified|started|stored|tested|triggered|updated|used|"
    "validated|written"
)
_SINGULAR_OF: Final = {base_form(verb): verb for verb in _VERBS.split("|")}
_DETERMINED: Final = r"(?:an?|the|all|any|each|every|only|one|two|multiple|several|whether|data|new)"
_ENDINGS: Final = r"(?:\w+(?:s|ed|ing|t|n)|be|do)"

# A subject that only its context explains, or that is about the document and not about the system.
_VAGUE: Final = frozenset(
    "this that these those it they he she we you i there here which what following above below figure diagram document "
    "section chapter page example examples table guide picture note step steps code user users one ones other others "
    "name script command snippet image repository repo readme release project version documentation tutorial first "
    "second third next last latter former same everything something either both if when in on at by as for from "
    "although however but and or with to please see file files value values field parameter option data list".split()
)
_NO_SUBJECT: Final = re.compile(
    r"\b(?:is|are|was|were|be|can|may|must|should|shall|will|would|has|have|if|when|that|which|who|to|not|then|by|"
    r"also|only|and)\b",
    re.IGNORECASE,
)
_POINTS_ELSEWHERE: Final = re.compile(
    r"\b(?:this|these|those|it|its|they|them|their|we|our|us|above|below|follow|following|previous|latter|former|here|"
    r"figure|section|example|e\.g|i\.e|same|such)\b",
    re.IGNORECASE,
)
_ASIDE: Final = re.compile(r"\s*\([^()]{0,60}\)")
_SECOND_BREATH: Final = re.compile(
    r",? (?:and|which|while|where|so that|but|as well as|in order to|because|since|when|if|or)\b|, | - | \u2013 "
)
_LONG: Final = 55

# How to ask for what follows a participle, by the word between them.
_ASK_BY_LINK: Final = {
    "in": "where {aux} {subject} {participle}",
    "on": "where {aux} {subject} {participle}",
    "at": "where {aux} {subject} {participle}",
    "under": "where {aux} {subject} {participle}",
    "into": "what {aux} {subject} {participle} into",
    "by": "by what {aux} {subject} {participle}",
    "using": "with what {aux} {subject} {participle}",
    "with": "with what {aux} {subject} {participle}",
    "through": "through what {aux} {subject} {participle}",
    "via": "through what {aux} {subject} {participle}",
    "from": "from where {aux} {subject} {participle}",
    "as": "as what {aux} {subject} {participle}",
    "when": "at which moment {aux} {subject} {participle}",
    "after": "after what {aux} {subject} {participle}",
    "during": "in which phase {aux} {subject} {participle}",
    "if": "on which condition {aux} {subject} {participle}",
    "based on": "on what basis {aux} {subject} {participle}",
    "to": "to what {aux} {subject} {participle}",
    "for": "for what {aux} {subject} {participle}",
}
_LINKS: Final = "|".join(sorted(_ASK_BY_LINK, key=len, reverse=True))


def _subject(found: re.Match[str]) -> str | None:
    """The thing that a sentence is about; None where it needs what stands before it."""
    text = _ASIDE.sub("", found["subject"]).strip()
    names = text.split()
    if names and names[0] in ("The", "A", "An", "Each", "All"):
        names[0] = names[0].lower()
    plain = [name.lower().strip("().") for name in names if name not in ("the", "a", "an", "each", "all")]
    if not plain or plain[-1] in _VAGUE or plain[0] in _VAGUE or _NO_SUBJECT.search(text):
        return None
    return " ".join(names) if content_words(text) and _stands_alone(text) else None


def _stands_alone(text: str) -> bool:
    """Whether a part of a sentence can be understood in another one."""
    return not _POINTS_ELSEWHERE.search(text) and text.count("(") == text.count(")") and text.count('"') % 2 == 0


def _short(text: str) -> str:
    """A clause up to where it takes a second breath, if it is long; empty where that leaves too little."""
    if len(text) > _LONG:
        text = _SECOND_BREATH.split(text)[0]
    return text if _stands_alone(text) else ""


def _condition(found: re.Match[str]) -> RuleQuestion | None:
    condition, word = found["condition"], found["word"].lower()
    wish = re.match(r"you (?:want|wish|need|would like) to (.+)", condition)
    if wish is not None:
        return RuleQuestion(f"how do I {wish[1]}") if _stands_alone(wish[1]) else None
    own = re.match(r"you (?!are\b|have\b|do\b|also\b)(.+)", condition)
    if own is not None:
        return RuleQuestion(f"what comes next {word} I {own[1]}") if _stands_alone(own[1]) else None
    if not _stands_alone(condition) or re.match(r"(?:you|all|both|there|not|so|needed|required|using)\b", condition):
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


def _purpose(found: re.Match[str]) -> RuleQuestion | None:
    if not _stands_alone(found["object"]) or found["verb"] in ("this", "the", "that", "date", "summarize", "conclude"):
        return None
    return RuleQuestion(f"how do I {found['verb']} {found['object']}")


def _default(found: re.Match[str]) -> RuleQuestion | None:
    subject = found["subject"].strip()
    if not _stands_alone(subject) or " " not in subject or _NO_SUBJECT.search(subject):
        return None
    return RuleQuestion(f"what applies as {subject} when nobody has set anything")


def _reason(found: re.Match[str]) -> RuleQuestion | None:
    subject = _subject(found)
    if subject is None or not _stands_alone(found["rest"]):
        return None
    return RuleQuestion(f"what is the reason why {subject} {found['rest']}")


def _responsible(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = _subject(found), _short(found["what"])
    if subject is None or not what:
        return None
    return RuleQuestion(f"which part is responsible for {what}", subject, subject, "what is it in charge of")


def _used(found: re.Match[str]) -> RuleQuestion | None:
    subject, what, how = _subject(found), _short(found["what"]), found["how"]
    if subject is None or not what:
        return None
    if how in ("to", "for"):
        return RuleQuestion(f"what serves {how} {what}", subject, subject, "what is it used for")
    return RuleQuestion(f"as what does {subject} serve", "", subject, "as what does it serve")


def _kind(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = _subject(found), _short(found["what"])
    if subject is None or not what or found["kind"].split()[-1] in ("one", "way", "same", "process"):
        return None
    return RuleQuestion(f"which {found['kind']} {what}", subject)


def _enables(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = _subject(found), _short(found["what"])
    if subject is None or not what or what.startswith("to "):
        return None
    follow_up = f"what does it {base_form(found['verb'])}"
    return RuleQuestion(f"what {found['verb']} {what}", subject, subject, follow_up)


def _means(found: re.Match[str]) -> RuleQuestion | None:
    subject = _subject(found)
    return None if subject is None else RuleQuestion(f"how can {subject} be {found['participle']}")


def _passive(found: re.Match[str]) -> RuleQuestion | None:
    subject = _subject(found)
    if subject is None:
        return None
    form, aux, participle = _ASK_BY_LINK[found["link"]], found["aux"], found["participle"]
    return RuleQuestion(
        form.format(aux=aux, subject=subject, participle=participle),
        "",
        subject,
        form.format(aux="is", subject="it", participle=participle),
    )


def _must(found: re.Match[str]) -> RuleQuestion | None:
    subject = _subject(found)
    if subject is None or "not" in found["what"].split()[0]:
        return None
    text = "what is demanded of {}" if found["what"].startswith("be ") else "what does {} have to do"
    if found["aux"] in ("must", "should", "shall", "have to") and subject.split()[-1].endswith("s"):
        text = text.replace("does", "do")
    return RuleQuestion(text.format(subject), "", subject, text.replace("do {}", "does {}").format("it"))


def _verb(found: re.Match[str]) -> RuleQuestion | None:
    subject, what, verb = _subject(found), _short(found["what"]), found["verb"]
    if subject is None or not what:
        return None
    return RuleQuestion(f"what {verb} {what}", subject, subject, f"what does it {base_form(verb)}")


def _plural_verb(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = _subject(found), _short(found["what"])
    if subject is None or not what or not subject.split()[-1].endswith("s"):
        return None
    return RuleQuestion(f"what {_SINGULAR_OF[found['verb']]} {what}", subject)


def _able(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = _subject(found), _short(found["what"])
    if subject is None or not what:
        return None
    text = f"what is able to {what}" if found["aux"] == "can" else f"what is going to {what}"
    return RuleQuestion(text, subject)


def _instruction(found: re.Match[str]) -> RuleQuestion | None:
    what = _short(found["what"])
    return RuleQuestion(f"how do I {what}") if what and not what.startswith("be ") else None


def _definition(found: re.Match[str]) -> RuleQuestion | None:
    subject = _subject(found)
    return None if subject is None else RuleQuestion(f"what {found['aux']} {subject}", "", subject, "what is it")


_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], RuleQuestion | None]], ...]] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (
            r"^(?P<word>When|If|Once|After|Before|Whenever|As soon as|While|Unless|In case) "
            r"(?P<condition>[^,;:]{15,110}), .{15,}$",
            _condition,
        ),
        (r"^(?:In order )?[Tt]o (?P<verb>[a-z]{3,12}) (?P<object>[^,;:]{8,90}), .{12,}$", _purpose),
        (
            r"^(?:The |By )?[Dd]efault (?:value |setting )?(?:of |for )?(?P<subject>[^,;:]{5,60}?)(?: is| are) [^;]+$",
            _default,
        ),
        (rf"^{_SUBJECT} (?:is|are) {_ADVERB}responsible for (?P<what>[^;:]{{12,}})$", _responsible),
        (rf"^{_SUBJECT} (?P<rest>[^,;:]{{12,80}}?),? because .{{12,}}$", _reason),
        (rf"^{_SUBJECT} (?:is|are|can be|may be) {_ADVERB}used (?P<how>to|for|as) (?P<what>[^;:]{{10,}})$", _used),
        (
            rf"^{_SUBJECT} (?:is|are) (?:an?|the) (?P<kind>[a-z][\w-]*(?: [\w-]+){{0,3}}?) (?:that|which) "
            r"(?P<what>[^;:]{12,})$",
            _kind,
        ),
        (
            rf"^{_SUBJECT} {_ADVERB}(?P<verb>allows|enables|lets|helps|permits|facilitates) (?P<what>[^;:]{{12,}})$",
            _enables,
        ),
        (
            rf"^{_SUBJECT} can be (?P<participle>[a-z]+ed|found|set|run|built|sent|seen|written|read) (?:{_LINKS}) "
            r".{8,}$",
            _means,
        ),
        (
            rf"^{_SUBJECT} (?P<aux>is|are) {_ADVERB}(?P<participle>{_PARTICIPLES}) (?P<link>{_LINKS}) [^;:]{{6,}}$",
            _passive,
        ),
        (
            rf"^{_SUBJECT} (?P<aux>must|should|shall|has to|have to|needs to|need to) {_ADVERB}(?P<what>[^;:]{{12,}})$",
            _must,
        ),
        (rf"^{_SUBJECT} {_ADVERB}(?P<verb>{_VERBS}) (?P<what>[^;:]{{12,}})$", _verb),
        (rf"^{_SUBJECT} {_ADVERB}(?P<verb>has|[a-z]{{3,12}}s) (?P<what>{_DETERMINED} [^;:]{{12,}})$", _verb),
        (rf"^{_SUBJECT} {_ADVERB}(?P<verb>{'|'.join(_SINGULAR_OF)}) (?P<what>[^;:]{{12,}})$", _plural_verb),
        (rf"^{_SUBJECT} (?P<aux>can|will) {_ADVERB}(?P<what>(?!not|be)[a-z]{{2,}} [^;:]{{12,}})$", _able),
        (
            rf"^{_SUBJECT} (?P<aux>is|are) {_ADVERB}(?P<participle>[a-z]{{3,}}ed) (?P<link>{_LINKS}) [^;:]{{6,}}$",
            _passive,
        ),
        (
            r"^(?:Use|Run|Execute|Edit|Set|Add|Modify|Create|Call|Select|Click|Go|Open|Check|Define|Specify|Configure|"
            r"Enable|Install|Apply|Update|Change|Follow|Press|Start|Enter|Provide|Deploy|Build|Download|See|Refer)\b"
            r"[^,;:]{8,}? (?:in order )?to (?P<what>[a-z]{2,}(?<!the) [^;:]{12,})$",
            _instruction,
        ),
        (rf"^{_SUBJECT} (?P<aux>is|are) (?:an?|the|one of) [^;:]{{20,}}$", _definition),
    )
)


def questions_of_sentence(sentence: str) -> Iterator[RuleQuestion]:
    """Each question that a rule makes of a sentence, the most telling one first.

    Args:
        sentence: Of a paragraph, without its markup.
    """
    plain = sentence.rstrip(".")
    for pattern, rule in _RULES:
        found = pattern.match(plain)
        question = rule(found) if found is not None else None
        if question is not None:
            yield question


def question_of_term(term: str, description: str) -> RuleQuestion | None:
    """The question for the meaning of a described term; None where the description is too short to be one."""
    if not 1 <= len(term.split()) <= 4 or len(description.split()) < 6 or not content_words(term):
        return None
    return RuleQuestion(f"what is meant by {term}")
