"""One question through the command line's own code, in this process."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from deploy.launcher import AskLine
from deploy.roster import ORCHESTRATOR, RETRIEVER

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What `python -m deploy ask` was told, as text for the command line to check.

    Args:
        text: The question.
        options: Parted by |; None for a free answer.
        budget_ms: None for the service's.
        strategy: None for the service's.
        json: Write events as JSON lines.
    """

    text: str
    options: str | None = None
    budget_ms: str | None = None
    strategy: str | None = None
    json: bool = False

    def arguments(self, targets: Mapping[str, str]) -> list[str]:
        """The same question as arguments of `argo`."""
        given = {"--options": self.options, "--budget-ms": self.budget_ms, "--strategy": self.strategy}
        return [
            f"--target={targets[ORCHESTRATOR]}",
            f"--retriever-target={targets[RETRIEVER]}",
            "ask",
            *(f"{name}={value}" for name, value in given.items() if value is not None),
            *(["--json"] if self.json else []),
            # A question may begin with a dash.
            "--",
            self.text,
        ]

    def load(self, environ: MutableMapping[str, str]) -> AskLine:
        """Import the command line and return what asks with it.

        Args:
            environ: The process environment, from which the command line reads its settings.
        """
        from argo import cli

        def ask(targets: Mapping[str, str], span_dir: Path) -> int:
            # The question's root span belongs beside the services' spans, where `argo trace` looks.
            environ.setdefault("ARGO_CLIENT_SPAN_DIR", str(span_dir))
            try:
                cli.app(self.arguments(targets), prog_name="argo")
            except SystemExit as left:
                return left.code if isinstance(left.code, int) else int(left.code is not None)
            return 0

        return ask
