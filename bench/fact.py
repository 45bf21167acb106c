"""What one section says and a rule can ask for: a question, and the words of the section that answer it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.outline import Section
from bench.question import fold
from bench.question_form import RuleQuestion
from bench.question_rule import question_of_heading, questions_of_sentence, questions_of_term
from bench.section import Document
from bench.wording import content_words, reorder, reword, shares_run, without_articles, words

__all__ = ["Casing", "Dropped", "Fact", "capitalised", "facts_of_section"]

_SENTENCE_END: Final = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bvs\.)(?<=[.!?])\s+(?=[A-Z`\"(])")
_LISTED_TERM: Final = re.compile(r"^(?P<term>[\w./-]+(?: [\w./-]+){0,3}) ?(?::| -|-) (?P<description>[A-Za-z].*)$")
_PRONOUN_FIRST: Final = re.compile(r"(?:This|That|These|Those|It|They|There|Its|Their|Both|Such)\b")
_SHORT_SECTION: Final = 260
"""Words of a section that is asked for by its heading: all of it fits one passage."""
_HEADING_SUBJECT: Final = 2
"""Words of such a heading that name something, beside the document's name."""
_LEAST_WORDS, _MOST_WORDS = 8, 40
_DOCUMENT_FURNITURE: Final = re.compile(
    r"release[-_ ]?note|rel_notes|change[-_ ]?log|licen[cs]e|contribut|code[-_ ]of[-_ ]conduct|maintainer|meeting|"
    r"history",
    re.IGNORECASE,
)
_HEADING_FURNITURE: Final = re.compile(
    r"licen[cs]e|copyright|change[-_ ]?log|release (?:data|note|hist)|version hist|^version|contents|references|"
    r"contribut|acknowledg|abstract|what'?s new|bug|jira|feature additions|deliverable|known issue|workaround",
    re.IGNORECASE,
)
_CODE_LIKE: Final = re.compile(r"https?:|www\.|[{}<>$|\\=]|\.\.|::|--\w|\w\(\)|``|:\w+:|\[\w*\]|/\w+/\w+/| \+ ")
_GENERIC: Final = content_words(
    "overview introduction guide user users developer developers installation install architecture design api apis "
    "documentation doc docs readme description summary general background purpose scope details configuration usage "
    "use case cases example examples feature features new old notes component components software interface interfaces "
    "functionality functions concepts concept getting started main index home project document tutorial step steps "
    "note other misc prerequisites pre requisites requirement requirements deployment testing test tests setup test "
    "procedure objective information option options parameters parameter value values return s faq about high level "
    "welcome environment variable command error glossary abbreviation troubleshooting preface performance connect "
    "function quick validation reference resource page manual program running service support"
)
_LINK: Final = re.compile(r" (?:for|from|to|towards?|with|by|in|on|as|that|when|if|at|into|through)\b")
"""Before these words the context may stand."""
_LEAD_IN: Final = re.compile(
    r"^(?:(?:Please|Then|Also|Currently|Typically|Usually|Normally|Note that)(?:,|:)? |"
    r"(?:Finally|Additionally|Furthermore|Moreover|Instead|Similarly|Optionally|Next|Internally|Hence|Therefore|Thus|"
    r"However|In addition|Further|Alternatively|Basically|Initially|Specifically|Generally|In general|In this case|"
    r"Note)(?:,|:) )+"
)
_LABEL: Final = re.compile(
    r"^(?:(?:man page|function|name|class|interface|table|use case|step \d+|appendix \w+|exercise \d+)\s*[:.-]+\s*)+",
    re.IGNORECASE,
)
_POINTS_ON: Final = re.compile(r"\b(?:below|above|follow(?:s|ing)?|as shown|here|see|refer(?:red)?)\b", re.IGNORECASE)
"""A sentence that leaves the answer to what stands beside it."""
_LEAST_CORE: Final = 4
_ASKING: Final = content_words(
    "happens meant stands serves know hold demanded expected going able comes done go applies reason part next look way"
)
"""Words with which a rule asks, whatever the question is about."""
_TITLE_WORDS: Final = 4
_TELLING: Final = 4
"""Words, beyond those of the document's name, by which a question is told from others on the same document."""


