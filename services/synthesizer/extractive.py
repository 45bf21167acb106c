"""The extractive answer: the statements of the evidence that answer the question, each with its citation."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from services.lexicon.glossary import Glossary
from services.lexicon.thesaurus import Thesaurus
from services.synthesizer.confidence import answer_confidence
from services.synthesizer.engine import Answer, Citation, EvidencePassage, Focus, SynthesisRequest
from services.synthesizer.form import announces, has_measure, names_kind
from services.synthesizer.ranking import Ranker, Target, labels_of
from services.synthesizer.statement import Statement, StatementKind, read_statements

__all__ = [
    "NOT_FOUND",
    "OMITTED",
    "ExtractiveRules",
    "answer_extractively",
    "cite",
    "count_tokens",
    "not_found",
    "read_evidence",
    "repaired",
]

NOT_FOUND: Final = "Not found in these documents."
OMITTED: Final = " \N{HORIZONTAL ELLIPSIS} "
"""Between parts of a quotation that do not follow each other in their passage."""
_TOKENS_PER_WORD: Final = 1.3
_RANK_DISCOUNT: Final = 0.02
_LEANING: Final = re.compile(
    r"^(?:it|its|this|that|they|their|these|those|such|he|she|then|here|there|also|however|therefore|thus|hence|otherwise|"
    r"in\s+(?:this|that|such|these)|for\s+this|in\s+addition|as\s+such|both|similarly|likewise|the\s+(?:same|latter|former|above))\b",
    re.IGNORECASE,
)
# Without the sentence before it such a word joins nothing.
_CONNECTIVE: Final = re.compile(
    r"^(?:however|therefore|thus|hence|also|in\s+addition|additionally|moreover|furthermore|consequently|otherwise|note\s+that)"
    r"\b,?\s+(?=\S)",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(r"[.!?][\"')\]]*$")
_LONGEST_LEADING: Final = 45


class ExtractiveRules(BaseModel):
    """How an extractive answer is made."""

    model_config = ConfigDict(frozen=True)

    abstain_confidence: float = Field(default=0.04, ge=0, le=1)
    """Less sure than this that the documents answer: they do not."""
    abstain_coverage: float = Field(default=0.12, ge=0, le=1)
    """No statement with this share of the question's terms, by weight: the same."""
    open_coverage: float = Field(default=0.1, ge=0, le=1)
    """The same for one focus of several: it is named as left open ..."""
    open_relevance: float = Field(default=0.02, ge=0, le=1)
    """... as it is where no passage is this relevant to it."""
    sentences: int = Field(default=5, ge=1, le=12)
    """Most statements of an answer."""
    sentences_one_focus: int = Field(default=3, ge=1, le=12)
    """Most statements for a question of one focus."""
    keep_share: float = Field(default=0.6, ge=0, le=1)
    """A further statement must score this share of the best of its focus ..."""
    sure_share: float = Field(default=0.85, ge=0, le=1)
    """... and this share where it adds none of the words asked for."""
    apart_share: float = Field(default=0.4, ge=0, le=1)
    """Least share of the best score of its focus for a sentence that speaks of one side of a comparison alone."""
    enough_coverage: float = Field(default=0.6, ge=0, le=1)
    """A statement that names the kind of thing asked for, with this share of the question's terms, needs no other."""
    echo_share: float = Field(default=0.5, ge=0, le=1)
    """A sentence in which less than this share of the terms is new says little; what follows it is needed."""
    continued: int = Field(default=3, ge=0, le=8)
    """Most sentences that follow one which announces them."""
    repetition: float = Field(default=0.55, ge=0, le=1)
    """Share of a statement's terms that the answer may already hold."""


@dataclass(frozen=True, slots=True)
class _Pick:
    """A statement chosen for a focus."""

    focus: int
    index: int
    score: float


def count_tokens(text: str) -> int:
    """Tokens of a text, estimated at 1.3 a word, since no tokeniser runs here."""
    return round(len(text.split()) * _TOKENS_PER_WORD)


def answer_extractively(
    request: SynthesisRequest, rules: ExtractiveRules, glossary: Glossary, thesaurus: Thesaurus
) -> Answer:
    """Write a free answer from sentences of the evidence.

    Args:
        request: Question, foci and evidence in rank order.
        rules: Bounds and thresholds.
        glossary: Short and full forms.
        thesaurus: Words that documents use for one thing.

    Returns:
        One delta for each statement. The same request gives the same bytes.
    """
    foci = tuple(request.foci) or (Focus("", request.question),)
    statements = read_evidence(request.evidence)
    sure = answer_confidence(request.question, request.evidence, statements)
    ranker = Ranker(statements, glossary, thesaurus)
    question = ranker.target(request.question)
    covered = max((ranker.coverage(question, index) for index in range(len(statements))), default=0.0)
    if sure < rules.abstain_confidence or covered < rules.abstain_coverage:
        return not_found(request)
    selection = _Selection(request, foci, statements, ranker, rules)
    picks = selection.picks()
    if not picks:
        return not_found(request)
    open_ids = selection.open_focus_ids()
    joint = {pick.index for pick in picks if selection.is_joint(pick.index)}
    return _write(request, foci, statements, picks, joint, open_ids)


