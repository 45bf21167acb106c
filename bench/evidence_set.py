"""Evidence sets: questions made by rule from sections of documents, with the words that answer them.

No model takes part. A set is split by repository into train and test, so that nothing that is fitted on the one has
seen the other; a third of each split's questions need two sections of different files.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from argo.errors import InvalidArgumentError
from bench.duplicate import find_duplicates
from bench.evidence import match
from bench.evidence_join import join_facts
from bench.fact import Casing, Dropped, Fact, facts_of_section
from bench.question import Evidence, Question, fold
from bench.section import Document, read_documents
from bench.wording import shares_run, words

__all__ = ["SPLITS", "EvidenceSet", "make_evidence_set", "write_questions"]

ONE: Final = "one-section"
TWO: Final = "two-section"
SPLITS: Final = ("train", "test")
_TWO_OF: Final = 3
"""One question of so many needs two sections."""
_MOST_OF_A_SECTION: Final = 12
"""Questions of one section; none has nearly as many where documents are enough, since sections take turns."""
_MOST_DUPLICATES: Final = 5
"""What stands in more files than so many besides its own is boilerplate."""


@dataclass(frozen=True)
class EvidenceSet:
    """What was made of a folder of documents."""

    questions: dict[str, tuple[Question, ...]]
    """By split."""
    repositories: dict[str, tuple[str, ...]]
    """By split; no repository is in two."""
    documents: int
    sections: Counter[str]
    """Of all sections seen: each under "used", or under the reason why no question was made of it."""


@dataclass(frozen=True)
class _Passage:
    """A whole document, as the evidence check reads a passage."""

    text: str
    source: str


def make_evidence_set(docs: Path, *, train: int, test: int, seed: int) -> EvidenceSet:
    """Make questions with evidence from a folder of documents.

    Args:
        docs: Folder of `<owner>/<repository>/...`.
        train: Questions of the train split.
        test: Questions of the test split.
        seed: Of every draw; the same folder, sizes and seed give the same set.

    Raises:
        InvalidArgumentError: The documents do not yield so many questions; the message says how many there are.
    """
    rng = np.random.default_rng(seed)
    documents = list(read_documents(docs))
    plain = {document.path: " ".join(words(document.text)) for document in documents}
    facts, fate = _facts(documents, plain)
    facts = _unambiguous(_with_duplicates(facts, plain, fate), fate)
    wanted = dict(zip(SPLITS, (train, test), strict=True))
    split_of = _split(facts, wanted, rng)
    facts = _not_drawn([fact for fact in facts if _keeps_to_its_split(fact, split_of, fate)], fate)
    questions = {}
    for split in SPLITS:
        own = _drawn([fact for fact in facts if split_of[fact.document.repository] == split], rng)
        questions[split] = tuple(_questions(own, wanted[split], split, plain, fate))
    return EvidenceSet(
        questions=questions,
        repositories={
            split: tuple(sorted(repository for repository, own in split_of.items() if own == split)) for split in SPLITS
        },
        documents=len(documents),
        sections=Counter(fate.values()),
    )


_Fate = dict[tuple[str, int], str]
"""What became of each section: the furthest that it came."""


def _facts(documents: Sequence[Document], plain: dict[str, str]) -> tuple[list[Fact], _Fate]:
    casing = Casing(
        paragraph for document in documents for section in document.sections for paragraph in section.paragraphs
    )
    facts: list[Fact] = []
    fate: _Fate = {}
    for document in documents:
        folded = fold(document.text)
        for section in document.sections:
            try:
                facts += facts_of_section(document, section, plain[document.path], folded, casing)
                fate[document.path, section.line] = "not drawn"
            except Dropped as dropped:
                fate[document.path, section.line] = str(dropped)
    return facts, fate


def _with_duplicates(facts: list[Fact], plain: dict[str, str], fate: _Fate) -> list[Fact]:
    """The facts with the other documents that say the same, without boilerplate."""
    also = find_duplicates([(fact.document.path, fact.support) for fact in facts], plain)
    kept = []
    for fact, paths in zip(facts, also, strict=True):
        if len(paths) > _MOST_DUPLICATES:
            fate[fact.place] = f"stands in more than {_MOST_DUPLICATES} other files"
        elif any(shares_run(fact.question, plain[path]) for path in paths):
            fate[fact.place] = "question shares five words with another file that says the same"
        else:
            kept.append(replace(fact, also=paths))
    return _not_drawn(kept, fate)


def _unambiguous(facts: list[Fact], fate: _Fate) -> list[Fact]:
    """One fact of each question, and none where another one answers it otherwise."""
    asked: dict[str, dict[str, Fact]] = defaultdict(dict)
    for fact in facts:
        asked[fold(fact.question)].setdefault(fold(fact.support), fact)
    kept = []
    for fact in facts:
        same = asked[fold(fact.question)]
        if len(same) > 1:
            fate[fact.place] = "question that another section answers otherwise"
        elif fact in same.values():
            kept.append(fact)
        else:
            fate[fact.place] = "question that another section answers as well"
    return _not_drawn(kept, fate)


def _not_drawn(facts: list[Fact], fate: _Fate) -> list[Fact]:
    """The facts; their sections are still in play, whatever became of another fact of theirs."""
    fate.update({fact.place: "not drawn" for fact in facts})
    return facts


def _split(facts: Iterable[Fact], wanted: dict[str, int], rng: np.random.Generator) -> dict[str, str]:
    """Repositories to splits: in random order, the large ones first, each to the split that lacks most."""
    size = Counter(fact.document.repository for fact in facts)
    names = sorted(size)
    order = [names[index] for index in rng.permutation(len(names))]
    order.sort(key=lambda name: -size[name].bit_length())
    filled = dict.fromkeys(wanted, 0)
    split_of = {}
    for name in order:
        split = min(wanted, key=lambda own: filled[own] / max(1, wanted[own]))
        split_of[name] = split
        filled[split] += size[name]
    return split_of


def _keeps_to_its_split(fact: Fact, split_of: dict[str, str], fate: _Fate) -> bool:
    """Whether no other split says the same."""
    own = split_of[fact.document.repository]
    others = {"/".join(path.split("/")[:2]) for path in fact.also}
    if all(split_of.get(repository, own) == own for repository in others):
        return True
    fate[fact.place] = "said in the other split as well"
    return False


def _drawn(facts: Sequence[Fact], rng: np.random.Generator) -> list[Fact]:
    """At most so many facts of each section, in an order in which repositories, files and sections take turns."""
    order = [facts[index] for index in rng.permutation(len(facts))]
    for key in (_place, _path, _repository):
        seen: Counter[Hashable] = Counter()
        turns = []
        for fact in order:
            seen[key(fact)] += 1
            turns.append(seen[key(fact)])
        if key is _place:
            pairs = [(turn, fact) for turn, fact in zip(turns, order, strict=True) if turn <= _MOST_OF_A_SECTION]
            turns, order = [turn for turn, _ in pairs], [fact for _, fact in pairs]
        # The sort is stable, so that each turn keeps the order of the one before.
        order = [order[index] for index in np.argsort(turns, kind="stable")]
    return order


def _place(fact: Fact) -> Hashable:
    return fact.place


def _path(fact: Fact) -> Hashable:
    return fact.document.path


def _repository(fact: Fact) -> Hashable:
    return fact.document.repository


def _questions(facts: Sequence[Fact], count: int, split: str, plain: dict[str, str], fate: _Fate) -> Iterable[Question]:
    """The split's questions: those of two sections first, since they need likely pairs; then those of one."""
    two = -(-count // _TWO_OF)
    joined = [
        pair
        for pair in join_facts(facts, 2 * two)
        if not any(
            shares_run(pair.question, plain[path])
            for fact in (pair.first, pair.second)
            for path in (fact.document.path, *fact.also)
        )
    ][:two]
    taken = [fact for pair in joined for fact in (pair.first, pair.second)]
    alone = [fact for fact in facts if fact not in taken][: count - two]
    if len(joined) < two or len(alone) < count - two:
        raise InvalidArgumentError(
            f"{split} must be at most what the documents yield: {len(alone)} questions of one section and "
            f"{len(joined)} of two, got {count}"
        )
    fate.update({fact.place: "used" for fact in (*taken, *alone)})
    for number, fact in enumerate(alone, start=1):
        yield _question(f"{split}-one-{number:04}", fact.question, ONE, (fact,), plain)
    for number, pair in enumerate(joined, start=1):
        yield _question(f"{split}-two-{number:04}", pair.question, TWO, (pair.first, pair.second), plain)


def _question(name: str, text: str, difficulty: str, facts: tuple[Fact, ...], plain: dict[str, str]) -> Question:
    question = Question(
        id=name,
        question=text,
        difficulty=difficulty,
        answer=" ".join(fact.support for fact in facts),
        path=facts[0].document.path,
        section=facts[0].section.heading,
        evidence=tuple(
            Evidence(
                path=fact.document.path,
                section=fact.section.heading,
                section_line=fact.section.line,
                support=fact.support,
            )
            for fact in facts
        ),
        alt_paths=tuple(sorted({path for fact in facts for path in fact.also})),
    )
    sources = [_Passage(fact.document.text, fact.document.path) for fact in facts]
    if not match(question, sources).complete or any(
        shares_run(text, plain[path]) for path in (*(source.source for source in sources), *question.alt_paths)
    ):
        raise AssertionError(f"question {name} breaks the rules of the set")
    return question


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """Write a question file."""
    lines = [json.dumps(question.model_dump(), ensure_ascii=False) for question in questions]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
