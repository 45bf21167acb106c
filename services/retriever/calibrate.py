"""`python -m services.retriever.calibrate`: fit the relevance of one embedder anew.

Example, on one line:
    python -m services.retriever.calibrate --embedder hashing --entry hashing
    --docs examples/oran --questions examples/questions.jsonl --unanswerable examples/unanswerable.jsonl
    --docs /data/docs --questions /data/dev.jsonl --unanswerable services/retriever/calibration/negatives.jsonl

Each ``--docs`` with the ``--questions`` and ``--unanswerable`` at the same place makes one collection; a file of
unanswerable questions may be several, parted by commas. A pair of question and passage is positive where the passage
holds the question's evidence. Negative are the other passages found, all passages for the unanswerable questions, and
what is found for each question once its evidence is out of the collection. In each collection, searches with and
without an answer weigh the same in sum, so that the probabilities are those of questions of which half have one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.retriever.embedder import Embedder, resolve_embedder
from services.retriever.logistic import brier_score, cross_validate, fit_logistic
from services.retriever.memory import MemoryStore
from services.retriever.passage import Passage
from services.retriever.reader import detect_media_type
from services.retriever.relevance import FEATURES, features
from services.retriever.retriever import IncomingDocument, Retriever

__all__ = ["Pairs", "collect", "main"]

_DEPTH: Final = 10
_FOLDS: Final = 10
_RIDGE: Final = 1.0
_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]+")
_COVERED: Final = 0.6
"""Share of the evidence's words that a passage of an alternative file must hold."""


@dataclass(frozen=True)
class Pairs:
    """Questions with passages found for them."""

    rows: NDArray[np.float64]
    """Features, (pairs, features)."""
    labels: NDArray[np.float64]
    """1 where the passage holds evidence."""
    weights: NDArray[np.float64]
    """Each search with an answer counts alike, and so does each without; the two kinds weigh the same in sum."""
    groups: NDArray[np.int64]
    """Number of the question; the search without its evidence has the same number, and so has the same question put to
    another collection."""
    answerable: NDArray[np.bool_]
    """Whether the pair's search could find evidence."""
    searches: NDArray[np.int64]
    """Number of the search."""


