"""`python -m bench`: measure a running stack, or one that is started for the purpose."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

try:
    from bench.command.answers import answers
    from bench.command.capacity import capacity
    from bench.command.check import check
    from bench.command.compare import compare
    from bench.command.evidence_set import evidence_set
    from bench.command.latency import latency
    from bench.command.overhead import overhead
    from bench.command.policy import policy
    from bench.command.profiles import profiles
    from bench.command.refusal import refusal
    from bench.command.retrieval import retrieval
    from bench.command.strategies import strategies
    from bench.command.throughput import throughput
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "argo", "bench", "deploy"):
        # Ours are no part of the extra: whichever is missing is a bug.
        raise
    sys.exit(
        f"python -m bench needs the extra bench, and has no {missing}: pip install -c constraints.txt -e '.[bench]'"
    )

__all__ = ["app", "main"]

app = typer.Typer(help="Benchmarks and evaluation of a stack.", no_args_is_help=True, pretty_exceptions_enable=False)
for command in (
    latency,
    profiles,
    capacity,
    strategies,
    retrieval,
    answers,
    overhead,
    refusal,
    throughput,
    check,
    compare,
    evidence_set,
):
    app.command()(command)
app.add_typer(policy, name="policy")


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0, 2 for a mistake in the command or its files, 1 where the stack failed.
    """
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        app(args=arguments, prog_name="python -m bench")
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _leave(number: int, _: FrameType | None) -> None:
    """Let a signal unwind as Ctrl-C does, so that a stack that was started is stopped in order."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
