"""`python -m deploy.observability`: write the dashboards' JSON, which is committed, from the modules in board/."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from deploy.observability.board import engine, policy, process, question, retriever
from deploy.observability.panel import Dashboard

__all__ = ["DASHBOARDS", "FOLDER", "text_of"]

DASHBOARDS: Final = (question.BOARD, policy.BOARD, engine.BOARD, retriever.BOARD, process.BOARD)
"""Each becomes grafana/dashboards/<uid>.json."""
FOLDER: Final = Path(__file__).parent / "grafana" / "dashboards"


def text_of(dashboard: Dashboard) -> str:
    """The file of a dashboard."""
    return json.dumps(dashboard.json(), indent=2) + "\n"


def main() -> int:
    """Write every file."""
    for dashboard in DASHBOARDS:
        path = FOLDER / f"{dashboard.uid}.json"
        path.write_text(text_of(dashboard), encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
