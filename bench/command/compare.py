"""`python -m bench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from argo.errors import InvalidArgumentError
from bench.command.option import OUT, Json, Out, Seed, mistakes_without_traceback, say, shown, tables_on
from bench.comparison import compare_figures, compare_questions, unlike
from bench.comparison_report import comparison_row, report
from bench.report import last_line
from bench.saved_run import SavedRun, read_saved_run

__all__ = ["compare"]


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A record, or FILE:LINE of kept last lines of output.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another of the same benchmark, which is compared with it.")],
    again: Annotated[
        list[str] | None,
        typer.Option(help="A further run of what A measured; as far as it is from A, so far is noise. Several times."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every", help="Also figures of questions that no benchmark calls by a known name.")
    ] = False,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Two saved runs side by side: ratios with intervals, what is more than noise, and what else differs."""
    with mistakes_without_traceback():
        first, second = read_saved_run(a), read_saved_run(b)
        repeats = [read_saved_run(text) for text in again or []]
        compared = compare_questions(first, second, seed, again=repeats, every=every)
        alone, differences = compare_figures(first, second), unlike(first, second)
        for kind in dict.fromkeys(each.what.partition(".")[0] for each in differences):
            say(f"the runs differ in {kind}")
        files = report(first, second, compared, alone, differences, tables_on(as_json), _stem(out, first, second))
        last_line(
            {
                "bench": "compare",
                "a": a,
                "b": b,
                "differs": [{"what": each.what, "a": each.first, "b": each.second} for each in differences],
                "figures": [comparison_row(each) for each in compared],
                "without_samples": [{"figure": name, "a": one, "b": other} for name, one, other in alone],
                **{name: shown(path) for name, path in files.items()},
            }
        )


def _stem(out: Path, first: SavedRun, second: SavedRun) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"out must be a writable folder, got {out}: {error.strerror}") from None
    names = [run.name.removesuffix(".jsonl").replace(".jsonl:", "-") for run in (first, second)]
    return out / f"compare-{names[0]}-{names[1]}"
