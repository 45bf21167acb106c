"""`python -m bench policy`: the decision process by itself."""

from __future__ import annotations

import typer

from bench.command.policy.fit import fit
from bench.command.policy.sweep import sweep

__all__ = ["policy"]

policy = typer.Typer(help="The decision process by itself: solved, swept and fitted.", no_args_is_help=True)
for command in (sweep, fit):
    policy.command()(command)