class Dropped(Exception):
    """A section gives no question; the message is the reason under which it is counted."""


@dataclass(frozen=True, eq=False)
class Fact:
    """A question of one section with its evidence."""

    document: Document
    section: Section
    support: str
    made: RuleQuestion
    core: str
    """The question in other words, without context and mark."""
    placed: str
    """The question with its context, in front or, where that breaks a run of the file's words, inside."""
    context: str
    """Where it belongs: "in the A1 Mediator"."""
    also: tuple[str, ...] = ()
    """Paths of other documents that say the same."""

    @property
    def question(self) -> str:
        """As it is asked alone."""
        return capitalised(f"{self.placed}?")

    @property
    def place(self) -> tuple[str, int]:
        """The section: path and line of its heading."""
        return self.document.path, self.section.line


class Casing:
    """Which words are written in lower case inside a sentence, learned from the documents themselves."""

    def __init__(self, paragraphs: Iterable[str]) -> None:
        lower: Counter[str] = Counter()
        upper: Counter[str] = Counter()
        for paragraph in paragraphs:
            for word in re.findall(r"(?<=[a-z,] )[A-Za-z]+\b", paragraph):
                (lower if word.islower() else upper)[word.lower()] += 1
        self._ordinary = {word for word, count in lower.items() if count > upper[word]}

    def inside(self, text: str) -> str:
        """A text as it stands inside a sentence: an ordinary first word loses its capital."""
        first = re.match(r"[A-Z][a-z]*\b(?![-.\w])", text)
        return text[0].lower() + text[1:] if first is not None and first.group().lower() in self._ordinary else text


def capitalised(text: str) -> str:
    """The text with a capital first letter, unless its first word is a name with capitals of its own, such as xApp."""
    first = text.split(maxsplit=1)[0]
    return text if any(letter.isupper() for letter in first[1:]) else text[0].upper() + text[1:]


def facts_of_section(document: Document, section: Section, plain: str, folded: str, casing: Casing) -> list[Fact]:
    """What a section says, one fact for each sentence and term that a rule can ask for.

    Args:
        document: Where it stands.
        section: The section.
        plain: The document's words in lower case, parted by blanks.
        folded: The document's letters and digits.
        casing: Of the documents.

    Raises:
        Dropped: It gives none.
    """
    if _DOCUMENT_FURNITURE.search(document.path) or any(map(_HEADING_FURNITURE.search, section.headings)):
        raise Dropped("release notes, licence or contents")
    candidates = [*_candidates(section), *_heading_candidate(document, section)]
    if not candidates:
        raise Dropped("no prose of 8 to 40 words")
    asked = [(support, made) for support, mades in candidates for made in mades]
    if not asked:
        raise Dropped("no sentence that a rule can ask for")
    asked = [(support, made) for support, made in asked if fold(support) in folded]
    if not asked:
        raise Dropped("words broken by markup in the file")
    told = [
        fact for support, made in asked if (fact := _fact(document, section, support, made, casing, plain)) is not None
    ]
    if not told:
        raise Dropped("too little to tell the section by")
    free = [fact for fact in told if not shares_run(fact.question, plain)]
    if not free:
        raise Dropped("question shares five words with its file")
    first: dict[str, Fact] = {}
    for fact in free:
        first.setdefault(fact.support, fact)
    return list(first.values())


def _candidates(section: Section) -> Iterator[tuple[str, Sequence[RuleQuestion]]]:
    for paragraph in section.paragraphs:
        listed = _LISTED_TERM.match(paragraph)
        if listed is not None:
            yield from _described(paragraph, listed["term"], listed["description"])
            continue
        for sentence in _SENTENCE_END.split(paragraph):
            if _LEAST_WORDS <= len(sentence.split()) <= _MOST_WORDS and not _CODE_LIKE.search(sentence):
                if sentence.isascii() and not sentence.endswith(("?", ":")) and not _POINTS_ON.search(sentence):
                    yield sentence, list(questions_of_sentence(capitalised(_LEAD_IN.sub("", sentence))))
    for term, description in section.terms:
        yield from _described(f"{term}: {description}", term, description)


