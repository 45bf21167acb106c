"""The extractive answer: the statements of the evidence that answer the question, each with its citation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from services.lexicon.glossary import Glossary
from services.lexicon.thesaurus import Thesaurus
from services.synthesizer.confidence import answer_confidence
from services.synthesizer.engine import Answer, Citation, EvidencePassage, Focus, SynthesisRequest
from services.synthesizer.ranking import Ranker, Target
from services.synthesizer.statement import Statement, StatementKind, read_statements

__all__ = [
    "NOT_FOUND",
    "ExtractiveRules",
    "answer_extractively",
    "count_tokens",
    "not_found",
    "read_evidence",
    "repaired",
]

NOT_FOUND: Final = "Not found in these documents."
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
    return _write(request, foci, statements, picks, open_ids)


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
            pick = self._best(number, chosen, leader=0.0)
            if pick is not None:
                chosen.append(pick)
        most = self._rules.sentences_one_focus if len(self._foci) == 1 else self._rules.sentences
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
            if index in taken or (terms and len(terms & said) / len(terms) > self._rules.repetition):
                continue
            if scores[index] >= self._rules.sure_share * leader or (terms & asked) - said:
                return _Pick(number, index, scores[index])
        return None


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
    open_ids: tuple[str, ...],
) -> Answer:
    """Statements in reading order within each focus, with numbers, up to the token limit."""
    deltas: list[str] = []
    citations: list[Citation] = []
    used = 0
    kept = _within_limit(statements, picks, request.max_tokens)
    for index in _reading_order(statements, kept):
        statement = statements[index]
        passage = request.evidence[statement.passage]
        shown, quote = repaired(statements, index, {pick.index for pick in kept})
        number = len(citations) + 1
        delta = f"{' ' if deltas else ''}{shown} [{number}]"
        if deltas and used + count_tokens(delta) > request.max_tokens:
            break
        used += count_tokens(delta)
        deltas.append(delta)
        citations.append(Citation(number, passage.id, passage.source, passage.section, quote))
    names = "; ".join(f'"{focus.text}"' for focus in foci if focus.id in open_ids)
    if names and used + count_tokens(names) + 2 <= request.max_tokens:
        deltas.append(f" Not found in these documents: {names}.")
    return Answer(tuple(deltas), tuple(citations), open_focus_ids=open_ids)


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


def _reading_order(statements: Sequence[Statement], picks: Sequence[_Pick]) -> list[int]:
    """Focus by focus: its best statement, then the others passage by passage as they stand there."""
    first: dict[tuple[int, int], int] = {}
    leaders: dict[int, int] = {}
    for order, pick in enumerate(picks):
        first.setdefault((pick.focus, statements[pick.index].passage), order)
        leaders.setdefault(pick.focus, pick.index)
    ordered = sorted(
        picks,
        key=lambda pick: (
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
