"""`python -m bench policy sweep`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from argo.errors import InvalidArgumentError
from bench import policy_sweep as bench
from bench.command.option import OUT, Json, Out, mistakes_without_traceback, progress, shown, tables_on
from bench.plot_policy import plot_policy
from bench.policy_course import default_setting, draw_courses, n_courses
from bench.policy_grid import PARAMETERS, Grid, Setting, parse_process
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.table import markdown, number, percent, show, write_csv
from orchestrator.action_time import BUILTIN_TIMES
from orchestrator.pace import with_file
from orchestrator.parameter import MdpParameters
from orchestrator.policy_file import load_policy_file
from orchestrator.quality import QUALITIES

__all__ = ["sweep"]

_SHOWN: Final = 12
_COUNTS: Final = (
    "settings",
    "one action",
    "two thr.",
    "interleaved",
    "not described",
    "best: > 1 %",
    "at most",
    "reported: > 1 %",
    "at most",
)
_NAMED: Final = (
    "process",
    "budget",
    "quality",
    "c_r",
    "mu",
    "p_s",
    "ratio",
    "verdict",
    "V(0)",
    "best",
    "loses",
    "reported",
    "loses",
)


def sweep(
    process: Annotated[
        list[str] | None,
        typer.Option(
            help="Tracker and foci, such as evidence:3; several times. "
            "By default constant:1, constant:8, evidence:3 and evidence:8."
        ),
    ] = None,
    budget_ms: Annotated[
        list[int] | None, typer.Option(help="0 for none; several times. By default 0 and 1000.")
    ] = None,
    quality: Annotated[list[str] | None, typer.Option(help="By name; several times. By default all four.")] = None,
    retrieve_cost: Annotated[
        str, typer.Option(help="c_r, parted by commas, as the next three.")
    ] = "0.01,0.02,0.05,0.1",
    cost_weight: Annotated[str, typer.Option(help="mu.")] = "0.1,0.2,0.4,0.6",
    success_probability: Annotated[str, typer.Option(help="p_s.")] = "0.5,0.8",
    gain_ratio: Annotated[
        str, typer.Option(help="What a note gains for what a retrieval gains: delta_p/delta_r, or p_p/p_s (evidence).")
    ] = "0.16,0.32,0.64",
    steps: Annotated[int, typer.Option(min=2, max=401, help="Values of each course, for the figures.")] = 41,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file with what is not varied.", exists=True, dir_okay=False)
    ] = None,
    model: Annotated[
        bool, typer.Option("--model/--no-model", help="Whether a language model runs, for REASON.")
    ] = True,
    ttft_ms: Annotated[float, typer.Option(min=0.001, max=60_000, help="The model's time to first token.")] = 24.0,
    tpot_ms: Annotated[float, typer.Option(min=0.001, max=60_000, help="And for each further token.")] = 2.1,
    fan_out: Annotated[int, typer.Option(min=1, max=8, help="Most subqueries of one step.")] = 8,
    records: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Tables and figures of a saved record, of several together; nothing is solved."),
    ] = None,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Thresholds, action bands and value over settings; where two thresholds misrepresent the optimum, at what loss."""
    with mistakes_without_traceback():
        if not records:
            grid = Grid(
                processes=[
                    parse_process(text) for text in process or ("constant:1", "constant:8", "evidence:3", "evidence:8")
                ],
                budgets_ms=budget_ms or [0, 1000],
                qualities=quality or list(QUALITIES),
                retrieve_cost=_numbers("retrieve_cost", retrieve_cost),
                cost_weight=_numbers("cost_weight", cost_weight),
                success_probability=_numbers("success_probability", success_probability),
                gain_ratio=_numbers("gain_ratio", gain_ratio),
            )
            records = [_solve(grid, _ground(policy, model, ttft_ms, tpot_ms, fan_out), steps, out)]
        run = _together([read_record(record, "policy-sweep") for record in records])
        result = _report(run, tables_on(as_json))
        last_line({"bench": "policy-sweep", **result, "records": [shown(record) for record in records]})


def _together(runs: Sequence[Run]) -> Run:
    """Several records as one, which has the place and the head of the first.

    Raises:
        InvalidArgumentError: They were not solved on the same ground, or hold a setting twice.
    """
    first = runs[0]
    for run in runs[1:]:
        for name in ("parameters", "times", "max_fan_out", "reason_available"):
            if run.head["settings"][name] != first.head["settings"][name]:
                raise InvalidArgumentError(f"records must agree in {name}, got {first.path} and {run.path}")
    rows = tuple(row for run in runs for row in run.rows)
    settings = [tuple(sorted(Setting.of(row).fields().items())) for row in rows if row["kind"] == "setting"]
    if len(set(settings)) < len(settings):
        raise InvalidArgumentError(
            f"records must hold each setting once, got one twice in {', '.join(shown(run.path) for run in runs)}"
        )
    return Run(first.path, first.head, rows)