def read_evidence(evidence: Sequence[EvidencePassage]) -> list[Statement]:
    """What the passages say, in rank order; where two overlap, a sentence counts once."""
    seen: set[str] = set()
    statements: list[Statement] = []
    for place, passage in enumerate(evidence):
        for statement in read_statements(place, passage.text, passage.section):
            if statement.text not in seen:
                seen.add(statement.text)
                statements.append(statement)
    return statements


class _Selection:
    """Chooses statements: the best for each focus first, then others that add something."""

    def __init__(
        self,
        request: SynthesisRequest,
        foci: Sequence[Focus],
        statements: Sequence[Statement],
        ranker: Ranker,
        rules: ExtractiveRules,
    ) -> None:
        self._statements = statements
        self._ranker = ranker
        self._rules = rules
        self._foci = foci
        self._priors = {"": _priors(request.evidence, None)} | {
            focus.id: _priors(request.evidence, focus.id) for focus in foci
        }
        self._relevance = [
            max((passage.focus_relevance.get(focus.id, passage.relevance) for passage in request.evidence), default=0.0)
            for focus in foci
        ]
        question = ranker.target(request.question)
        targets = [question if len(foci) == 1 else ranker.target(focus.text) for focus in foci]
        self._scores = [
            [
                self._score(ranker, target, question, index, focus, alone=len(foci) == 1)
                for index in range(len(statements))
            ]
            for focus, target in zip(foci, targets, strict=True)
        ]
        self._targets = targets
        self._compares = len(foci) > 1 and all(target.form.bare for target in targets)
        self._ranked = [sorted(range(len(row)), key=lambda place: (-row[place], place)) for row in self._scores]
        self._coverage = [
            max((ranker.coverage(target, index) for index in range(len(statements))), default=0.0) for target in targets
        ]

    def _score(
        self,
        ranker: Ranker,
        target: Target,
        question: Target,
        index: int,
        focus: Focus,
        *,
        alone: bool,
    ) -> float:
        """Score of a statement for a focus, with some of its score for the whole question."""
        place = self._statements[index].passage
        own = ranker.score(target, index, self._priors[focus.id][place])
        return own if alone else 0.8 * own + 0.2 * ranker.score(question, index, self._priors[""][place])

    def open_focus_ids(self) -> tuple[str, ...]:
        """Foci of several that no statement speaks to."""
        return tuple(
            focus.id
            for focus, covered, relevance in zip(self._foci, self._coverage, self._relevance, strict=True)
            if len(self._foci) > 1 and (covered < self._rules.open_coverage or relevance < self._rules.open_relevance)
        )

    def picks(self) -> list[_Pick]:
        """Statements in the order of choice."""
        chosen: list[_Pick] = []
        left = set(self.open_focus_ids())
        for number, focus in enumerate(self._foci):
            if focus.id in left:
                continue
            pick = self._joint_lead(chosen) or self._best(number, chosen, leader=0.0)
            if pick is not None:
                chosen.append(pick)
        chosen.extend(self._apart(chosen))
        chosen.extend(self._continued(chosen))
        most = min(self._rules.sentences, len(self._foci) + 1)
        if len(self._foci) == 1:
            most = 1 if chosen and self._is_enough(chosen[0].index) else self._rules.sentences_one_focus
        leaders = {pick.focus: pick.score for pick in chosen}
        while len(chosen) < most:
            further = [
                pick
                for number, score in leaders.items()
                if (pick := self._best(number, chosen, leader=score)) is not None
            ]
            if not further:
                break
            # Relative to the focus's best, so that an easy focus does not crowd out a hard one.
            chosen.append(max(further, key=lambda pick: (pick.score / leaders[pick.focus], -pick.focus)))
        return chosen

    def _is_enough(self, index: int) -> bool:
        """Whether a statement names the very thing that is asked for, and has most of what is asked about it."""
        form, text = self._targets[0].form, self._statements[index].text
        named = names_kind(form, text) or (form.quantity and form.measure and has_measure(text))
        return named and self._ranker.coverage(self._targets[0], index) >= self._rules.enough_coverage

    def is_joint(self, index: int) -> bool:
        """Whether a statement speaks of all sides of a comparison."""
        statement = self._statements[index]
        said = statement.terms | labels_of(statement.text)
        return self._compares and all(self._own(number) <= said for number in range(len(self._foci)))

    def _joint_lead(self, chosen: Sequence[_Pick]) -> _Pick | None:
        """A comparison opens with what speaks of all its sides, where that is about as good as the best on one side."""
        if chosen or not self._compares:
            return None
        least = self._rules.sure_share * self._leading(0)
        best = next((index for index in self._ranked[0] if self.is_joint(index)), None)
        return _Pick(0, best, self._scores[0][best]) if best is not None and self._scores[0][best] >= least else None

    def _apart(self, chosen: Sequence[_Pick]) -> list[_Pick]:
        """For each side of a comparison that has no sentence of its own yet, the best one that speaks of it alone."""
        picks: list[_Pick] = []
        for number in range(len(self._foci)) if self._compares else ():
            own = self._own(number)
            alone = [index for index in self._ranked[number] if self._is_apart(number, index)]
            taken = {pick.index for pick in (*chosen, *picks)}
            if not own or not any(pick.focus == number for pick in chosen) or taken & set(alone):
                continue
            best = alone[0] if alone else None
            if best is not None and self._scores[number][best] >= self._rules.apart_share * self._leading(number):
                picks.append(_Pick(number, best, self._scores[number][best]))
        return picks

    def _leading(self, number: int) -> float:
        """The best score for a focus."""
        return self._scores[number][self._ranked[number][0]]

    def _own(self, number: int) -> frozenset[Hashable]:
        """What a focus names and no other does: terms, and members of a series."""
        others = {mark for other, target in enumerate(self._targets) if other != number for mark in _marks(target)}
        return _marks(self._targets[number]) - others

    def _is_apart(self, number: int, index: int) -> bool:
        """Whether a statement has all that only this focus names, and nothing that only another one names."""
        statement = self._statements[index]
        said = statement.terms | labels_of(statement.text)
        return self._own(number) <= said and not any(
            self._own(other) & said for other in range(len(self._foci)) if other != number
        )

    def _continued(self, chosen: Sequence[_Pick]) -> list[_Pick]:
        """What follows a first sentence that only announces it: the steps, the members, the course of events."""
        if len(self._foci) != 1 or not chosen or not self._targets[0].form.procedure:
            return []
        lead = self._statements[chosen[0].index]
        new = lead.terms - self._targets[0].weights.keys()
        if not (announces(lead.text) or len(new) < self._rules.echo_share * len(lead.terms)):
            return []
        after = range(chosen[0].index + 1, min(len(self._statements), chosen[0].index + 1 + self._rules.continued))
        score = chosen[0].score
        return [
            _Pick(0, index, score)
            for index in after
            if self._statements[index].passage == lead.passage
            and self._statements[index].kind is not StatementKind.CODE
        ]

    def _best(self, number: int, chosen: Sequence[_Pick], leader: float) -> _Pick | None:
        """The best statement for a focus that says something new and is worth its place beside the focus's leader."""
        scores = self._scores[number]
        asked = self._targets[number].weights.keys()
        said: set[str] = set()
        taken = {pick.index for pick in chosen}
        for pick in chosen:
            said |= self._statements[pick.index].terms
        for index in self._ranked[number]:
            if scores[index] <= 0.0 or scores[index] < self._rules.keep_share * leader:
                return None
            terms = self._statements[index].terms
            if leader and not self._ranker.is_about(self._targets[number], index):
                continue
            if index in taken or (terms and len(terms & said) / len(terms) > self._rules.repetition):
                continue
            if scores[index] >= self._rules.sure_share * leader or (terms & asked) - said:
                return _Pick(number, index, scores[index])
        return None


