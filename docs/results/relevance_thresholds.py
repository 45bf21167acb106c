"""What relevance and confidence each question reaches when the fit of the relevance has not seen it.

Repeats, with the hashing embedder and no servers, what the orchestrator's loop does with strategy `mdp` (search the
question and a subquery for each focus, keep ten passages, close foci, go on until all are closed, nothing more closes
in two steps, or six steps are done). Run from the repository's root, on one line:

    PYTHONPATH=. python docs/results/relevance_thresholds.py DOCS DEV ELSEWHERE OUT

DOCS is the folder of documents, DEV its questions, ELSEWHERE the questions of DEV that the primer does not answer.
Sets named `held_...` were in no fit and are judged by the coefficients as committed; the others by ten-fold
cross-validation, parted by question.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from argo.v1 import types_pb2
from orchestrator.evidence import Evidence, RankedList
from services.decomposer.plan import plan_foci
from services.decomposer.subquery import EarlierPassage, EarlierSearch, History, word_subquery
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.retriever import calibrate
from services.retriever.embedder import resolve_embedder
from services.retriever.logistic import fit_logistic
from services.retriever.relevance import Calibration, load_calibration
from services.synthesizer.confidence import answer_confidence
from services.synthesizer.engine import EvidencePassage
from services.synthesizer.extractive import read_evidence

CLOSE, STEPS, FOLDS, RIDGE = 0.5, 6, 10, 1.0
GLOSSARY, THESAURUS = load_glossary(), load_thesaurus()


def _search(retriever, text, foci):
    """One search, as the orchestrator receives it."""
    hits = retriever.search([text], foci=[focus.text for focus in foci], top_k=10)[0]
    return tuple(
        types_pb2.Passage(
            id=hit.passage.id,
            text=hit.passage.text,
            source=hit.passage.source,
            section=hit.passage.section,
            score=hit.score,
            relevance=hit.relevance,
            focus_relevance=[
                types_pb2.FocusRelevance(focus_id=focus.id, relevance=value)
                for focus, value in zip(foci, hit.focus_relevance, strict=True)
            ],
        )
        for hit in hits
    )


def _loop(retriever, question, steps):
    """Kept passages and foci after some steps."""
    foci = plan_foci(question)
    evidence = Evidence(10, 2000)
    open_ids = {focus.id for focus in foci}
    searches, shown, tried, idle = [], [], set(), 0
    for step in range(steps):
        before = len(open_ids)
        history = History(tuple(searches), tuple(shown))
        waiting = open_ids - tried
        todo = [f for f in foci if f.id in open_ids and not waiting & set(f.depends_on)]
        todo = todo or [f for f in foci if f.id in open_ids]
        tried |= {focus.id for focus in todo}
        jobs = [("", question)] if step == 0 else []
        jobs += [(f.id, word_subquery(question, (), f, foci, history, GLOSSARY, THESAURUS)) for f in todo]
        found = {}
        for focus_id, text in jobs:
            searches.append(EarlierSearch(focus_id, text))
            if evidence.has_searched(text):
                continue
            passages = _search(retriever, text, foci)
            evidence.add(RankedList(focus_id, text, passages))
            for passage in passages:
                if passage.id not in found or found[passage.id].relevance < passage.relevance:
                    found[passage.id] = passage
        closing = [(e.focus_id, e.relevance) for p in evidence.kept() for e in p.focus_relevance]
        open_ids -= {focus_id for focus_id, value in closing if value >= CLOSE}
        for passage in sorted(found.values(), key=lambda p: (-p.relevance, p.id))[:5]:
            closed = tuple(e.focus_id for e in passage.focus_relevance if e.relevance >= CLOSE)
            shown.append(EarlierPassage(" ".join(passage.text.split()[:80]), closed))
        idle = idle + 1 if len(open_ids) == before else 0
        if not open_ids or idle == 2:
            break
    return evidence.kept(), foci


def _judge(retriever, record):
    """What a question reaches."""
    question = record["question"]

    def holds(kept):
        rows = retriever.snapshot.rows
        stored = [retriever.snapshot.stored[rows[p.id]].passage for p in kept]
        return "evidence" in record and all(
            any(calibrate._holds(p, {**record, "evidence": [one]}) for p in stored) for one in record["evidence"]
        )

    kept, _ = _loop(retriever, question, STEPS)
    first, foci = _loop(retriever, question, 1)
    evidence = [
        EvidencePassage(
            id=p.id,
            text=p.text,
            source=p.source,
            section=p.section,
            relevance=p.relevance,
            focus_relevance={e.focus_id: e.relevance for e in p.focus_relevance},
        )
        for p in kept
    ]
    weakest = min(
        max([e.relevance for p in first for e in p.focus_relevance if e.focus_id == focus.id], default=0.0)
        for focus in foci
    )
    return {
        "relevance": round(max(p.best_relevance for p in evidence), 4) if evidence else 0.0,
        "confidence": round(answer_confidence(question, evidence, read_evidence(evidence)), 4),
        "holds": holds(kept),
        "first_step_weakest_focus": round(weakest, 4),
        "first_step_holds": holds(first),
    }


def _read(path):
    """Records of a file of JSON lines."""
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines() if line.strip()]


def main(docs, dev, elsewhere, out):
    """Judge every question and write a line for each."""
    embedder = resolve_embedder("hashing")
    big = calibrate._retriever(Path(docs), embedder)
    primer = calibrate._retriever(Path("examples/oran"), embedder)
    negatives = _read("services/retriever/calibration/negatives.jsonl")
    sets = {
        "docs_answerable": (big, _read(dev)),
        "docs_negatives": (big, negatives),
        "primer_answerable": (primer, _read("examples/questions.jsonl")),
        "primer_negatives": (primer, _read("examples/unanswerable.jsonl")),
        "primer_elsewhere": (primer, [{"id": r["id"], "question": r["question"]} for r in _read(elsewhere)]),
    }
    held = {
        "held_test": (big, _read("tests/data/unanswerable.jsonl")),
        "held_bench": (big, _read("docs/results/oran-docs-unanswerable.jsonl")),
    }
    numbers = {}
    texts = {name: [r["question"] for r in records] for name, (_, records) in sets.items()}
    pairs = calibrate._join(
        [
            calibrate.collect(
                primer,
                sets["primer_answerable"][1],
                texts["primer_negatives"] + texts["primer_elsewhere"],
                numbers,
            ),
            calibrate.collect(big, sets["docs_answerable"][1], texts["docs_negatives"], numbers),
        ]
    )
    rows = []

    def judge_all(sets, calibration, fold=None):
        for name, (retriever, records) in sets.items():
            for record in records:
                if fold is None or numbers[record["question"]] % FOLDS == fold:
                    retriever._searcher._calibration = calibration
                    rows.append({"set": name, "id": record["id"], **_judge(retriever, record)})

    for fold in range(FOLDS):
        seen = pairs.groups % FOLDS != fold
        weights, bias = fit_logistic(pairs.rows[seen], pairs.labels[seen], pairs.weights[seen], RIDGE)
        judge_all(sets, Calibration("hashing", weights, bias, ""), fold)
    judge_all(held, load_calibration("hashing"))
    rows.sort(key=lambda row: (row["set"], row["id"]))
    Path(out).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