def _heading_candidate(document: Document, section: Section) -> Iterator[tuple[str, Sequence[RuleQuestion]]]:
    """The heading as the question, where it names something and all that stands under it fits one passage."""
    heading = _named(section.heading)
    subject = content_words(heading) - content_words(document_name(document, section)) - _GENERIC
    length = sum(len(paragraph.split()) for paragraph in section.paragraphs)
    if len(subject) < _HEADING_SUBJECT or length > _SHORT_SECTION or section.terms:
        return
    sentences = [
        sentence
        for sentence, _ in _candidates(section)
        if content_words(sentence) & subject
        and len(sentence.split()) >= _LEAST_WORDS
        and not _LISTED_TERM.match(sentence)
        and not _PRONOUN_FIRST.match(sentence)
    ]
    if sentences:
        telling = max(sentences, key=lambda sentence: len(content_words(sentence) & subject))
        yield telling, [question_of_heading(heading)]


def _described(support: str, term: str, description: str) -> Iterator[tuple[str, Sequence[RuleQuestion]]]:
    if not content_words(term) - _GENERIC:
        return
    if len(support.split()) <= _MOST_WORDS and not _CODE_LIKE.search(support) and support.isascii():
        yield support, list(questions_of_term(term, description))


def _fact(
    document: Document, section: Section, support: str, made: RuleQuestion, casing: Casing, plain: str
) -> Fact | None:
    core = " ".join(reword(_lowered(made, casing)).split())
    if shares_run(core, plain):
        core = without_articles(reorder(core), plain)
    name = document_name(document, section)
    heading = _named(section.heading)
    known = content_words(name)
    telling = content_words(core) - known - _ASKING
    by_heading = bool(heading) and heading == made.about
    added = content_words(heading) - known - telling
    context, least = f"in {name}", _HEADING_SUBJECT if by_heading else _TELLING - 1
    if added and not by_heading and len(telling) < _TELLING:
        context, least = f"for {_titled(heading, casing)} in {name}", _HEADING_SUBJECT
        telling |= added
    if len(telling) < least or len(core.split()) < _LEAST_CORE:
        return None
    return Fact(document, section, support, made, core, _placed(core, context, plain), context)


def _placed(core: str, context: str, plain: str) -> str:
    """The question with its context where the two share no run of words with the file, if there is such a place."""
    places = (f"{core[: link.start()]}, {context}, {core[link.start() + 1 :]}" for link in _LINK.finditer(core))
    for text in (f"{context}, {core}", f"{core}, {context}", *places):
        if not shares_run(text, plain):
            return text
    return f"{context}, {core}"


def _titled(heading: str, casing: Casing) -> str:
    """A heading inside a sentence: one that is written as a title stays so."""
    return heading if any(word[0].isupper() for word in heading.split()[1:]) else casing.inside(heading)


def _lowered(made: RuleQuestion, casing: Casing) -> str:
    """The question with its subject as inside a sentence."""
    for thing in (made.about, made.answers):
        if thing and thing in made.text:
            return made.text.replace(thing, _titled(thing, casing), 1)
    return made.text


def document_name(document: Document, section: Section) -> str:
    """What a document is about, in a few words: its own title where that says it, otherwise its repository."""
    owner, repository = document.repository.split("/")
    return _named(section.headings[0]) or (
        repository if content_words(repository) - _GENERIC else f"{owner} {repository}"
    )


def _named(heading: str) -> str:
    """A heading without its numbering and furniture; empty where nothing is left that names a thing."""
    text = re.sub(r"^[\d.)\s]+|[\s:.,#*]+$", "", re.sub(r"\s*\([^()]*\)|[`*_]{2,}|`", "", heading)).strip()
    text = re.sub(r"^(?:for|in|on|the|an?) ", "", _LABEL.sub("", text), flags=re.IGNORECASE)
    if not text.isascii() or not 1 <= len(words(text)) <= _TITLE_WORDS or _CODE_LIKE.search(text):
        return ""
    return text if content_words(text) - _GENERIC else ""