def _marks(target: Target) -> frozenset[Hashable]:
    """Terms and members of a series that a text names."""
    return frozenset(target.weights) | target.labels


def _priors(evidence: Sequence[EvidencePassage], focus_id: str | None) -> list[float]:
    """Relevance of each passage to a focus, or to the question, relative to the best, less a little for its rank."""
    relevance = [
        passage.best_relevance if focus_id is None else passage.focus_relevance.get(focus_id, passage.relevance)
        for passage in evidence
    ]
    best = max(relevance, default=0.0) or 1.0
    return [value / best / (1.0 + _RANK_DISCOUNT * rank) for rank, value in enumerate(relevance)]


def not_found(request: SynthesisRequest) -> Answer:
    """The honest answer where the documents have none, with the nearest sections."""
    sections = list(dict.fromkeys(_section_name(passage) for passage in request.evidence[:3]))
    nearest = "; ".join(section for section in sections if section)
    deltas = (NOT_FOUND, f" Nearest sections: {nearest}.") if nearest else (NOT_FOUND,)
    return Answer(deltas, abstained=True, open_focus_ids=tuple(focus.id for focus in request.foci if focus.id))


def _section_name(passage: EvidencePassage) -> str:
    """The innermost heading and the document of a passage."""
    heading = passage.section.rsplit(" > ", 1)[-1].strip()
    return f"{heading} ({passage.source})" if heading and passage.source else heading or passage.source


