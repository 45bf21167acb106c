"""`python -m bench evidence-set`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from argo.errors import InvalidArgumentError
from bench.command.option import Json, mistakes_without_traceback, shown, tables_on
from bench.evidence_set import SPLITS, EvidenceSet, make_evidence_set, write_questions
from bench.record import environment
from bench.report import last_line
from bench.table import percent, show

__all__ = ["evidence_set"]

_ABOUT = "set.json"


def evidence_set(
    docs: Annotated[
        Path, typer.Option(help="Folder of documents, <owner>/<repository>/...", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl, test.jsonl and set.json, which says how made.")],
    train: Annotated[int, typer.Option(min=1, help="Questions of the train split.")] = 1_000,
    test: Annotated[int, typer.Option(min=1, help="Questions of the test split.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and of the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Make questions with evidence from a folder of documents, by rule, split by repository into train and test."""
    with mistakes_without_traceback():
        _make_folder(out)
        made = make_evidence_set(docs, train=train, test=test, seed=seed)
        files = {split: out / f"{split}.jsonl" for split in SPLITS}
        for split, path in files.items():
            write_questions(path, made.questions[split])
        result = {
            "bench": "evidence-set",
            "settings": {"docs": shown(docs), "train": train, "test": test, "seed": seed},
            **_counts(made),
            **environment(),
        }
        about = {**result, "repositories": made.repositories}
        (out / _ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _tables(made, tables_on(as_json))
        last_line({**result, "files": {split: shown(path) for split, path in files.items()}})


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _ABOUT).touch()
    except OSError as error:
        raise InvalidArgumentError(f"out must be a writable folder, got {out}: {error.strerror}") from None


def _counts(made: EvidenceSet) -> dict[str, Any]:
    return {
        "documents": made.documents,
        "sections": dict(made.sections.most_common()),
        "questions": {split: dict(_difficulties(made, split)) for split in SPLITS},
        "repositories_of_split": {split: len(made.repositories[split]) for split in SPLITS},
    }


def _difficulties(made: EvidenceSet, split: str) -> Counter[str]:
    return Counter(question.difficulty for question in made.questions[split])


def _tables(made: EvidenceSet, console: Console) -> None:
    seen = sum(made.sections.values())
    rows = [[reason, f"{count:,}", percent(count / seen)] for reason, count in made.sections.most_common()]
    title = f"What became of the sections of {made.documents:,} documents"
    show(console, title, ["section", "count", "share"], [*rows, ["all", f"{seen:,}", percent(1.0)]])
    names = sorted({name for split in SPLITS for name in _difficulties(made, split)})
    show(
        console,
        "Questions",
        ["split", "repositories", *names, "all", "with other files that say the same"],
        [
            [
                split,
                str(len(made.repositories[split])),
                *(f"{_difficulties(made, split)[name]:,}" for name in names),
                f"{len(made.questions[split]):,}",
                f"{sum(bool(question.alt_paths) for question in made.questions[split]):,}",
            ]
            for split in SPLITS
        ],
    )