def collect(
    retriever: Retriever, questions: Sequence[dict[str, Any]], unanswerable: Sequence[str], numbers: dict[str, int]
) -> Pairs:
    """Search every question and describe what was found.

    Args:
        retriever: With its collection.
        questions: Records with question, evidence and alt_paths.
        unanswerable: Questions that the collection does not answer.
        numbers: Number of each question met so far; new ones are added.
    """
    found: list[tuple[NDArray[np.float64], list[bool], int, bool]] = []
    for record in questions:
        text = str(record["question"])
        number = numbers.setdefault(text, len(numbers))
        ranked = [hit.passage for hit in retriever.search([text], top_k=_DEPTH)[0]]
        found.append((_describe(retriever, text, ranked), [_holds(p, record) for p in ranked], number, True))
        # The same question over a collection without its answer: the hardest of the unanswerable kind.
        others = [hit.passage for hit in retriever.search([text], top_k=5 * _DEPTH)[0]]
        others = [passage for passage in others if not _holds(passage, record)][:_DEPTH]
        found.append((_describe(retriever, text, others), [False] * len(others), number, False))
    for text in unanswerable:
        number = numbers.setdefault(text, len(numbers))
        ranked = [hit.passage for hit in retriever.search([text], top_k=_DEPTH)[0]]
        found.append((_describe(retriever, text, ranked), [False] * len(ranked), number, False))
    found = [entry for entry in found if len(entry[0])]
    sizes = [len(rows) for rows, _, _, _ in found]
    answered = sum(answerable for _, _, _, answerable in found)
    balance = answered / max(len(found) - answered, 1)
    return Pairs(
        rows=np.concatenate([rows for rows, _, _, _ in found]),
        labels=np.array([label for _, labels, _, _ in found for label in labels], float),
        weights=np.repeat(
            [
                _DEPTH / size * (1.0 if answerable else balance)
                for size, (_, _, _, answerable) in zip(sizes, found, strict=True)
            ],
            sizes,
        ),
        groups=np.repeat([group for _, _, group, _ in found], sizes),
        answerable=np.repeat([answerable for _, _, _, answerable in found], sizes),
        searches=np.repeat(np.arange(len(found)), sizes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and write the coefficients where asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m services.retriever.calibrate", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--docs", type=Path, action="append", required=True, help="folder of documents; repeatable")
    parser.add_argument("--questions", type=Path, action="append", required=True, help="its questions, JSON lines")
    parser.add_argument("--unanswerable", action="append", required=True, help="what it does not answer")
    parser.add_argument("--embedder", default="hashing")
    parser.add_argument("--entry", default="", help="name of the entry to write; nothing is written without it")
    chosen = parser.parse_args(arguments)
    if not len(chosen.docs) == len(chosen.questions) == len(chosen.unanswerable):
        parser.error("--docs, --questions and --unanswerable must be given equally often")
    embedder = resolve_embedder(chosen.embedder)
    parts: list[Pairs] = []
    numbers: dict[str, int] = {}
    for docs, questions, unanswerable in zip(chosen.docs, chosen.questions, chosen.unanswerable, strict=True):
        records = _records(questions)
        negatives = [str(record["question"]) for path in unanswerable.split(",") for record in _records(Path(path))]
        parts.append(collect(_retriever(docs, embedder), records, negatives, numbers))
    report = _fit(_join(parts))
    report["provenance"] = f"{report['questions']} questions, {report['pairs']} pairs; " + "; ".join(
        f"{path.name} over {docs.name}, unanswerable: {', '.join(Path(name).name for name in unanswerable.split(','))}"
        for path, docs, unanswerable in zip(chosen.questions, chosen.docs, chosen.unanswerable, strict=True)
    )
    if chosen.entry:
        _write(chosen.entry, report)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0


def _fit(pairs: Pairs) -> dict[str, Any]:
    """Coefficients with their cross-validated figures."""
    coefficients, bias = fit_logistic(pairs.rows, pairs.labels, pairs.weights, _RIDGE)
    chances = cross_validate(pairs.rows, pairs.labels, pairs.weights, pairs.groups, _RIDGE, _FOLDS)
    base = np.full(len(chances), np.average(pairs.labels, weights=pairs.weights))
    return {
        "weights": {name: round(float(value), 4) for name, value in zip(FEATURES, coefficients, strict=True)},
        "bias": round(bias, 4),
        "questions": _questions(pairs),
        "pairs": len(chances),
        "brier": round(brier_score(chances, pairs.labels, pairs.weights), 4),
        "brier_of_base_rate": round(brier_score(base, pairs.labels, pairs.weights), 4),
        "reliability": _reliability(chances, pairs),
    }


def _reliability(chances: NDArray[np.float64], pairs: Pairs) -> list[dict[str, float]]:
    """Mean probability against share of positives, by fifths of the probability."""
    table: list[dict[str, float]] = []
    for low in np.arange(0.0, 1.0, 0.2):
        inside = (chances >= low) & (chances < low + 0.2 + 1e-9 * (low > 0.79))
        if inside.any():
            weights = pairs.weights[inside]
            table.append(
                {
                    "from": round(float(low), 1),
                    "pairs": int(inside.sum()),
                    "mean": round(float(np.average(chances[inside], weights=weights)), 3),
                    "observed": round(float(np.average(pairs.labels[inside], weights=weights)), 3),
                }
            )
    return table


def _join(parts: Sequence[Pairs]) -> Pairs:
    offsets = np.cumsum([0] + [int(part.searches.max()) + 1 for part in parts])
    return Pairs(
        rows=np.concatenate([part.rows for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        answerable=np.concatenate([part.answerable for part in parts]),
        searches=np.concatenate([part.searches + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
    )


def _questions(pairs: Pairs) -> int:
    return len(np.unique(pairs.groups))


def _describe(retriever: Retriever, text: str, passages: Sequence[Passage]) -> NDArray[np.float64]:
    snapshot = retriever.snapshot
    rows = [snapshot.rows[passage.id] for passage in passages]
    query = snapshot.lexical.query(text)
    cosines = retriever.embedder.embed_queries([text]) @ snapshot.vectors[rows].T
    found = features(snapshot.lexical, [text], snapshot.lexical.scores(query)[None, rows], cosines, rows)
    return np.asarray(found[0])


def _holds(passage: Passage, record: dict[str, Any]) -> bool:
    """Whether a passage holds one of the question's pieces of evidence."""
    folded = _NOT_LETTERS.sub("", passage.text.lower())
    for evidence in record["evidence"]:
        support = str(evidence["support"]).lower()
        if passage.source == evidence["path"] and _NOT_LETTERS.sub("", support) in folded:
            return True
        wanted = set(_NOT_LETTERS.split(support)) - {""}
        if passage.source in record["alt_paths"]:
            held = set(_NOT_LETTERS.split(passage.text.lower()))
            if len(wanted & held) >= _COVERED * len(wanted):
                return True
    return False


def _retriever(folder: Path, embedder: Embedder) -> Retriever:
    """A collection in memory of every document in a folder."""
    documents = []
    for path in sorted(folder.rglob("*")):
        source = path.relative_to(folder).as_posix()
        if path.is_file() and _is_document(source):
            documents.append(IncomingDocument(source, "", path.read_bytes()))
    retriever = Retriever(embedder, MemoryStore())
    retriever.ingest(documents)
    return retriever


def _is_document(source: str) -> bool:
    try:
        detect_media_type(source)
    except ValueError:
        return False
    return True


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def _write(entry: str, report: dict[str, Any]) -> None:
    path = Path(__file__).parent / "calibration" / "coefficients.json"
    entries = json.loads(path.read_text("utf-8"))
    entries[entry] = report
    path.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