def _numbers(field: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgumentError(f"{field} must be numbers parted by commas, such as 0.1,0.2, got {text!r}") from None


def _ground(policy: Path | None, model: bool, ttft_ms: float, tpot_ms: float, fan_out: int) -> bench.Ground:
    times = bench.paced_times(ttft_ms / 1000, tpot_ms / 1000) if model else BUILTIN_TIMES
    if policy is None:
        # What the orchestrator serves by default: without a model the answer is the extractive one.
        base = MdpParameters() if model else MdpParameters(extractive_quality=1.0)
        return bench.Ground(base=base, times=times, max_fan_out=fan_out, reason_available=model)
    given = load_policy_file(policy)
    return bench.Ground(
        base=given.parameters, times=with_file(times, given.times), max_fan_out=fan_out, reason_available=model
    )


def _solve(grid: Grid, ground: bench.Ground, steps: int, out: Path) -> Path:
    # A value out of its bound is named before anything is written.
    for setting in grid:
        setting.parameters(ground.base)
    settings: dict[str, Any] = {**grid.fields(), "steps": steps, **ground.fields()}
    defaults = [
        default_setting(process, budget_ms, sigma, ground.base)
        for process in grid.processes
        for budget_ms in grid.budgets_ms
        for sigma in grid.qualities
    ]
    with RecordFile(out, "policy-sweep", {"settings": settings}) as records, progress() as bar:
        solved = bar.add_task("settings", total=len(grid))
        drawn = bar.add_task("courses", total=n_courses(grid.processes, grid.budgets_ms, grid.qualities))
        bench.sweep(grid, ground, records, _advance(bar.advance, solved))
        draw_courses(defaults, steps, ground, records, _advance(bar.advance, drawn))
    return records.path


def _advance(advance: Callable[[Any], None], task: Any) -> Callable[[], None]:
    return lambda: advance(task)


def _report(run: Run, console: Console) -> dict[str, Any]:
    groups = bench.summary(run, "tracker", "n_foci", "budget_ms")
    if not groups:
        raise InvalidArgumentError(f"record must hold a solved setting, got none in {run.path}")
    by_quality = bench.summary(run, "quality")
    named = bench.misrepresented(run)
    title = f"{sum(row['settings'] for row in groups):,} settings: verdicts, and settings that lose of V(0)"
    tables = [
        (f"{title}, by process", ("process", "budget", *_COUNTS), [[*_where(row), *_counts(row)] for row in groups]),
        ("By quality function", ("quality", *_COUNTS), [[row["quality"], *_counts(row)] for row in by_quality]),
        (
            f"Where two thresholds misrepresent the optimum: the first of {len(named):,} settings",
            _NAMED,
            [_named_cells(row) for row in named[:_SHOWN]],
        ),
    ]
    for each in tables:
        show(console, *each)
    stem = run.stem
    write_csv(stem.with_suffix(".csv"), run.of_kind("setting"))
    write_csv(stem.with_name(f"{stem.name}-misrepresented.csv"), named)
    text = "\n".join(f"{heading}\n\n{markdown(columns, rows)}" for heading, columns, rows in tables)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    figures = plot_policy(run, stem)
    return {
        "settings": sum(row["settings"] for row in groups),
        "misrepresented": len(named),
        "by_process": groups,
        "by_quality": by_quality,
        "figures": [shown(path) for path in figures],
    }


def _where(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['tracker']}:{row['n_foci']}", f"{row['budget_ms']:,} ms" if row["budget_ms"] else "none"]


def _counts(row: Mapping[str, Any]) -> list[str]:
    return [
        *(str(row[name]) for name in ("settings", "one_action", "two_threshold", "interleaved", "not_described")),
        str(row["loss_over_1_percent"]),
        percent(row["largest_loss"], 2),
        str(row["reported_loss_over_1_percent"]),
        percent(row["largest_reported_loss"], 1),
    ]


def _named_cells(row: Mapping[str, Any]) -> list[str]:
    return [
        *_where(row),
        row["quality"],
        *(f"{row[name]:g}" for name in PARAMETERS),
        row["verdict"].replace("_", " "),
        number(row["value"], 3),
        _pair(row["best_cont"], row["best_star"]),
        number(row["loss"], 4),
        _pair(row["theta_cont"], row["theta_star"]),
        number(row["reported_loss"], 3),
    ]


def _pair(cont: float | None, star: float | None) -> str:
    return "-" if cont is None or star is None else f"{cont:.2f}, {star:.2f}"
