"""One question through the command line's own code, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.launcher import AskLine
from deploy.plan import ORCHESTRATOR, RETRIEVER

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What `python -m deploy ask` was told, as text for the command line to check."""

    text: str
    options: str | None = None
    budget_ms: str | None = None
    strategy: str | None = None
    json: bool = False

    def arguments(self) -> list[str]:
        """The same question as arguments of `argo ask`."""
        arguments: list[str] = []
        for option in self.options.split("|") if self.options else []:
            arguments += ["--option", option.strip()]
        if self.budget_ms:
            arguments += ["--budget-ms", self.budget_ms]
        if self.strategy:
            arguments += ["--strategy", self.strategy]
        if self.json:
            arguments.append("--json")
        # A question may begin with a dash.
        return ["ask", *arguments, "--", self.text]

    def load(self) -> AskLine:
        """Import the command line and return what asks with it."""
        from argo import cli

        def ask(targets: Mapping[str, str], span_dir: Path) -> int:
            return cli.main(
                self.arguments(),
                target=targets[ORCHESTRATOR],
                retriever_target=targets[RETRIEVER],
                span_dir=span_dir,
            )

        return ask
