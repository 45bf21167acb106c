"""Which passages go into a prompt, cut to a token budget, and in which order.

Chosen by rank, laid out by document and passage. A prefix cache saves what two prompts have in common from their start,
so the order must not hang on the question or on scores: the same passages then stand alike for every question, for all
permutations of a choice, and for a short answer and its refinement. The notes of one question see its passages as its
steps found them, each step's behind the earlier ones', so that every prompt begins with the one before.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from services.lexicon.sentence import split_sentences
from services.synthesizer.citation import RankerOf
from services.synthesizer.engine import EvidencePassage
from services.synthesizer.extractive import read_evidence

__all__ = ["compress_evidence", "fit_evidence", "fit_texts"]

_HEAD_TOKENS: Final = 6
"""Of a passage's number and the line ends around it."""
_KEPT_SHARE: Final = 0.25
"""Least score of a sentence that a compressed prompt keeps, relative to the best."""

TokenCount = Callable[[str], int]


def fit_evidence(
    evidence: Sequence[EvidencePassage], most_tokens: int, count_tokens: TokenCount
) -> list[EvidencePassage]:
    """The first passages by rank that fit, the last one cut at the end of a sentence, in a stable order.

    Args:
        evidence: In rank order.
        most_tokens: Of all passages together, with their titles.
        count_tokens: By the model's own tokenizer.
    """
    return sorted(_fitting(evidence, most_tokens, count_tokens), key=_place)


def fit_texts(texts: Sequence[str], most_tokens: int, count_tokens: TokenCount) -> list[str]:
    """Texts that fit, the earliest first, as they came."""
    passages = [EvidencePassage("", text) for text in texts]
    return [passage.text for passage in _fitting(passages, most_tokens, count_tokens)]


def compress_evidence(
    evidence: Sequence[EvidencePassage],
    asked: Sequence[str],
    most_tokens: int,
    count_tokens: TokenCount,
    ranker_of: RankerOf,
) -> list[EvidencePassage]:
    """Of each passage the sentences nearest to what is asked, in reading order, within a budget of all together.

    Args:
        evidence: In rank order.
        asked: The question and its foci.
        most_tokens: Of all sentences together, with the titles of their passages.
        count_tokens: By the model's own tokenizer.
        ranker_of: The extractive answer's ranker, over all sentences of the evidence.
    """
    statements = read_evidence(evidence)
    ranker = ranker_of(statements)
    targets = [ranker.target(text) for text in asked]
    most_relevant = max((passage.best_relevance for passage in evidence), default=0.0) or 1.0
    scores = [
        max(
            ranker.score(target, index, evidence[statement.passage].best_relevance / most_relevant)
            for target in targets
        )
        for index, statement in enumerate(statements)
    ]
    least = _KEPT_SHARE * max(scores, default=0.0)
    kept: defaultdict[int, list[int]] = defaultdict(list)
    left = most_tokens
    for index in sorted(range(len(scores)), key=lambda place: (-scores[place], place)):
        if scores[index] <= 0.0 or scores[index] < least:
            break
        passage = statements[index].passage
        head = 0 if passage in kept else _HEAD_TOKENS + count_tokens(_title(evidence[passage]))
        tokens = count_tokens(statements[index].text) + 1 + head
        if tokens <= left:
            kept[passage].append(index)
            left -= tokens
    return sorted(
        (
            dataclasses.replace(evidence[passage], text="\n".join(statements[index].text for index in sorted(indexes)))
            for passage, indexes in kept.items()
        ),
        key=_place,
    )


def _fitting(evidence: Sequence[EvidencePassage], most_tokens: int, count_tokens: TokenCount) -> list[EvidencePassage]:
    kept: list[EvidencePassage] = []
    left = most_tokens
    for passage in evidence:
        left -= _HEAD_TOKENS + count_tokens(_title(passage))
        tokens = count_tokens(passage.text)
        if tokens <= left:
            kept.append(passage)
            left -= tokens
            continue
        if text := _cut(passage.text, left, count_tokens):
            kept.append(dataclasses.replace(passage, text=text))
        break
    return kept


def _place(passage: EvidencePassage) -> tuple[str, str, str]:
    return passage.source, passage.section, passage.id


def _title(passage: EvidencePassage) -> str:
    return f"{passage.source} {passage.section}"


def _cut(text: str, most_tokens: int, count_tokens: TokenCount) -> str:
    kept: list[str] = []
    left = most_tokens
    for sentence in split_sentences(text):
        # The blank before it may be a token of its own.
        left -= count_tokens(sentence) + 1
        if left < 0:
            break
        kept.append(sentence)
    return " ".join(kept)