def _write(
    request: SynthesisRequest,
    foci: Sequence[Focus],
    statements: Sequence[Statement],
    picks: Sequence[_Pick],
    joint: Set[int],
    open_ids: tuple[str, ...],
) -> Answer:
    """Statements in reading order within each focus, with numbers, up to the token limit."""
    deltas: list[str] = []
    citations: list[Citation] = []
    numbers: dict[str, int] = {}
    used = 0
    kept = _within_limit(statements, picks, request.max_tokens)
    for index in _reading_order(statements, kept, joint):
        statement = statements[index]
        passage = request.evidence[statement.passage]
        shown, quote = repaired(statements, index, {pick.index for pick in kept})
        number = numbers.get(passage.id, len(numbers) + 1)
        delta = f"{' ' if deltas else ''}{shown} [{number}]"
        if deltas and used + count_tokens(delta) > request.max_tokens:
            break
        used += count_tokens(delta)
        deltas.append(delta)
        cite(citations, number, passage, quote)
        numbers[passage.id] = number
    names = "; ".join(f'"{focus.text}"' for focus in foci if focus.id in open_ids)
    if names and used + count_tokens(names) + 2 <= request.max_tokens:
        deltas.append(f" Not found in these documents: {names}.")
    return Answer(tuple(deltas), tuple(citations), open_focus_ids=open_ids)


def cite(citations: list[Citation], number: int, passage: EvidencePassage, quote: str) -> None:
    """Add a citation; a passage that is cited already keeps its number, and its quotation grows."""
    if number > len(citations):
        citations.append(Citation(number, passage.id, passage.source, passage.section, quote))
        return
    before = citations[number - 1].quote
    for gap in (" ", "\n"):
        if f"{before}{gap}{quote}" in passage.text:
            joined = f"{before}{gap}{quote}"
            break
    else:
        joined = before if quote in before else f"{before}{OMITTED}{quote}"
    citations[number - 1] = replace(citations[number - 1], quote=joined)


def _within_limit(statements: Sequence[Statement], picks: Sequence[_Pick], most: int) -> list[_Pick]:
    """Picks in the order of choice that fit the limit; the first always stays."""
    kept: list[_Pick] = []
    used = 0
    for pick in picks:
        tokens = count_tokens(statements[pick.index].text) + 1
        if kept and used + tokens > most:
            continue
        kept.append(pick)
        used += tokens
    return kept


def _reading_order(statements: Sequence[Statement], picks: Sequence[_Pick], joint: Set[int]) -> list[int]:
    """What speaks of all sides of a comparison; then focus by focus its best statement and the others as they stand."""
    first: dict[tuple[int, int], int] = {}
    leaders: dict[int, int] = {}
    for order, pick in enumerate(picks):
        first.setdefault((pick.focus, statements[pick.index].passage), order)
        leaders.setdefault(pick.focus, pick.index)
    ordered = sorted(
        picks,
        key=lambda pick: (
            pick.index not in joint,
            pick.focus,
            leaders[pick.focus] != pick.index,
            first[pick.focus, statements[pick.index].passage],
            statements[pick.index].place,
        ),
    )
    return [pick.index for pick in ordered]


def repaired(statements: Sequence[Statement], index: int, chosen: set[int]) -> tuple[str, str]:
    """A statement as it is shown, and the words it quotes: one that leans on the sentence before is led in by it."""
    statement = statements[index]
    shown, quote = statement.text, statement.quote
    before = statements[index - 1] if index else None
    if (
        _LEANING.match(shown)
        and before is not None
        and index - 1 not in chosen
        and before.passage == statement.passage
        and before.kind is StatementKind.PROSE is statement.kind
        and len(before.text.split()) <= _LONGEST_LEADING
    ):
        shown, quote = f"{before.text} {shown}", f"{before.quote} {quote}"
    elif opening := _CONNECTIVE.match(shown):
        rest = shown[opening.end() :]
        shown = f"{rest[0].upper()}{rest[1:]}" if rest.split()[0].islower() else rest
    if statement.kind is StatementKind.CODE:
        return f"`{shown}`", quote
    return shown if _SENTENCE_END.search(shown) else f"{shown.rstrip(' ,;:')}.", quote
