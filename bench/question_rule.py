"""Rules that make a question of a sentence, without a model.

Each rule knows one form that technical sentences take ("When X, Y", "X is responsible for Y", a described term) and
asks for one side of it by the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from bench import question_clause
from bench.question_form import IMPERATIVES, LEFT, LONG, NO_SUBJECT, RuleQuestion, short, stands_alone, subject_of
from bench.wording import base_form, content_words

__all__ = ["question_of_heading", "questions_of_sentence", "questions_of_term"]


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

_FINITE: Final = re.compile(r"\b(?:is|are|was|were|has|have|had|will|can|may|must|should|could)\b", re.IGNORECASE)
_TERM: Final = re.compile(r"^(?=.*(?:[a-z][A-Z]|[_./\d-]|[A-Z]{2}))[\w./-]+(?: [A-Z][\w./-]*){0,2}$")
"""One word with something of a name about it, perhaps with more names behind it."""
_DESCRIPTION_WORDS: Final = 6

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


def _possible(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = subject_of(found), short(found["what"])
    if subject is None or not what:
        return None
    plural = found["aux"].startswith("do ")
    auxiliary = "can" if found["aux"].startswith("can") else "do" if plural else "does"
    return RuleQuestion(f"{auxiliary} {subject} {what}", "", subject)


def _related_to(found: re.Match[str]) -> RuleQuestion | None:
    subject = subject_of(found)
    if subject is None:
        return None
    verb = f"{base_form(found['verb'])} {found['link']}"
    return RuleQuestion(f"what does {subject} {verb}", "", subject, f"what does it {verb}")


def _state(found: re.Match[str]) -> RuleQuestion | None:
    subject = subject_of(found)
    if subject is None:
        return None
    rest = f"{found['state']} {found['link']}"
    return RuleQuestion(f"what {found['aux']} {subject} {rest}", "", subject, f"what is it {rest}")


def question_of_heading(heading: str) -> RuleQuestion:
    """The question for what a short section says, from its heading alone."""
    first, _, rest = heading.partition(" ")
    first = first.lower()
    if first == "how" and rest.lower().startswith("to "):
        return RuleQuestion(f"how do I {rest[3:].rstrip('?')}")
    if first in IMPERATIVES:
        return RuleQuestion(f"how do I {first} {rest}")
    if first.endswith("ing") and len(first) > len("string"):
        return RuleQuestion(f"how does one go about {first} {rest}")
    return RuleQuestion(f"what is there to know about {heading}", "", heading)


def _default(found: re.Match[str]) -> RuleQuestion | None:
    subject = found["subject"].strip()
    if not stands_alone(subject) or " " not in subject or NO_SUBJECT.search(subject):
        return None
    return RuleQuestion(f"what applies as {subject} when nobody has set anything")


def _reason(found: re.Match[str]) -> RuleQuestion | None:
    subject = subject_of(found)
    if subject is None or not stands_alone(found["rest"]):
        return None
    return RuleQuestion(f"what is the reason why {subject} {found['rest']}")


def _responsible(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = subject_of(found), short(found["what"])
    if subject is None or not what:
        return None
    return RuleQuestion(f"which part is responsible for {what}", subject, subject, "what is it in charge of")


def _used(found: re.Match[str]) -> RuleQuestion | None:
    subject, what, how = subject_of(found), short(found["what"]), found["how"]
    if subject is None or not what:
        return None
    if how in ("to", "for"):
        return RuleQuestion(f"what serves {how} {what}", subject, subject, "what is it used for")
    return RuleQuestion(f"as what does {subject} serve", "", subject, "as what does it serve")


def _kind(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = subject_of(found), short(found["what"])
    if subject is None or not what or found["kind"].split()[-1] in ("one", "way", "same", "process"):
        return None
    return RuleQuestion(f"which {found['kind']} {what}", subject)


def _enables(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = subject_of(found), short(found["what"])
    if subject is None or not what or what.startswith("to "):
        return None
    follow_up = f"what does it {base_form(found['verb'])}"
    return RuleQuestion(f"what {found['verb']} {what}", subject, subject, follow_up)


def _means(found: re.Match[str]) -> RuleQuestion | None:
    subject = subject_of(found)
    if subject is None:
        return None
    participle = found["participle"]
    return RuleQuestion(f"how can {subject} be {participle}", "", subject, f"how can it be {participle}")


def _passive(found: re.Match[str]) -> RuleQuestion | None:
    subject = subject_of(found)
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
    subject = subject_of(found)
    if subject is None or "not" in found["what"].split()[0]:
        return None
    text = "what is demanded of {}" if found["what"].startswith("be ") else "what is expected of {}"
    return RuleQuestion(text.format(subject), "", subject, text.format("it"))


def _verb(found: re.Match[str]) -> RuleQuestion | None:
    subject, what, verb = subject_of(found), short(found["what"]), found["verb"]
    if subject is None or not what:
        return None
    return RuleQuestion(f"what {verb} {what}", subject, subject, f"what does it {base_form(verb)}")


def _plural_verb(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = subject_of(found), short(found["what"])
    if subject is None or not what or not subject.split()[-1].endswith("s"):
        return None
    return RuleQuestion(f"what {_SINGULAR_OF[found['verb']]} {what}", subject)


def _able(found: re.Match[str]) -> RuleQuestion | None:
    subject, what = subject_of(found), short(found["what"])
    if subject is None or not what:
        return None
    text = f"what is able to {what}" if found["aux"] == "can" else f"what is going to {what}"
    return RuleQuestion(text, subject)


def _definition(found: re.Match[str]) -> RuleQuestion | None:
    subject = subject_of(found)
    return None if subject is None else RuleQuestion(f"what {found['aux']} {subject}", "", subject, "what is it")


_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], RuleQuestion | None]], ...]] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (
            r"^(?P<word>When|If|Once|After|Before|Whenever|As soon as|While|Unless|In case) "
            r"(?P<condition>[^,;:]{15,110}), .{15,}$",
            question_clause.condition,
        ),
        (r"^(?:In order )?[Tt]o (?P<verb>[a-z]{3,12}) (?P<object>[^,;:]{8,90}), .{12,}$", question_clause.purpose),
        (
            r"^(?:The )?[Dd]efault (?:value |setting )?(?:of |for )?(?P<subject>[a-z][^,;:]{4,60}?)(?: is| are) [^;]+$",
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
        (
            rf"^{_SUBJECT} (?P<verb>consists|depends|relies|belongs|corresponds|interacts|communicates|listens|applies|"
            r"connects|subscribes|points|maps|integrates|runs|resides|comes|starts|ends) "
            r"(?P<link>of|on|upon|to|with|in|from|for|at) .{8,}$",
            _related_to,
        ),
        (
            rf"^{_SUBJECT} (?P<aux>is|are) {_ADVERB}(?P<state>based|composed|compatible|intended|meant|part|"
            r"dependent|limited|subject|similar|equal|related|aligned|comprised|divided) "
            r"(?P<link>on|of|with|for|to|in|into) .{8,}$",
            _state,
        ),
        (rf"^{_SUBJECT} {_ADVERB}(?P<verb>{_VERBS}) (?P<what>[^;:]{{12,}})$", _verb),
        (rf"^{_SUBJECT} {_ADVERB}(?P<verb>has|[a-z]{{3,12}}s) (?P<what>{_DETERMINED} [^;:]{{12,}})$", _verb),
        (rf"^{_SUBJECT} {_ADVERB}(?P<verb>{'|'.join(_SINGULAR_OF)}) (?P<what>[^;:]{{12,}})$", _plural_verb),
        (rf"^{_SUBJECT} (?P<aux>can|will) {_ADVERB}(?P<what>(?!not|be)[a-z]{{2,}} [^;:]{{12,}})$", _able),
        (
            rf"^{_SUBJECT} (?P<aux>is|are) {_ADVERB}(?P<participle>[a-z]{{3,}}ed) "
            rf"(?P<link>(?!to (?!an? |the |[A-Z]))(?:{_LINKS})) [^;:]{{6,}}$",
            _passive,
        ),
        (rf"^{_SUBJECT} (?P<aux>cannot|can not|does not|do not) (?P<what>[a-z]{{2,}} [^;:]{{8,}})$", _possible),
        (
            r"^(?:Use|Run|Execute|Edit|Set|Add|Modify|Create|Call|Select|Click|Go|Open|Check|Define|Specify|Configure|"
            r"Enable|Install|Apply|Update|Change|Follow|Press|Start|Enter|Provide|Deploy|Build|Download|See|Refer)\b"
            r"[^,;:]{8,}? (?:in order )?to (?P<what>[a-z]{2,}(?<!the) [^;:]{12,})$",
            question_clause.instruction,
        ),
        (rf"^{_SUBJECT} (?P<aux>is|are) (?:an?|the|one of) [^;:]{{20,}}$", _definition),
        (
            r"^[A-Z][^;:]{15,}?,? (?P<word>when|if|once|after|before|whenever|unless|until|as soon as) "
            r"(?P<condition>[^,;:]{15,110})$",
            question_clause.condition_behind,
        ),
        (r"^[A-Z][^;:]{15,}?,? (?P<link>so that|in order to) (?P<what>[a-z][^,;:]{12,90})$", question_clause.done_for),
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


def questions_of_term(term: str, description: str) -> Iterator[RuleQuestion]:
    """The questions for the meaning of a described term, and for the term by its meaning.

    Args:
        term: A name, code or short form; the labels of a list that is prose otherwise are none.
        description: What stands beside it, of six words or more.
    """
    if not _TERM.match(term) or len(description.split()) < _DESCRIPTION_WORDS:
        return
    meaning = re.split(r"[.;(]|, | - ", description)[0].strip()
    # Of half the terms, whichever way their letters fall, so that both ways are asked.
    if len(term) % 2 and len(meaning) <= 2 * LONG and len(content_words(meaning)) >= LEFT and stands_alone(meaning):
        first = meaning.split()[0].lower()
        if re.match(rf"[A-Z][a-z]+s {_DETERMINED} ", meaning):
            yield RuleQuestion(f"what {meaning[0].lower()}{meaning[1:]}", term)
        elif not _FINITE.search(meaning) and first not in IMPERATIVES and not first.endswith(("s", "ed", "ing")):
            yield RuleQuestion(f"what stands for {meaning}", term, meaning)
    yield RuleQuestion(f"what is meant by {term}", "", term, "what is meant by it")
